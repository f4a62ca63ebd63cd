//! Samples with a high loss as cards: the pictures, the losses, and what the sample teaches.

use tunebook_commands::Lang;
use tunebook_commands::localized;
use tunebook_commands::text::worst_note;
use tunebook_commands::text::worst_title;
use tunebook_engine::report::SampleLoss;
use tunebook_engine::report::WorstReport;

use super::CARD;
use super::escape::escape;
use super::picture::picture;

/// The worst first.
pub fn worst(report: &WorstReport, lang: Lang) -> String {
    let cards: String = report.worst.iter().map(|sample| card(sample, lang)).collect();
    format!(
        "<div><p><b>{}</b></p><div style=\"display:flex;gap:12px;flex-wrap:wrap\">{cards}</div>\
         <p style=\"opacity:.7\">{}</p></div>",
        escape(&worst_title(report, lang)),
        escape(&worst_note(report, lang)),
    )
}

fn card(sample: &SampleLoss, lang: Lang) -> String {
    let images: String = sample
        .images
        .iter()
        .map(|path| picture(path, lang).replace("<img ", "<img style=\"width:100%;height:150px;object-fit:contain\" "))
        .collect();
    let SampleLoss { index, loss, base_loss, .. } = sample;
    let numbers = localized!(
        lang,
        "sample {index} · loss <b>{loss:.3}</b> · base {base_loss:.3}",
        "样本 {index} · 损失 <b>{loss:.3}</b> · 基础模型 {base_loss:.3}"
    );
    format!(
        "<div title=\"{}\" style=\"width:200px;{CARD}\">\
         {images}<div>{numbers}</div><div style=\"white-space:pre-wrap;opacity:.85\">{}</div></div>",
        escape(&sample.origin),
        escape(&sample.expected),
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use tunebook_engine::Split;

    use super::*;

    #[test]
    fn a_card_has_losses_and_an_escaped_label() {
        let sample = SampleLoss {
            index: 17,
            origin: "a.json[3]".to_string(),
            labels: 4,
            loss: 2.5,
            base_loss: 3.25,
            expected: "a <b>".to_string(),
            images: vec![PathBuf::from("nowhere.png")],
        };
        let report = WorstReport {
            split: Split::Train,
            adapter: "default".to_string(),
            worst: vec![sample],
            loss: 1.0,
            base_loss: 2.0,
            looked_at: 9,
            samples: 10,
            left_out: Vec::new(),
            elapsed: Duration::from_secs(1),
        };
        let html = worst(&report, Lang::En);
        assert!(html.contains("sample 17 · loss <b>2.500</b> · base 3.250") && html.contains("a &lt;b&gt;"), "{html}");
        assert!(html.contains("9 samples of 10 in 1.00 s, mean loss 1.0000") && html.contains("nowhere.png cannot"));
    }
}
