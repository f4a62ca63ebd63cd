//! Where the session stands.

use std::path::Path;

use tunebook_engine::report::LoadReport;
use tunebook_engine::report::Status;
use tunebook_engine::report::StepRecord;
use unicode_width::UnicodeWidthStr;

use crate::lang::Lang;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::page::padded;
use crate::quantities::SAMPLE;
use crate::quantities::TOKEN;
use crate::quantities::TURN;
use crate::quantities::count;
use crate::quantities::size;
use crate::quantities::thousands;
use crate::text::model::place;
use crate::text::model::quantized;
use crate::text::notes::system_prompt;

pub(super) fn status(report: &Status, lang: Lang) -> String {
    let none = || localized("none", "无").in_lang(lang).to_string();
    let model = report.model.as_ref().map_or_else(none, |model| {
        let (parameters, quantized) = (thousands(model.parameters), quantized(model, lang));
        let LoadReport { name, dtype, .. } = model;
        let place = place(model, lang);
        localized!(
            lang,
            "{name}, {parameters} parameters in {dtype}{quantized}{place}",
            "{name}，{parameters} 个参数，{dtype}{quantized}{place}"
        )
    });
    let data = report.data.as_ref().map_or_else(none, |data| {
        let names = data.names.join(", ");
        let (samples, tokens) = (count(data.samples, SAMPLE, lang), count(data.tokens.total, TOKEN, lang));
        localized!(lang, "{names}: {samples}, {tokens}", "{names}：{samples}，{tokens}")
    });
    let on = localized(" (active)", "（启用）").in_lang(lang);
    let adapters: Vec<_> = report
        .adapters
        .iter()
        .map(|adapter| format!("{}{}", adapter.name, if adapter.active { on } else { "" }))
        .collect();
    let mut training = match (report.step, report.total_steps) {
        (0, 0) => none(),
        (step, total) => localized!(lang, "step {step} of {total}", "第 {step} 步，共 {total} 步"),
    };
    if let Some(last @ StepRecord { epoch, .. }) = &report.last {
        let loss = last.loss();
        training += &localized!(lang, ", epoch {epoch:.2}, loss {loss:.4}", "，第 {epoch:.2} 轮，损失 {loss:.4}");
    }
    let mut lines = vec![
        (localized("model", "模型"), model),
        (localized("data", "数据"), data),
        (localized("adapters", "适配器"), if adapters.is_empty() { none() } else { adapters.join(", ") }),
        (localized("training", "训练"), training),
        (localized("chat", "对话"), count(report.turns, TURN, lang)),
    ];
    if report.workers > 0 {
        lines.push((localized("workers", "工作进程"), report.workers.to_string()));
    }
    if let Some(checkpoint) = &report.recovered {
        lines.push((localized("recovery", "恢复"), recovered(checkpoint, lang)));
    }
    if let Some(prompt) = &report.system {
        lines.push((localized("system", "系统提示词"), system_prompt(prompt, lang)));
    }
    if let Some(bytes) = report.resident_bytes {
        let size = size(bytes);
        lines.push((localized("memory", "内存"), localized!(lang, "{size} resident", "占用 {size}")));
    }
    let width = lines.iter().map(|(name, _)| name.in_lang(lang).width()).max().unwrap_or(0);
    let line = |(name, text): (Localized, String)| format!("{}  {text}", padded(name.in_lang(lang), width));
    lines.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What an earlier session has left.
pub fn recovered(checkpoint: &Path, lang: Lang) -> String {
    let place = checkpoint.display();
    localized!(
        lang,
        "the training of an earlier session, which was terminated from outside, is saved in {place}: `load` its model, then `resume` that folder; this reminder appears until the folder is deleted",
        "早先的会话被外部终止，它的训练保存在 {place}：请先 `load` 它的模型，再 `resume` 这个文件夹；删除它之前会一直提示"
    )
}
