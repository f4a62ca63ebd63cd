//! `probes.jsonl`: a line for every answer to a probe.

use std::path::PathBuf;

use serde::Serialize;

use crate::probes::ProbeRecord;
use crate::serialize;

#[derive(Serialize)]
struct Line<'a> {
    step: usize,
    question: &'a str,
    #[serde(serialize_with = "serialize::paths")]
    images: &'a [PathBuf],
    answer: &'a str,
    new_tokens: usize,
}

/// The text of the file.
pub(super) fn lines(records: &[ProbeRecord]) -> Vec<u8> {
    let mut text = Vec::new();
    for record in records {
        for answer in &record.answers {
            let (question, images) = (answer.probe.question.as_str(), answer.probe.images.as_slice());
            let line =
                Line { step: record.step, question, images, answer: &answer.text, new_tokens: answer.new_tokens };
            // Texts, numbers and paths as text always have a JSON form.
            let _ = serde_json::to_writer(&mut text, &line);
            text.push(b'\n');
        }
    }
    text
}
