//! Records to [`Sample`]s, in the formats of LLaMA-Factory's data sets.
//!
//! The rules are LLaMA-Factory's converters', with one difference: what makes it drop a sample silently or die (a
//! missing key, a wrong `<image>` count, a missing picture) gives a reason to skip the sample, and the run goes on.

mod alpaca;
mod fields;
mod openai;
mod sharegpt;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::sample::IMAGE_PLACEHOLDER;
use crate::{Columns, DatasetEntry, Formatting, Message, Origin, Sample, SkipReason};
use fields::{is_null, list, wrong_type};

type Record = Map<String, Value>;

const OTHER_PLACEHOLDERS: [&str; 2] = ["<video>", "<audio>"];

/// What a record says, without its pictures.
struct Conversation {
    messages: Vec<Message>,
    system: String,
    tools: String,
}

/// One record as a sample. Pictures are looked for in `media_dir`, then where their path itself says.
pub(crate) fn convert(
    record: &Value,
    entry: &DatasetEntry,
    media_dir: &Path,
    origin: Origin,
) -> Result<Sample, SkipReason> {
    let record = record.as_object().ok_or(SkipReason::NotAnObject)?;
    let Conversation { messages, system, tools } = match entry.formatting {
        Formatting::Alpaca => alpaca::conversation(record, &entry.columns)?,
        Formatting::Sharegpt => sharegpt::conversation(record, &entry.columns, &entry.tags)?,
        Formatting::Openai => openai::conversation(record, &entry.columns, &entry.tags)?,
    };
    check_turns(&messages)?;
    let images = images(record, &entry.columns, media_dir)?;
    check_placeholders(&messages, images.len())?;
    Ok(Sample { messages, system, tools, images, origin })
}

/// Question and answer by turns, the last one an answer.
fn check_turns(messages: &[Message]) -> Result<(), SkipReason> {
    if messages.is_empty() {
        return Err(SkipReason::NoMessages);
    }
    let wrong = messages.iter().enumerate().find(|(turn, message)| message.role.is_answer() != (turn % 2 == 1));
    if let Some((turn, message)) = wrong {
        return Err(SkipReason::WrongTurn { turn, role: message.role });
    }
    match messages.len() % 2 {
        0 => Ok(()),
        _ => Err(SkipReason::OddMessageCount { count: messages.len() }),
    }
}

/// A scalar counts as a list of one, null as none.
fn images(record: &Record, columns: &Columns, media_dir: &Path) -> Result<Vec<PathBuf>, SkipReason> {
    let Some(key) = columns.images.as_deref().filter(|key| !is_null(record, key)) else {
        return Ok(Vec::new());
    };
    let images = match list(record, key) {
        Ok(images) => images,
        Err(_) => vec![record[key].clone()],
    };
    images
        .iter()
        .map(|image| {
            let image = image.as_str().ok_or_else(|| wrong_type(key, "a list of paths"))?;
            [media_dir.join(image), PathBuf::from(image)]
                .into_iter()
                .find(|path| path.is_file())
                .ok_or_else(|| SkipReason::MissingPicture { path: image.into(), media_dir: media_dir.to_owned() })
        })
        .collect()
}

fn check_placeholders(messages: &[Message], images: usize) -> Result<(), SkipReason> {
    let count = |placeholder: &str| -> usize {
        messages.iter().map(|message| message.content.matches(placeholder).count()).sum()
    };
    if let Some(placeholder) = OTHER_PLACEHOLDERS.into_iter().find(|p| count(p) > 0) {
        return Err(SkipReason::OtherMedia { placeholder });
    }
    let placeholders = count(IMAGE_PLACEHOLDER);
    match placeholders == images {
        true => Ok(()),
        false => Err(SkipReason::ImageCount { placeholders, images }),
    }
}

#[cfg(test)]
mod tests;
