//! The results of `evaluate`, `predict`, `compare` and `export`, as tables and plain text.

use comfy_table::ContentArrangement;
use comfy_table::presets;
use tunebook_engine::report::CheckReport;
use tunebook_engine::report::CompareReport;
use tunebook_engine::report::ComparedAnswer;
use tunebook_engine::report::DifferentAnswer;
use tunebook_engine::report::EvaluateReport;
use tunebook_engine::report::ExportContent;
use tunebook_engine::report::ExportReport;
use tunebook_engine::report::PredictReport;
use tunebook_engine::report::Prediction;
use unicode_width::UnicodeWidthStr;

use crate::lang::Lang;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::output::Table;
use crate::page::Page;
use crate::page::padded;
use crate::page::wrap;
use crate::printable::colourless;
use crate::quantities::ANSWER;
use crate::quantities::LAYER;
use crate::quantities::Noun;
use crate::quantities::SAMPLE;
use crate::quantities::count;
use crate::quantities::seconds;
use crate::quantities::size;
use crate::text::answer;
use crate::text::boxes;

/// Answers stand side by side if each has so many columns.
const NARROWEST: usize = 36;
const WIDEST_TABLE: usize = 160;

/// Loss and perplexity.
pub(super) fn evaluated(report: &EvaluateReport, lang: Lang) -> Table {
    let rows = [("eval_loss", report.loss), ("perplexity", report.perplexity)];
    let title = title(&report.samples, report.held_out, &report.adapter, lang);
    metrics(title, rows.map(|(name, value)| (name.to_string(), value)).to_vec(), made_of(report, lang), lang)
}

/// The same of several evaluations, one a row.
pub(super) fn evaluations(reports: &[EvaluateReport], lang: Lang) -> Table {
    let row = |report: &EvaluateReport| {
        vec![
            samples(&report.samples, report.held_out, lang),
            report.adapter.clone(),
            format!("{:.4}", report.loss),
            format!("{:.4}", report.perplexity),
            made_of(report, lang),
        ]
    };
    let headers = [
        localized("samples", "样本"),
        localized("adapter", "适配器"),
        localized("eval_loss", "评估损失"),
        localized("perplexity", "困惑度"),
        localized("evaluated", "评估范围"),
    ];
    Table {
        title: String::new(),
        headers: headers.map(|text| text.in_lang(lang)).to_vec(),
        rows: reports.iter().map(row).collect(),
        note: String::new(),
    }
}

/// How many samples an evaluation has seen in what time, and where it has written.
fn made_of(report: &EvaluateReport, lang: Lang) -> String {
    let (done, time) =
        (done(report.done, report.total - report.left_out.len(), SAMPLE, lang), seconds(report.elapsed, lang));
    let mut note =
        localized!(lang, "{done} in {time}", "{done}，用时 {time}") + &bad_samples(report.left_out.len(), lang);
    if let Some(folder) = &report.folder {
        let folder = folder.display();
        note += &localized!(lang, "; eval_results.json is in {folder}", "；eval_results.json 在 {folder}");
    }
    note
}

/// An answer beside the one that was expected.
pub(super) fn prediction(report: &Prediction, page: Page) -> String {
    let (number, total) = (report.index + 1, report.total);
    let (bleu, rouge) = (report.scores.bleu_4, report.scores.rouge_l);
    let head = localized!(
        page.lang,
        "{number} of {total}: bleu-4 {bleu:.2}, rouge-l {rouge:.2}",
        "第 {number} 个，共 {total} 个：bleu-4 {bleu:.2}，rouge-l {rouge:.2}"
    );
    const NAMES: [Localized; 2] = [localized("predicted", "预测"), localized("expected", "标准答案")];
    let names = NAMES.map(|name| name.in_lang(page.lang));
    let indent = 3 + names.iter().map(|name| name.width()).max().unwrap_or(0);
    let block = |name: &str, text: &str| {
        let text = colourless(text);
        let lines = text.trim_end().lines().map(|line| wrap(&format!("{:indent$}{line}", ""), indent, page.width));
        format!("  {} {}", padded(name, indent - 3), lines.collect::<Vec<_>>().join("\n").trim_start())
    };
    let boxes = boxes::on_pictures(&report.pictures, page.lang);
    let boxes = boxes.iter().map(|line| wrap(&format!("  {line}"), 2, page.width));
    let shown = [page.faint(&head), block(names[0], &report.predict), block(names[1], &report.label)];
    shown.into_iter().chain(boxes).collect::<Vec<_>>().join("\n")
}

/// The mean scores.
pub(super) fn predicted(report: &PredictReport, lang: Lang) -> Table {
    let rate = report.new_tokens as f64 / report.elapsed.as_secs_f64().max(1e-9);
    let (done, time) =
        (done(report.done, report.total - report.left_out.len(), ANSWER, lang), seconds(report.elapsed, lang));
    let mut note = localized!(lang, "{done} in {time}, {rate:.1} tokens/s", "{done}，用时 {time}，{rate:.1} token/秒");
    note += &bad_samples(report.left_out.len(), lang);
    if report.cut > 0 {
        let answers = count(report.cut, ANSWER, lang);
        note += &localized!(lang, "; {answers} stopped at max_new_tokens", "；{answers}达到 max_new_tokens");
    }
    note += &match &report.folder {
        Some(folder) => {
            let folder = folder.display();
            localized!(
                lang,
                "; generated_predictions.jsonl is in {folder}",
                "；generated_predictions.jsonl 在 {folder}"
            )
        }
        None => localized("; to save them, set output_dir", "；要保存请设置 output_dir").in_lang(lang).to_string(),
    };
    let title = title(&report.samples, report.held_out, &report.adapter, lang);
    metrics(title, report.scores.named().map(|(name, value)| (name.to_string(), value)).to_vec(), note, lang)
}

/// `; 2 samples left out`, if there were any.
pub(super) fn bad_samples(samples: usize, lang: Lang) -> String {
    let counted = count(samples, SAMPLE, lang);
    if samples == 0 { String::new() } else { localized!(lang, "; {counted} skipped", "；跳过了 {counted}") }
}

fn title(names: &str, held_out: bool, adapter: &str, lang: Lang) -> String {
    let samples = samples(names, held_out, lang);
    localized!(lang, "{samples} with {adapter}", "{samples}，使用 {adapter}")
}

/// Which samples are meant.
fn samples(names: &str, held_out: bool, lang: Lang) -> String {
    match held_out {
        true => localized!(lang, "held-out samples of {names}", "{names} 留出的样本"),
        false => names.to_string(),
    }
}

fn metrics(title: String, rows: Vec<(String, f64)>, note: String, lang: Lang) -> Table {
    Table {
        title,
        headers: [localized("metric", "指标"), localized("value", "值")].map(|text| text.in_lang(lang)).to_vec(),
        rows: rows.into_iter().map(|(name, value)| vec![name, format!("{value:.4}")]).collect(),
        note,
    }
}

/// Whether every answer has room beside the others.
pub(super) fn are_side_by_side(report: &CompareReport, page: Page) -> bool {
    page.width.min(WIDEST_TABLE) / report.answers.len().max(1) >= NARROWEST
}

/// How each answer came about, and what a stop left out.
pub(super) fn ends(report: &CompareReport, page: Page) -> String {
    let end = |answer: &ComparedAnswer| {
        page.faint(&format!("{}  {}", answer.name, answer::answer(&answer.report, page.lang)))
    };
    let lines: Vec<_> = report.answers.iter().map(end).collect();
    lines.join("\n") + &on_pictures(report, page) + &left_out(report, page)
}

/// The boxes of each answer.
fn on_pictures(report: &CompareReport, page: Page) -> String {
    let of_answer = |answer: &ComparedAnswer| {
        let lines = boxes::on_pictures(&answer.report.pictures, page.lang);
        lines
            .into_iter()
            .map(|line| format!("\n{}", wrap(&format!("{}  {line}", answer.name), 2, page.width)))
            .collect::<String>()
    };
    report.answers.iter().map(of_answer).collect()
}

fn left_out(report: &CompareReport, page: Page) -> String {
    let (made, asked) = (report.answers.len(), report.asked);
    match made < asked {
        true => {
            localized!(page.lang, "\nstopped: {made} of {asked} answered", "\n已停止：{asked} 个中回答了 {made} 个")
        }
        false => String::new(),
    }
}

/// The answers side by side, or one below the other where the page is narrow.
pub(super) fn compared(report: &CompareReport, page: Page) -> String {
    let answers: Vec<_> =
        report.answers.iter().map(|answer| (&*answer.name, colourless(answer.report.text.trim_end()))).collect();
    let answers = answers.iter().map(|(name, answer)| (*name, &**answer));
    let ends: Vec<_> = report.answers.iter().map(|answer| answer::answer(&answer.report, page.lang)).collect();
    let drawn = match are_side_by_side(report, page) {
        true => {
            let mut table = comfy_table::Table::new();
            table.load_style(presets::NOTHING).set_width(page.width.min(WIDEST_TABLE) as u16);
            table.set_content_arrangement(ContentArrangement::Dynamic);
            let (names, texts): (Vec<_>, Vec<_>) = answers.unzip();
            table.set_header(names).add_row(texts).add_row(&ends);
            let lines: Vec<_> = table.to_string().lines().map(|line| line.trim_end().to_string()).collect();
            let (head, body) = lines.split_at(lines.len().min(1));
            head.iter().map(|line| page.bright(line)).chain(body.iter().cloned()).collect::<Vec<_>>().join("\n")
        }
        false => {
            let block = |((name, answer), end): ((&str, &str), &String)| {
                let lines = answer.lines().map(|line| wrap(&format!("  {line}"), 2, page.width));
                let lines = lines.chain([wrap(&format!("  {end}"), 2, page.width)]);
                format!("{}\n{}", page.bright(name), lines.collect::<Vec<_>>().join("\n"))
            };
            answers.zip(&ends).map(block).collect::<Vec<_>>().join("\n")
        }
    };
    drawn + &on_pictures(report, page) + &left_out(report, page)
}

/// Where the model is, and how llama.cpp has answered.
pub(super) fn exported(report: &ExportReport, lang: Lang) -> String {
    let (size, folder, adapter) = (size(report.bytes), report.folder.display(), &report.adapter);
    let (layers, time, files) =
        (count(report.layers, LAYER, lang), seconds(report.elapsed, lang), report.files.join(", "));
    let written = match report.content {
        ExportContent::Merged => localized!(
            lang,
            "{size} in {folder}, with {adapter} ({layers}) merged, in {time}: {files}",
            "{folder} 共 {size}，已合并 {adapter}（{layers}），用时 {time}：{files}"
        ),
        ExportContent::Base => localized!(
            lang,
            "{size} in {folder}, without an adapter, in {time}: {files}",
            "{folder} 共 {size}，不带适配器，用时 {time}：{files}"
        ),
        ExportContent::Adapter => localized!(
            lang,
            "{size} in {folder}, only {adapter} ({layers}), in {time}: {files}",
            "{folder} 共 {size}，只有 {adapter}（{layers}），用时 {time}：{files}"
        ),
    };
    match &report.check {
        Some(check) => format!("{written}\n{}", checked(check, lang)),
        None => written,
    }
}

fn checked(report: &CheckReport, lang: Lang) -> String {
    let CheckReport { done, total, equal, equal_resized, different, .. } = report;
    let mut lines = vec![localized!(
        lang,
        "llama.cpp: {equal} of {done} answers equal those of this session",
        "llama.cpp：{done} 个回答中有 {equal} 个与本会话相同"
    )];
    if *equal_resized > 0 {
        lines.push(localized!(
            lang,
            "{equal_resized} more equal them when it gets the images in the size in which the model sees them: it resizes \
             images in another way",
            "另有 {equal_resized} 个在直接给它模型所看尺寸的图像时相同：它缩放图像的方式不同"
        ));
    }
    if done < total {
        lines.push(localized!(lang, "stopped: {done} of {total} asked", "已停止：{total} 个中问了 {done} 个"));
    }
    for DifferentAnswer { index, here, llama_cpp } in different {
        let [here, llama_cpp] = [here, llama_cpp].map(|text| colourless(text.trim_end()));
        lines.push(localized!(
            lang,
            "sample {index}\n  here:      {here}\n  llama.cpp: {llama_cpp}",
            "样本 {index}\n  本会话：   {here}\n  llama.cpp：{llama_cpp}"
        ));
    }
    lines.join("\n")
}

/// `12 samples`, or how far a stop let it come.
fn done(done: usize, total: usize, noun: Noun, lang: Lang) -> String {
    let all = count(total, noun, lang);
    match done == total {
        true => all,
        false => localized!(lang, "stopped: {done} of {all}", "已停止：{all}中的 {done} 个"),
    }
}
