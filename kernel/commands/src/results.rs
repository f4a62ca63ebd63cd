//! What `evaluate`, `predict`, `compare` and `export` found, as tables and plain text.

use comfy_table::ContentArrangement;
use comfy_table::presets;
use tunebook_engine::report::CompareReport;
use tunebook_engine::report::EvaluateReport;
use tunebook_engine::report::ExportReport;
use tunebook_engine::report::PredictReport;
use tunebook_engine::report::Prediction;

use crate::output::Table;
use crate::text;
use crate::text::Page;
use crate::text::count;
use crate::text::seconds;
use crate::text::size;
use crate::text::wrap;

/// Answers stand side by side if each has so many characters.
const NARROWEST: usize = 36;
const WIDEST_TABLE: usize = 160;

/// Loss and perplexity.
pub fn evaluated(report: &EvaluateReport) -> Table {
    let rows = [("eval_loss", report.loss), ("perplexity", report.perplexity)];
    let written = report.folder.as_ref().map(|folder| format!("; eval_results.json is in {}", folder.display()));
    Table {
        title: format!("{} with {}", report.samples, report.adapter),
        headers: vec!["metric", "value"],
        rows: rows.map(|(name, value)| vec![name.to_string(), format!("{value:.4}")]).to_vec(),
        note: format!(
            "{} in {}{}",
            done(report.done, report.total, "sample"),
            seconds(report.elapsed),
            written.unwrap_or_default()
        ),
    }
}

/// An answer beside the one that was expected.
pub fn prediction(report: &Prediction, page: Page) -> String {
    let scores = &report.scores;
    let head =
        format!("{} of {}: bleu-4 {:.2}, rouge-l {:.2}", report.index + 1, report.total, scores.bleu_4, scores.rouge_l);
    let block = |name: &str, text: &str| {
        let lines = text.trim_end().lines().map(|line| wrap(&format!("            {line}"), 12, page.width));
        format!("  {name:<10}{}", lines.collect::<Vec<_>>().join("\n").trim_start())
    };
    [page.faint(&head), block("predicted", &report.predict), block("expected", &report.label)].join("\n")
}

/// The mean scores.
pub fn predicted(report: &PredictReport) -> Table {
    let rate = report.new_tokens as f64 / report.elapsed.as_secs_f64().max(1e-9);
    let mut note =
        format!("{} in {}, {rate:.1} tokens/s", done(report.done, report.total, "answer"), seconds(report.elapsed));
    if report.cut > 0 {
        note += &format!("; {} cut at max_new_tokens", count(report.cut, "answer"));
    }
    note += &match &report.folder {
        Some(folder) => format!("; generated_predictions.jsonl is in {}", folder.display()),
        None => "; set output_dir to keep them".to_string(),
    };
    Table {
        title: format!("{} with {}", report.samples, report.adapter),
        headers: vec!["metric", "value"],
        rows: report.scores.named().map(|(name, value)| vec![name.to_string(), format!("{value:.4}")]).to_vec(),
        note,
    }
}

/// The answers side by side, or one below the other where the page is narrow.
pub fn compared(report: &CompareReport, page: Page) -> String {
    let answers = report.answers.iter().map(|answer| (answer.name.as_str(), answer.report.text.trim_end()));
    let ends: Vec<_> = report.answers.iter().map(|answer| text::answer(&answer.report)).collect();
    let mut drawn = match page.width.min(WIDEST_TABLE) / report.answers.len().max(1) {
        room if room >= NARROWEST => {
            let mut table = comfy_table::Table::new();
            table.load_style(presets::NOTHING).set_width(page.width.min(WIDEST_TABLE) as u16);
            table.set_content_arrangement(ContentArrangement::Dynamic);
            let (names, texts): (Vec<_>, Vec<_>) = answers.unzip();
            table.set_header(names).add_row(texts).add_row(&ends);
            let lines: Vec<_> = table.to_string().lines().map(|line| line.trim_end().to_string()).collect();
            let (head, body) = lines.split_at(lines.len().min(1));
            head.iter().map(|line| page.bright(line)).chain(body.iter().cloned()).collect::<Vec<_>>().join("\n")
        }
        _ => {
            let block = |((name, answer), end): ((&str, &str), &String)| {
                let lines = answer.lines().map(|line| wrap(&format!("  {line}"), 2, page.width));
                let lines = lines.chain([wrap(&format!("  {end}"), 2, page.width)]);
                format!("{}\n{}", page.bright(name), lines.collect::<Vec<_>>().join("\n"))
            };
            answers.zip(&ends).map(block).collect::<Vec<_>>().join("\n")
        }
    };
    if report.answers.len() < report.asked {
        drawn += &format!("\nstopped: {} of {} answered", report.answers.len(), report.asked);
    }
    drawn
}

/// Where the merged model is.
pub fn exported(report: &ExportReport) -> String {
    format!(
        "{} in {} with {} ({}) merged, in {}: {}",
        size(report.bytes),
        report.folder.display(),
        report.adapter,
        count(report.layers, "layer"),
        seconds(report.elapsed),
        report.files.join(", ")
    )
}

/// `12 samples`, or how far a stop let it come.
fn done(done: usize, total: usize, noun: &str) -> String {
    match done == total {
        true => count(done, noun),
        false => format!("stopped: {done} of {}", count(total, noun)),
    }
}
