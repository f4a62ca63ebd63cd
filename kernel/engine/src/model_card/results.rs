//! What came out: losses as transformers lists them, scores, and answers to probes.

use std::path::Path;

use super::Facts;
use crate::markdown::code;
use crate::markdown::escaped;
use crate::markdown::shortened;
use crate::output::Entry;
use crate::probes::ProbeAnswer;
use crate::recipe::notation::float;
use crate::report::EvaluationRecord;
use crate::report::PredictReport;

/// The most characters of an answer.
const ANSWER: usize = 400;
/// The most rows of losses where nothing was evaluated.
const ROWS: usize = 20;

/// The last evaluation, in the words of transformers' card.
pub(super) fn losses(facts: Facts) -> String {
    let Some(last) = facts.run.evaluations.last() else { return String::new() };
    let (loss, tokens) = (rounded(&float(last.loss)), last.tokens);
    format!(
        "It achieves the following results on the evaluation set:\n- Loss: {loss}\n- Num Input Tokens Seen: {tokens}\n"
    )
}

/// The losses over the training, and its curve where the folder has one.
pub(super) fn table(folder: &Path, facts: Facts) -> String {
    let rows = if facts.run.evaluations.is_empty() { logged(facts) } else { evaluated(facts.log) };
    if rows.len() < 2 {
        return String::new();
    }
    let curves = [("training_loss.png", "Training loss"), ("training_eval_loss.png", "Validation loss")];
    let curves = curves.iter().filter(|(file, _)| folder.join(file).is_file());
    let curves: String = curves.map(|(file, title)| format!("\n![{title}]({file})\n")).collect();
    format!("### Training results\n\n{}{curves}", markdown_table(&rows))
}

/// A row an evaluation, as transformers' `parse_log_history` gives them, under the names of the columns.
fn evaluated(entries: &[Entry]) -> Vec<Vec<String>> {
    let names = ["Training Loss", "Epoch", "Step", "Validation Loss", "Input Tokens Seen"];
    let mut rows = vec![names.map(str::to_string).to_vec()];
    let mut loss = "No log".to_string();
    for entry in entries {
        match entry {
            Entry::Step(record) => loss = rounded(&float(record.loss())),
            Entry::Evaluation(EvaluationRecord { step, loss: eval_loss, epoch, tokens, .. }) => {
                let [epoch, eval_loss] = [*epoch, *eval_loss].map(|number| rounded(&float(number)));
                // As transformers orders the metrics: by their names in the log.
                rows.push(vec![loss.clone(), epoch, step.to_string(), eval_loss, tokens.to_string()]);
            }
        }
    }
    rows
}

/// Some of the logged losses, the last among them.
fn logged(facts: Facts) -> Vec<Vec<String>> {
    let steps = facts.log.iter().filter_map(|entry| match entry {
        Entry::Step(record) => Some(record),
        Entry::Evaluation(_) => None,
    });
    let steps: Vec<_> = steps.collect();
    let stride = steps.len().div_ceil(ROWS).max(1);
    let chosen = steps.iter().rev().step_by(stride).rev();
    let row =
        |loss: f64, epoch: f64, step: usize| vec![rounded(&float(loss)), rounded(&float(epoch)), step.to_string()];
    let names = vec![["Training Loss", "Epoch", "Step"].map(str::to_string).to_vec()];
    names.into_iter().chain(chosen.map(|record| row(record.loss(), record.epoch, record.step))).collect()
}

/// As transformers' `make_markdown_table`: the first row has the names.
fn markdown_table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<_> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("| {cell:<width$} "));
        cells.collect::<String>() + "|\n"
    };
    let rule = widths.iter().map(|width| format!("|:{}:", "-".repeat(*width))).collect::<String>() + "|\n";
    let mut lines: Vec<_> = rows.iter().map(line).collect();
    lines.insert(1.min(lines.len()), rule);
    lines.concat()
}

/// A number of Python's, with at most four decimal places, as `_maybe_round` writes it.
fn rounded(number: &str) -> String {
    match (number.split_once('.'), number.parse::<f64>()) {
        (Some((_, decimals)), Ok(value)) if decimals.len() > 4 => format!("{value:.4}"),
        _ => number.to_string(),
    }
}

/// How near the answers come to those that were expected.
pub(super) fn scores(facts: Facts) -> String {
    let Some(PredictReport { samples, held_out, scores, done, .. }) = facts.scores else { return String::new() };
    let of = if *held_out { ", held out of the training" } else { "" };
    let named = scores.named();
    let names: String = named.iter().map(|(name, _)| format!("| {name} ")).collect();
    let values: String = named.iter().map(|(_, value)| format!("| {} ", rounded(&float(*value)))).collect();
    let rule = "|---".repeat(named.len());
    format!(
        "### Scores\n\nOf its answers to {done} samples of {}{of}:\n\n{names}|\n{rule}|\n{values}|\n",
        code(samples)
    )
}

/// The numbers of a dataset, as a hub lists them.
pub(super) struct Metrics {
    pub(super) dataset: String,
    pub(super) numbers: Vec<Number>,
}

pub(super) struct Number {
    /// The kind of metric.
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    pub(super) value: String,
}

pub(super) fn metrics(facts: Facts) -> Vec<Metrics> {
    let mut results = Vec::new();
    let number = |kind, name, value: f64| Number { kind, name, value: rounded(&float(value)) };
    if let (Some(last), Some(data)) = (facts.run.evaluations.last(), facts.data)
        && last.loss.is_finite()
    {
        let names = match &data.settings.eval_dataset[..] {
            [] => &data.report.names,
            eval => eval,
        };
        results.push(Metrics { dataset: names.join(","), numbers: vec![number("loss", "Loss", last.loss)] });
    }
    if let Some(PredictReport { samples, scores, .. }) = facts.scores {
        let kind = |name: &str| if name.starts_with("bleu") { "bleu" } else { "rouge" };
        let numbers = scores.named().map(|(name, value)| number(kind(name), name, value));
        results.push(Metrics { dataset: samples.clone(), numbers: numbers.into() });
    }
    results
}

/// What was answered to probes before the training and after it.
pub(super) fn probes(facts: Facts) -> String {
    let records = &facts.run.probes;
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return String::new() };
    let cell = |text: &str| escaped(&shortened(text.trim(), ANSWER));
    let row = |answer: &ProbeAnswer| {
        let before = first.answers.iter().find(|other| other.probe == answer.probe && first.step < last.step);
        let before = before.map(|before| cell(&before.text)).unwrap_or_default();
        let images: Vec<_> = answer.probe.images.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        let images = if images.is_empty() { String::new() } else { format!(" ({})", escaped(&images.join(", "))) };
        format!("| {}{images} | {before} | {} |\n", cell(&answer.probe.question), cell(&answer.text))
    };
    let rows: String = last.answers.iter().map(row).collect();
    let (first, last) = (first.step, last.step);
    format!("### Answers\n\n| Question | After step {first} | After step {last} |\n|---|---|---|\n{rows}")
}
