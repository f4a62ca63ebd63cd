//! The samples with the highest loss, as a table.

use tunebook_engine::Split;
use tunebook_engine::report::WorstReport;

use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::output::Table;
use crate::quantities::SAMPLE;
use crate::quantities::count;
use crate::quantities::seconds;
use crate::text::results::bad_samples;

/// So much of a label's text is shown, in characters.
const SHOWN: usize = 60;

/// One row a sample; a face that shows pictures draws them itself.
pub(super) fn worst(report: &WorstReport, lang: Lang) -> Table {
    let headers = [
        localized("sample", "样本"),
        localized("loss", "损失"),
        localized("base", "基础模型"),
        localized("tokens", "token 数"),
        localized("label", "标签"),
    ];
    let row = |sample: &tunebook_engine::report::SampleLoss| {
        let (loss, base) = (format!("{:.4}", sample.loss), format!("{:.4}", sample.base_loss));
        vec![sample.index.to_string(), loss, base, sample.labels.to_string(), shortened(&sample.expected)]
    };
    Table {
        title: title(report, lang),
        headers: headers.map(|header| header.in_lang(lang)).to_vec(),
        rows: report.worst.iter().map(row).collect(),
        note: note(report, lang),
    }
}

/// Which samples these are.
pub fn title(report: &WorstReport, lang: Lang) -> String {
    let split = match report.split {
        Split::Train => localized!(lang, "training samples", "训练样本"),
        Split::Eval => localized!(lang, "held-out samples", "留出的样本"),
    };
    let adapter = &report.adapter;
    localized!(lang, "{split} with the highest loss under {adapter}", "{adapter} 下损失最高的{split}")
}

/// What they are compared with, and what it took.
pub fn note(report: &WorstReport, lang: Lang) -> String {
    let WorstReport { loss, base_loss, looked_at, samples, .. } = report;
    let (looked_at, time) = (count(*looked_at, SAMPLE, lang), seconds(report.elapsed, lang));
    localized!(
        lang,
        "{looked_at} of {samples} in {time}, mean loss {loss:.4}, under base {base_loss:.4}",
        "{looked_at}，共 {samples} 个，用时 {time}；平均损失 {loss:.4}，基础模型 {base_loss:.4}"
    ) + &bad_samples(report.left_out.len(), lang)
}

fn shortened(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
