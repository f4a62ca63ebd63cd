//! The turns of a sample as text, out of what the model reads.

use std::path::PathBuf;

use serde::Serialize;
use tunebook_data::Encoded;
use tunebook_data::IMAGE_PLACEHOLDER;
use tunebook_data::Tokenizer;

use crate::error::Result;

/// A sample as one reads it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SampleText {
    /// Its number in its split, as `sample` counts.
    pub index: usize,
    /// Each with its role, as the template names it.
    pub turns: Vec<(String, String)>,
    pub images: Vec<PathBuf>,
    /// Whether trainings leave it out.
    pub dropped: bool,
}

const BEGIN: &str = "<|im_start|>";
const END: &str = "<|im_end|>";
const PICTURE_BEGIN: &str = "<|vision_start|>";
const PICTURE_END: &str = "<|vision_end|>";

/// The turns of `sample`: between the marks of its template a role, a line feed and what is said, with `<image>` in place of
/// each image's tokens.
///
/// # Errors
/// The tokenizer cannot decode it.
pub(crate) fn turns(sample: &Encoded, tokenizer: &Tokenizer) -> Result<Vec<(String, String)>> {
    let mut ids = sample.input_ids.clone();
    // A run of placeholders is as long as its image is large.
    let pad = tokenizer.special().image_pad;
    ids.dedup_by(|a, b| *a == pad && a == b);
    let text = tokenizer.decode(&ids, false)?;
    let turn = |turn: &str| {
        let turn = turn.split(END).next().unwrap_or_default();
        let (role, said) = turn.split_once('\n').unwrap_or((turn, ""));
        (role.to_string(), with_placeholders(said))
    };
    Ok(text.split(BEGIN).skip(1).map(turn).collect())
}

fn with_placeholders(text: &str) -> String {
    let mut parts = text.split(PICTURE_BEGIN);
    let mut whole = parts.next().unwrap_or_default().to_string();
    for part in parts {
        whole += IMAGE_PLACEHOLDER;
        whole += part.split_once(PICTURE_END).map_or("", |(_, after)| after);
    }
    whole
}
