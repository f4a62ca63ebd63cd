//! `train_results.json` and `all_results.json`: what a training came to, in numbers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::trainer_log::round;
use crate::report::StepRecord;

/// Metrics by name, in the order of the alphabet, in which transformers writes them.
pub(super) type Results = BTreeMap<&'static str, Value>;

/// The metrics of a training; none where no step was made. `samples` is how many an epoch has.
pub(super) fn train_results(records: &[StepRecord], samples: usize) -> Option<Results> {
    let last = records.last()?;
    let loss = records.iter().map(|record| record.loss).sum::<f64>() / records.len() as f64;
    let mut results = Results::from([
        ("epoch", json!(last.epoch)),
        ("num_input_tokens_seen", json!(last.tokens)),
        ("train_loss", json!(loss)),
        ("train_runtime", json!(round(last.elapsed, 4))),
    ]);
    if last.elapsed > 0.0 {
        let seen = last.epoch * samples as f64;
        results.insert("train_samples_per_second", json!(round(seen / last.elapsed, 3)));
        results.insert("train_steps_per_second", json!(round(last.step as f64 / last.elapsed, 3)));
    }
    Some(results)
}

/// JSON indented by 4.
pub(super) fn to_json(results: &Results) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    // Names and numbers always have a JSON form.
    let _ = results.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter));
    String::from_utf8_lossy(&text).into_owned()
}
