//! `train_results.json`, `eval_results.json` and so on, and `all_results.json`: what came out, in numbers.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use tunebook_files::replace_file;

use super::trainer_log::round;
use crate::error::Error;
use crate::error::Result;
use crate::report::EvaluationRecord;
use crate::report::StepRecord;

/// Metrics by name, in alphabetical order, as transformers writes them.
pub(crate) type Results = BTreeMap<String, Value>;

/// The metrics of a training; none before the first step. `samples` is the number per epoch.
pub(super) fn train_results(records: &[StepRecord], samples: usize) -> Option<Results> {
    let last = records.last()?;
    let loss = records.iter().map(StepRecord::loss).sum::<f64>() / records.len() as f64;
    let mut results = Results::from([
        ("epoch".to_string(), json!(last.epoch)),
        ("num_input_tokens_seen".to_string(), json!(last.tokens)),
        ("train_loss".to_string(), json!(loss)),
    ]);
    add_speed(&mut results, "train", last.elapsed, last.epoch * samples as f64, last.step as f64);
    Some(results)
}

/// The metrics of an evaluation, as the trainer's `evaluate` returns them; with the perplexity, which it leaves out.
pub(crate) fn eval_results(record: &EvaluationRecord) -> Results {
    let mut results = Results::from([
        ("epoch".to_string(), json!(record.epoch)),
        ("eval_loss".to_string(), json!(record.loss)),
        ("eval_perplexity".to_string(), json!(record.loss.exp())),
    ]);
    add_speed(&mut results, "eval", record.seconds, record.samples as f64, record.batches as f64);
    results
}

/// Adds `{split}_runtime`, `{split}_samples_per_second` and `{split}_steps_per_second`, rounded as transformers'
/// `speed_metrics` does.
pub(crate) fn add_speed(results: &mut Results, split: &str, seconds: f64, samples: f64, steps: f64) {
    results.insert(format!("{split}_runtime"), json!(round(seconds, 4)));
    if seconds > 0.0 {
        results.insert(format!("{split}_samples_per_second"), json!(round(samples / seconds, 3)));
        results.insert(format!("{split}_steps_per_second"), json!(round(steps / seconds, 3)));
    }
}

/// Writes `{split}_results.json` and puts the same into `all_results.json`, where the results of other splits stay, as
/// the trainer's `save_metrics` does; returns the files' names. Makes the folder where there is none.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn save(folder: &Path, split: &str, results: &Results) -> Result<[String; 2]> {
    let names = [format!("{split}_results.json"), "all_results.json".to_string()];
    let [own, all] = names.each_ref().map(|name| folder.join(name));
    // What cannot be read is no results, and is written anew.
    let before = tunebook_files::read(&all).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut together: Results = before.unwrap_or_default();
    together.extend(results.clone());
    std::fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.to_path_buf(), source })?;
    for (path, results) in [(own, results), (all, &together)] {
        replace_file(&path, to_json(results).as_bytes()).map_err(|source| Error::Write { path, source })?;
    }
    Ok(names)
}

/// JSON indented by 4.
fn to_json(results: &Results) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    // Names and numbers always have a JSON form.
    let _ = results.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter));
    String::from_utf8_lossy(&text).into_owned()
}
