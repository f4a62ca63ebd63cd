//! Records to [`Sample`]s, in the formats of LLaMA-Factory's datasets.
//!
//! The rules are those of LLaMA-Factory's converters, with one difference: what makes it drop a sample silently or fail
//! (a missing key, a wrong number of `<image>`s, a missing image) is a reason to skip the sample, and the run goes on.

mod alpaca;
mod fields;
mod image_count;
mod openai;
mod parts;
mod pictures;
mod roles;
mod sharegpt;

use serde_json::{Map, Value};

use crate::sample::IMAGE_PLACEHOLDER;
use crate::{Columns, DatasetEntry, DatasetError, Formatting, Message, Origin, Sample, SkipReason, ValueType};
use fields::{is_null, list, wrong_type};
pub use openai::NEXT_TOOL_RESULT;
pub(crate) use pictures::Places;

type Record = Map<String, Value>;

const OTHER_PLACEHOLDERS: [&str; 2] = ["<video>", "<audio>"];

/// What a record says, without its pictures.
struct Conversation {
    messages: Vec<Message>,
    system: String,
    tools: String,
}

/// Why a record is no sample.
pub(crate) enum Fault {
    /// It is left out.
    Skip(SkipReason),
    /// No record can be read.
    Stop(DatasetError),
}

impl From<SkipReason> for Fault {
    fn from(reason: SkipReason) -> Self {
        Self::Skip(reason)
    }
}

/// One record as a sample.
pub(crate) fn convert(record: &Value, entry: &DatasetEntry, places: Places, origin: Origin) -> Result<Sample, Fault> {
    let record = record.as_object().ok_or(SkipReason::NotAnObject)?;
    let joined = parts::joined(record, entry)?;
    let (record, in_parts) =
        joined.as_ref().map_or((record, &[][..]), |joined| (&joined.record, joined.pictures.as_slice()));
    let Conversation { messages, system, tools } = match entry.formatting {
        Formatting::Alpaca => alpaca::conversation(record, &entry.columns)?,
        Formatting::Sharegpt => sharegpt::conversation(record, &entry.columns, &entry.tags)?,
        Formatting::Openai => openai::conversation(record, &entry.columns, &entry.tags)?,
    };
    check_turns(&messages)?;
    let placeholders = placeholders(&messages)?;
    // Results of tools at the very end, which nothing answers, were left out with their pictures.
    let in_parts = &in_parts[..in_parts.len().min(placeholders)];
    let images = images(record, &entry.columns, in_parts)?;
    if images.len() != placeholders {
        return Err(image_count::mismatch(record, &entry.columns, placeholders, images.len()).into());
    }
    let key = entry.columns.images.as_deref().unwrap_or(&entry.tags.content_tag);
    let images = images.iter().map(|image| places.picture(image, key)).collect::<Result<_, _>>()?;
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

/// The pictures of the column `images`, in which a scalar counts as a list of one, and null and empty text as none; those
/// in the parts of messages come between them, where their `<image>` is.
fn images(record: &Record, columns: &Columns, in_parts: &[Option<Value>]) -> Result<Vec<Value>, SkipReason> {
    let column = match columns.images.as_deref().filter(|key| !is_null(record, key)) {
        Some(key) => list(record, key).map_or_else(|_| scalar(&record[key], key), |list| Ok(list.into_owned()))?,
        None => Vec::new(),
    };
    let is_empty = |image: &Value| image.is_null() || image.as_str() == Some("");
    let mut column = column.into_iter().filter(|image| !is_empty(image));
    let mut images: Vec<_> = in_parts.iter().filter_map(|image| image.clone().or_else(|| column.next())).collect();
    images.extend(column);
    Ok(images)
}

/// Text in brackets that is no JSON is a list as Python prints it, and no path.
fn scalar(image: &Value, key: &str) -> Result<Vec<Value>, SkipReason> {
    match image.as_str() {
        Some(text) if text.starts_with('[') && text.ends_with(']') => Err(wrong_type(key, ValueType::PathOrPaths)),
        _ => Ok(vec![image.clone()]),
    }
}

/// How many pictures the messages ask for.
fn placeholders(messages: &[Message]) -> Result<usize, SkipReason> {
    let count = |placeholder: &str| -> usize {
        messages.iter().map(|message| message.content.matches(placeholder).count()).sum()
    };
    match OTHER_PLACEHOLDERS.into_iter().find(|placeholder| count(placeholder) > 0) {
        Some(placeholder) => Err(SkipReason::OtherMedia { placeholder }),
        None => Ok(count(IMAGE_PLACEHOLDER)),
    }
}

#[cfg(test)]
mod tests;
