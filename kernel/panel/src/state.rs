//! What a session is, as a page is told.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use tunebook_commands::Host;
use tunebook_commands::JobState;
use tunebook_commands::Lang;
use tunebook_commands::Snapshot;
use tunebook_commands::text;
use tunebook_commands::version;
use tunebook_engine::Session;
use tunebook_engine::report::AdapterReport;
use tunebook_engine::report::DataReport;
use tunebook_engine::report::EvaluationRecord;
use tunebook_engine::report::Exchange;
use tunebook_engine::report::LoadReport;
use tunebook_engine::report::StepRecord;
use tunebook_engine::settings::Declaration;
use tunebook_engine::settings::Group;
use tunebook_engine::settings::Kind;
use tunebook_engine::settings::Limits;
use tunebook_engine::settings::declarations;
use tunebook_view::html::thumbnail;

/// The largest side of the pictures of a conversation.
const SIDE: u32 = 320;

/// All of it but curves and conversation, which only the session itself knows.
pub(crate) fn whole(host: &Host, totals: &BTreeMap<String, usize>, recorded: Value) -> Value {
    let Snapshot { settings, lang, .. } = host.snapshot();
    let group = |group: &Group| json!({"name": group.to_string(), "title": text::group(*group, lang)});
    let setting = |declaration: &Declaration| describe(declaration, &declaration.get(&settings), lang);
    let mut state = changed(host, totals);
    state["type"] = json!("state");
    state["version"] = json!(version());
    state["lang"] = json!(if lang == Lang::Zh { "zh" } else { "en" });
    state["groups"] = Group::ALL.iter().map(group).collect();
    state["settings"] = declarations().iter().map(setting).collect();
    state["recorded"] = recorded;
    state
}

/// What may be another one after a line; `totals` has the step that ends the training of an adapter.
pub(crate) fn changed(host: &Host, totals: &BTreeMap<String, usize>) -> Value {
    let Snapshot { settings, model, data, adapters, lang, .. } = host.snapshot();
    let values: Map<String, Value> =
        declarations().iter().map(|setting| (setting.name.to_string(), json!(setting.get(&settings)))).collect();
    json!({
        "lang": if lang == Lang::Zh { "zh" } else { "en" },
        "model": model.as_ref().map(loaded),
        "data": data.as_ref().map(chosen),
        "adapters": adapters.iter().map(|report| adapter(report, totals.get(&report.name))).collect::<Vec<_>>(),
        "values": values,
        "training": training(host, lang),
        "memory": tunebook_engine::resident_bytes().map(|bytes| json!({"resident": bytes})),
    })
}

/// The curves of all adapters.
pub(crate) fn curves(session: &Session) -> Value {
    let curve = |AdapterReport { name, .. }: AdapterReport| {
        let steps = session.history_of(&name).unwrap_or_default().iter().map(step).collect::<Vec<_>>();
        let evaluations = session.evaluations_of(&name).unwrap_or_default().iter().map(evaluation).collect::<Vec<_>>();
        (name, json!({"steps": steps, "evaluations": evaluations}))
    };
    session.adapters().into_iter().map(curve).collect::<Map<_, _>>().into()
}

pub(crate) fn step(record: &StepRecord) -> Value {
    json!({
        "step": record.step, "loss": record.loss(), "learning_rate": record.learning_rate,
        "grad_norm": record.grad_norm, "epoch": record.epoch, "tokens": record.tokens, "elapsed": record.elapsed,
    })
}

pub(crate) fn evaluation(record: &EvaluationRecord) -> Value {
    json!({"step": record.step, "loss": record.loss, "epoch": record.epoch})
}

/// The adapter that is trained, or was trained last.
pub(crate) fn trained(host: &Host) -> Option<String> {
    host.jobs().report(Lang::En).map(|job| job.adapter)
}

/// The conversation, with small pictures.
pub(crate) fn chat(conversation: &[Exchange]) -> Value {
    let exchange = |Exchange { question, images, answer }: &Exchange| {
        let pictures: Vec<_> = images.iter().filter_map(|path| thumbnail(path, SIDE)).collect();
        json!({"text": question, "pictures": pictures, "answer": answer})
    };
    conversation.iter().map(exchange).collect()
}

fn loaded(report: &LoadReport) -> Value {
    json!({
        "name": report.id(), "path": report.path.display().to_string(), "architecture": report.architecture,
        "parameters": report.parameters, "dtype": report.dtype, "device": report.device,
        "quantized": report.quantized,
    })
}

fn chosen(report: &DataReport) -> Value {
    let skipped: usize = report.skipped.iter().map(|kind| kind.count).sum();
    json!({"names": report.names, "train": report.samples, "eval": report.eval_samples, "skipped": skipped})
}

fn adapter(report: &AdapterReport, total_steps: Option<&usize>) -> Value {
    json!({
        "name": report.name, "active": report.active,
        "method": report.lora.as_ref().map_or("weights", |lora| lora.kind),
        "trainable": report.trainable_parameters, "step": report.step, "total_steps": total_steps,
    })
}

fn training(host: &Host, lang: Lang) -> Value {
    let Some(job) = host.jobs().report(lang) else { return Value::Null };
    json!({
        "adapter": job.adapter,
        "running": matches!(job.state, JobState::Running | JobState::Stopping),
        "stopping": job.state == JobState::Stopping,
        // It has not come to its own end.
        "stopped": matches!(job.state, JobState::Stopped | JobState::Failed(_)),
        "step": job.step, "last_step": job.last_step, "total_steps": job.total_steps,
    })
}

fn describe(declaration: &Declaration, value: &str, lang: Lang) -> Value {
    let kind = match declaration.kind {
        Kind::Integer => "integer",
        Kind::Number => "number",
        Kind::List => "list",
        Kind::Numbers => "numbers",
        Kind::Path => "path",
        Kind::Mapping => "mapping",
        Kind::Text => "text",
        Kind::Bool => "bool",
        Kind::Choice(_) => "choice",
        Kind::Choices(_) => "list",
    };
    let (mut min, mut max, mut below) = (None, None, None);
    for limits in declaration.limits() {
        match *limits {
            Limits::Min(least) => min = Some(least),
            Limits::Range(least, most) => (min, max) = (Some(least), Some(most)),
            Limits::Below(least, end) => (min, below) = (Some(least), Some(end)),
        }
    }
    json!({
        "name": declaration.name, "aliases": declaration.aliases, "group": declaration.group.to_string(),
        "help": declaration.help().in_lang(lang), "kind": kind, "choices": declaration.choices(),
        "min": min, "max": max, "below": below, "optional": declaration.is_optional(),
        "default": declaration.default(), "value": value,
    })
}
