//! `trainer_log.jsonl`: a line for every logged step.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::log::Entry;
use crate::error::Error;
use crate::error::Result;
use crate::report::EvaluationRecord;
use crate::report::StepRecord;

/// A line, with the keys of LLaMA-Factory's `LogCallback`.
#[derive(Serialize)]
struct Line {
    current_steps: usize,
    total_steps: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eval_loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lr: Option<f64>,
    epoch: f64,
    percentage: f64,
    elapsed_time: String,
    remaining_time: String,
    /// Tokens a second.
    throughput: f64,
    total_tokens: usize,
}

impl Line {
    fn new(entry: &Entry) -> Self {
        match entry {
            Entry::Step(record) => {
                let &StepRecord { step, total_steps, learning_rate, epoch, tokens, elapsed, .. } = record;
                let line = Self::at(step, total_steps, epoch, tokens, elapsed);
                Self { loss: Some(record.loss()), lr: Some(learning_rate), ..line }
            }
            Entry::Evaluation(record) => {
                let EvaluationRecord { step, total_steps, loss, epoch, tokens, elapsed, .. } = *record;
                Self { eval_loss: Some(loss), ..Self::at(step, total_steps, epoch, tokens, elapsed) }
            }
        }
    }

    fn at(step: usize, total_steps: usize, epoch: f64, tokens: usize, elapsed: f64) -> Self {
        let left = total_steps.saturating_sub(step) as f64;
        Self {
            current_steps: step,
            total_steps,
            loss: None,
            eval_loss: None,
            lr: None,
            epoch,
            percentage: round(step as f64 / total_steps.max(1) as f64 * 100.0, 2),
            elapsed_time: clock(elapsed),
            remaining_time: clock(elapsed / step.max(1) as f64 * left),
            throughput: round(tokens as f64 / elapsed.max(f64::MIN_POSITIVE), 2),
            total_tokens: tokens,
        }
    }
}

/// The text of the file.
pub(super) fn lines(entries: &[Entry]) -> Vec<u8> {
    let mut text = Vec::new();
    for entry in entries {
        // Names, numbers and times always have a JSON form.
        let _ = serde_json::to_writer(&mut text, &Line::new(entry));
        text.push(b'\n');
    }
    text
}

/// Appends a line for each entry.
pub(super) fn append(path: &Path, entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let file = OpenOptions::new().create(true).append(true).open(path);
    // All lines in one write, so that a reader who follows the file sees whole lines.
    file.and_then(|mut file| file.write_all(&lines(entries)))
        .map_err(|source| Error::Write { path: path.to_path_buf(), source })
}

/// `H:MM:SS`, and from a day on `1 day, H:MM:SS`, as Python writes a `timedelta`.
fn clock(seconds: f64) -> String {
    let seconds = seconds as u64;
    let (days, hours, minutes, seconds) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let time = format!("{hours}:{minutes:02}:{seconds:02}");
    match days {
        0 => time,
        1 => format!("1 day, {time}"),
        _ => format!("{days} days, {time}"),
    }
}

/// `value` to so many decimal places.
pub(super) fn round(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_python_does() {
        let times = [0.9, 59.0, 3661.5, 86399.0, 86400.0, 200000.0].map(clock);
        assert_eq!(times, ["0:00:00", "0:00:59", "1:01:01", "23:59:59", "1 day, 0:00:00", "2 days, 7:33:20"]);
    }
}
