//! `skipped_samples.jsonl`: a line for every sample that was left out.

use std::collections::HashSet;

use tunebook_data::Skipped;

/// The lines of those samples that `before` does not list.
pub(super) fn lines_but(before: &str, samples: &[Skipped]) -> String {
    let listed: HashSet<&str> = before.lines().collect();
    // Texts and numbers can always be written.
    let line = |skipped: &Skipped| serde_json::to_string(skipped).unwrap_or_default();
    let new = samples.iter().map(line).filter(|line| !listed.contains(line.as_str()));
    new.map(|line| line + "\n").collect()
}
