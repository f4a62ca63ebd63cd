//! How the answers to probes change, as HTML: picture and question, and below them a row for each step.

use std::path::PathBuf;

use tunebook_commands::Lang;
use tunebook_commands::localized;
use tunebook_engine::probes::Probe;
use tunebook_engine::probes::ProbeAnswer;
use tunebook_engine::probes::ProbeRecord;
use tunebook_engine::probes::known;

use super::changes::changes;
use super::escape::escape;
use super::picture::picture;

/// The probes of `records`, and `given` ones that have no answer yet. Words that changed since the answer before are
/// marked.
pub fn probes(given: &[Probe], records: &[ProbeRecord], lang: Lang) -> String {
    known(given, records).into_iter().map(|probe| block(probe, records, lang)).collect()
}

fn block(probe: &Probe, records: &[ProbeRecord], lang: Lang) -> String {
    let image = |path: &PathBuf| {
        let drawn = picture(path, lang).replace("<img ", "<img style=\"width:100%\" ");
        format!("<div style=\"max-width:140px;flex:none\">{drawn}</div>")
    };
    let images: String = probe.images.iter().map(image).collect();
    let rows: String = records
        .iter()
        .filter_map(|record| Some(row(record, record.answers.iter().find(|answer| answer.probe == *probe)?, lang)))
        .collect();
    format!(
        "<div style=\"display:flex;gap:12px;margin-top:8px\">{images}<div><b>{}</b><table>{rows}</table></div></div>",
        escape(&probe.question)
    )
}

fn row(record: &ProbeRecord, answer: &ProbeAnswer, lang: Lang) -> String {
    let step = record.step;
    let step = localized!(lang, "step {step}", "第 {step} 步");
    let text = match &answer.before {
        Some(before) => changes(before, &answer.text),
        None => escape(answer.text.trim_end()),
    };
    format!(
        "<tr><td style=\"text-align:right;vertical-align:top;opacity:.65;white-space:nowrap\">{step}</td>\
         <td style=\"text-align:left;white-space:pre-wrap\">{text}</td></tr>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_words_are_marked_and_all_is_escaped() {
        let probe = Probe { question: "1 < 2?".to_string(), images: Vec::new() };
        let answer = |text: &str, before: Option<&str>| ProbeAnswer {
            number: 1,
            probe: probe.clone(),
            text: text.to_string(),
            before: before.map(str::to_string),
            new_tokens: 2,
        };
        let record = |step, answer| ProbeRecord { step, total_steps: 9, seconds: 0.1, answers: vec![answer] };
        let records = [record(0, answer("<b> no", None)), record(9, answer("<b> yes", Some("<b> no")))];
        let html = probes(&[], &records, Lang::En);
        assert!(html.contains("<b>1 &lt; 2?</b>") && html.contains(">&lt;b&gt; no</td>"), "{html}");
        assert!(html.contains(">&lt;b&gt; <mark>yes</mark></td>") && html.contains("step 9"), "{html}");
    }
}
