//! What goes on as HTML: bars, numbers, and the curve of a training.

use tunebook_commands::Lang;
use tunebook_commands::Localize;
use tunebook_engine::advice::MemoryEstimate;

use super::curve::live;
use super::escape::escape;
use super::overlay::overlay;
use super::steps::steps;
use crate::activity::Activity;
use crate::progress::SweepProgress;
use crate::training::Training;

/// A task or a download: each of its lines under a bar.
pub fn activity(activity: &Activity, lang: Lang) -> String {
    let line = |(text, part): (String, f64)| format!("{}<div>{}</div>", bar(part, part), escape(&text));
    let lines: String = activity.lines(lang).into_iter().map(line).collect();
    format!("<div style=\"max-width:600px\">{lines}</div>")
}

/// A training: a bar, the step, what is known of it, its loss over the steps and in rows, what it takes of the memory, and its
/// [`probes`](super::probes()), which are drawn already. `activity` is what goes on between two steps.
pub fn training(
    training: &Training,
    activity: Option<&Activity>,
    sweep: Option<&SweepProgress>,
    plan: Option<&MemoryEstimate>,
    probes: &str,
    lang: Lang,
) -> String {
    let fact = |(name, value): (&str, String)| {
        format!("<span><span style=\"opacity:.65\">{name}</span> <b>{}</b></span>", escape(&value))
    };
    let facts: String = training.facts(lang).into_iter().map(fact).collect();
    let losses = match sweep {
        // Beside those of the others.
        Some(sweep) => overlay(&sweep.overlay(training), lang),
        None => {
            let losses = training.losses();
            let steps = steps(&losses, lang);
            live(losses, lang) + &steps
        }
    };
    let trial = sweep.map(|sweep| trial(sweep, lang)).unwrap_or_default();
    let plan = plan.map(|plan| format!("<div style=\"opacity:.65\">{}</div>", escape(&plan.localize(lang))));
    format!(
        "<div style=\"max-width:960px\">{trial}{}\
         <div style=\"display:flex;gap:2px 16px;flex-wrap:wrap;font-variant-numeric:tabular-nums;margin:4px 0\">\
         <b>{}</b>{facts}</div>{losses}{}{}</div>",
        bar(training.part(), training.part_of_call()),
        escape(&training.title(activity, lang)),
        plan.unwrap_or_default(),
        probes,
    )
}

/// Which training of a sweep goes on.
pub fn trial(sweep: &SweepProgress, lang: Lang) -> String {
    format!("<div><b>{}</b></div>", escape(&sweep.title(lang)))
}

/// JupyterLab's blue where there is one.
const ACCENT: &str = "var(--jp-brand-color1, #1f77b4)";

/// What is done, and paler what is being done.
fn bar(part: f64, until: f64) -> String {
    let [part, until] = [part, until].map(|part| 100.0 * part.clamp(0.0, 1.0));
    let piece = |width: f64, opacity: f64| {
        format!("<div style=\"width:{width:.1}%;opacity:{opacity};background:#1f77b4;background:{ACCENT}\"></div>")
    };
    let rest = if until > part { piece(until - part, 0.35) } else { String::new() };
    format!(
        "<div style=\"display:flex;height:6px;border-radius:3px;overflow:hidden;margin-top:6px;\
         background:rgba(128,128,128,.25)\">{}{rest}</div>",
        piece(part, 1.0)
    )
}
