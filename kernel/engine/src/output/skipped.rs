//! `skipped_samples.jsonl`: a line for every sample that was left out.

use std::collections::HashSet;

use serde::Serialize;
use tunebook_data::SkipKind;
use tunebook_data::Skipped;

#[derive(Serialize)]
struct Line<'a> {
    dataset: &'a str,
    file: String,
    /// Among the file's records, from 0.
    index: usize,
    kind: SkipKind,
    reason: String,
}

/// The lines of those samples that `before` does not list.
pub(super) fn lines_but(before: &str, samples: &[Skipped]) -> String {
    let listed: HashSet<&str> = before.lines().collect();
    let line = |Skipped { origin, reason }: &Skipped| {
        let line = Line {
            dataset: &origin.dataset,
            file: origin.file.display().to_string(),
            index: origin.index,
            kind: reason.kind(),
            reason: reason.to_string(),
        };
        // Texts and numbers can always be written.
        serde_json::to_string(&line).unwrap_or_default()
    };
    let new = samples.iter().map(line).filter(|line| !listed.contains(line.as_str()));
    new.map(|line| line + "\n").collect()
}
