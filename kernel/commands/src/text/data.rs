//! What data was chosen, and a sample of it.

use tunebook_engine::report::DataReport;
use tunebook_engine::report::SampleReport;
use tunebook_engine::report::SkippedKind;
use tunebook_engine::report::Spread;

use crate::lang::Lang;
use crate::lang::Localize;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Table;
use crate::page::Page;
use crate::printable::colourless;
use crate::quantities::PACK;
use crate::quantities::PICTURE;
use crate::quantities::SAMPLE;
use crate::quantities::STEP;
use crate::quantities::TOKEN;
use crate::quantities::count;
use crate::quantities::thousands;
use crate::text::boxes;
use crate::text::notes::system_text;
use crate::text::table::draw_table;
use crate::text::table::lines;
use crate::text::tokens::coloured;
use crate::text::tokens::legend;
use crate::text::tokens::summary;

pub(super) fn data(report: &DataReport, page: Page) -> String {
    let Table { title, note, headers, rows } = data_table(report, page.lang);
    let table = Table { headers, rows, ..Table::default() };
    [lines(&title, page), draw_table(&table, page), lines(&note, page)].join("\n")
}

/// Tokens a sample and a picture; the note says what was cut and what was left out.
pub(super) fn data_table(report: &DataReport, lang: Lang) -> Table {
    let row = |what: Localized, spread: &Spread| {
        let Spread { count: _, total, min, median, p95, max, ref bins } = *spread;
        let numbers = [min, median, p95, max, total].map(thousands);
        std::iter::once(what.in_lang(lang).to_string()).chain(numbers).chain([bars(bins)]).collect::<Vec<_>>()
    };
    let mut rows = vec![
        row(localized("tokens per sample", "每个样本的 token"), &report.tokens),
        row(localized("supervised", "其中计算损失的"), &report.supervised_tokens),
    ];
    if report.picture_tokens.count > 0 {
        rows.push(row(localized("tokens per image", "每张图片的 token"), &report.picture_tokens));
    }
    let mut note = count(report.picture_tokens.count, PICTURE, lang);
    if report.truncated > 0 {
        let samples = count(report.truncated, SAMPLE, lang);
        note += &localized!(lang, "; {samples} truncated to cutoff_len", "；{samples}被截断到 cutoff_len");
    }
    note += &report.boxes.as_ref().map(|report| boxes::found(report, lang)).unwrap_or_default();
    if let Some(system) = &report.system {
        let system = system_text(system, lang);
        note += &localized!(lang, "\nsystem prompt of all samples: {system}", "\n所有样本的系统提示词：{system}");
    }
    for SkippedKind { count: left_out, first } in &report.skipped {
        let (samples, kind, first) =
            (count(*left_out, SAMPLE, lang), first.reason.kind().localize(lang), first.localize(lang));
        note += &localized!(
            lang,
            "\n{samples} skipped ({kind}), the first: {first}",
            "\n跳过了 {samples}（{kind}），第一个：{first}"
        );
    }
    if report.skipped.iter().any(|kind| kind.count > 1) {
        note += localized("\n`data skipped` lists them", "\n`data skipped` 列出它们").in_lang(lang);
    }
    let headers = [
        localized("", ""),
        localized("min", "最小"),
        localized("median", "中位数"),
        localized("95 %", "95 %"),
        localized("max", "最大"),
        localized("total", "合计"),
        localized("min … max", "最小 … 最大"),
    ];
    Table { title: chosen(report, lang), headers: headers.map(|text| text.in_lang(lang)).to_vec(), rows, note }
}

/// A histogram as a line of bars, of which the highest is as high as a line; one sees one beside thousands.
fn bars(bins: &[usize]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = bins.iter().copied().max().unwrap_or(0).max(1);
    let bar = |count: &usize| if *count == 0 { ' ' } else { BARS[(count * BARS.len()).div_ceil(most) - 1] };
    bins.iter().map(bar).collect()
}

fn chosen(report: &DataReport, lang: Lang) -> String {
    let packs = report.packs.map(|packs| count(packs, PACK, lang));
    let packs = packs.map(|packs| localized!(lang, " in {packs}", "（{packs}）")).unwrap_or_default();
    let eval = match report.eval_samples {
        0 => String::new(),
        samples => {
            let samples = thousands(samples);
            localized!(lang, ", {samples} to evaluate on", "，{samples} 个用于评估")
        }
    };
    let names = report.names.join(", ");
    let (samples, steps) = (count(report.samples, SAMPLE, lang), count(report.steps_per_epoch, STEP, lang));
    localized!(
        lang,
        "{names}: {samples} to train on{packs}{eval}; {steps} per epoch",
        "{names}：{samples}用于训练{packs}{eval}；每轮 {steps}"
    )
}

pub(super) fn sample(report: &SampleReport, page: Page) -> String {
    let lang = page.lang;
    let mut text = sample_title(report, lang) + "\n";
    for picture in &report.pictures {
        let (path, patches) = (picture.path.display(), patches(picture, lang));
        text += &localized!(lang, "image {path}: {patches}\n", "图片 {path}：{patches}\n");
        if !picture.boxes.is_empty() {
            let (boxes, width, height) = (boxes::listed(&picture.boxes, lang), picture.width, picture.height);
            text += &localized!(
                lang,
                "boxes in the {width} × {height} pixels of the file: {boxes}\n",
                "边界框（按原图的 {width} × {height} 像素）：{boxes}\n"
            );
        }
    }
    for run in report.tokens.chunk_by(|a, b| a.supervised == b.supervised) {
        let written: String = run
            .iter()
            .map(|token| match token.count {
                1 => token.text.clone(),
                count => format!("{}×{count}", token.text),
            })
            .collect();
        let written = colourless(&written);
        match run[0].supervised {
            true => text += &page.bright(&format!("⟦{written}⟧")),
            false => text += &written,
        }
    }
    let (tokens, learned) = sample_counts(report, lang);
    text.trim_end().to_string()
        + &localized!(lang, "\n{tokens}, {learned}", "\n{tokens}，{learned}")
        + &scores(report, page)
}

/// What the model says to the labels: for each adapter its losses, and where there are colours the labels in theirs.
fn scores(report: &SampleReport, page: Page) -> String {
    let mut text = String::new();
    for scores in &report.scores {
        text += &format!("\n{}", lines(&summary(scores, page.lang), page));
        if page.color {
            text += &format!("\n{}", coloured(&scores.labels, page));
        }
    }
    if page.color && !report.scores.is_empty() {
        text += &format!("\n{}", legend(page));
    }
    text
}

/// `sample 3 of 21, creatures.json[3]`
pub fn sample_title(report: &SampleReport, lang: Lang) -> String {
    let SampleReport { index, samples, origin, .. } = report;
    localized!(lang, "sample {index} of {samples}, {origin}", "样本 {index}（共 {samples} 个），{origin}")
}

/// How many tokens a sample has, and how many of them are learned.
pub fn sample_counts(report: &SampleReport, lang: Lang) -> (String, String) {
    let tokens: usize = report.tokens.iter().map(|token| token.count).sum();
    let learned = report.tokens.iter().filter(|token| token.supervised).map(|token| token.count).sum();
    let learned = thousands(learned);
    (count(tokens, TOKEN, lang), localized!(lang, "{learned} supervised", "其中 {learned} 个计算损失"))
}

/// How a picture is cut.
pub fn patches(picture: &tunebook_engine::report::PictureReport, lang: Lang) -> String {
    let (width, height, size, tokens) =
        (picture.grid_w, picture.grid_h, picture.patch, count(picture.tokens, TOKEN, lang));
    localized!(
        lang,
        "{width} × {height} patches of {size} pixels, {tokens}",
        "{width} × {height} 个图块，每块 {size} 像素，{tokens}"
    )
}
