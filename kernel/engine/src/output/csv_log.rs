//! `trainer_log.csv`: a row for every logged step and evaluation, with the same columns throughout.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use serde_json::Value;
use tunebook_files::replace_file;

use super::log::Entry;
use super::trainer_state;
use crate::error::Error;
use crate::error::Result;

/// What the file holds.
#[derive(Debug, Default)]
pub(super) struct CsvLog {
    /// How many entries of the log; none before the first are written.
    entries: Option<usize>,
}

/// The columns beside those of an objective's own metrics, by transformers' names.
const FIRST: [&str; 2] = ["step", "epoch"];
const LAST: [&str; 7] = [
    "grad_norm",
    "learning_rate",
    "num_input_tokens_seen",
    "eval_loss",
    "eval_runtime",
    "eval_samples_per_second",
    "eval_steps_per_second",
];

impl CsvLog {
    /// Writes what is new in the log, or all of it where the file holds something else than its beginning.
    ///
    /// # Errors
    /// The disk refuses. The next call then writes all.
    pub(super) fn follow(&mut self, path: &Path, entries: &[Entry]) -> Result<()> {
        let write_error = |source| Error::Write { path: path.to_path_buf(), source };
        match self.entries.take().filter(|known| *known <= entries.len() && path.exists()) {
            Some(known) if known == entries.len() => {}
            Some(known) if columns(&entries[..known]) == columns(entries) => {
                let file = OpenOptions::new().append(true).open(path);
                file.and_then(|mut file| file.write_all(rows(&entries[known..], &columns(entries)).as_bytes()))
                    .map_err(write_error)?;
            }
            _ if entries.is_empty() && !path.exists() => return Ok(()),
            _ => {
                let columns = columns(entries);
                let text = format!("{}\n{}", columns.join(","), rows(entries, &columns));
                replace_file(path, text.as_bytes()).map_err(write_error)?;
            }
        }
        self.entries = Some(entries.len());
        Ok(())
    }

    /// Makes the file, if there is one, that of another log.
    ///
    /// # Errors
    /// As [`CsvLog::follow`].
    pub(super) fn rewrite(&mut self, path: &Path, entries: &[Entry]) -> Result<()> {
        self.entries = None;
        if path.exists() { self.follow(path, entries) } else { Ok(()) }
    }
}

/// `loss` and what else the objective reports stand between the step and what all objectives have.
fn columns(entries: &[Entry]) -> Vec<String> {
    let metrics = entries.iter().find_map(|entry| match entry {
        Entry::Step(record) => Some(record.metrics.iter().map(|(name, _)| name.to_string()).collect()),
        Entry::Evaluation(_) => None,
    });
    let metrics: Vec<String> = metrics.unwrap_or_else(|| vec!["loss".to_string()]);
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    [names(&FIRST), metrics, names(&LAST)].concat()
}

/// All of it are numbers, which need no quotes.
fn rows(entries: &[Entry], columns: &[String]) -> String {
    let row = |entry: &Entry| {
        let metrics = trainer_state::metrics(entry);
        let cell = |column: &String| match metrics.get(column) {
            None => String::new(),
            // JSON has no NaN, and a null in its place.
            Some(Value::Null) => "nan".to_string(),
            Some(value) => value.to_string(),
        };
        columns.iter().map(cell).collect::<Vec<_>>().join(",") + "\n"
    };
    entries.iter().map(row).collect()
}
