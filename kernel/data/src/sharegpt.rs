//! sharegpt records to [`Sample`]s.
//!
//! The rules are LLaMA-Factory's, with one difference: what makes it drop a sample silently or die (a missing
//! key, a wrong `<image>` count, a missing picture) makes the sample [`Skipped`] with a reason, and the run goes on.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::records::read_records;
use crate::{Columns, DatasetEntry, DatasetError, Origin, SkipReason, Skipped, Tags};

/// Stands for a picture in a message; the i-th one of a conversation gets the i-th picture.
pub const IMAGE_PLACEHOLDER: &str = "<image>";
const OTHER_PLACEHOLDERS: [&str; 2] = ["<video>", "<audio>"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
}

/// One turn of a conversation. `<image>` in its content stands for a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

/// A conversation to learn from: user and assistant by turns, beginning with the user, ending with the assistant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub messages: Vec<Message>,
    /// Empty: the template's default.
    pub system: String,
    /// As many as the messages hold `<image>`.
    pub images: Vec<PathBuf>,
    pub origin: Origin,
}

/// The readable samples of a data set, and what was left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    pub samples: Vec<Sample>,
    pub skipped: Vec<Skipped>,
}

impl Message {
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }

    /// A user's turn with `count` pictures: where its text does not place them all by `<image>`, the missing
    /// placeholders are put in front.
    pub fn user_with_images(content: &str, count: usize) -> Self {
        let placed = content.matches(IMAGE_PLACEHOLDER).count();
        Self::user(IMAGE_PLACEHOLDER.repeat(count.saturating_sub(placed)) + content)
    }
}

impl Dataset {
    /// Reads the records of `entry`, at most the first `max_samples`. Pictures are looked for in `media_dir`
    /// (LLaMA-Factory's default: the dataset_dir), then where their path itself says.
    ///
    /// # Errors
    /// Only a file that cannot be read or parsed; whatever is wrong with a single record makes it skipped.
    pub fn load(entry: &DatasetEntry, media_dir: &Path, max_samples: Option<usize>) -> Result<Self, DatasetError> {
        let mut dataset = Self::default();
        let records = read_records(&entry.source)?;
        for (origin, record) in records.into_iter().take(max_samples.unwrap_or(usize::MAX)) {
            match convert(&record, &entry.columns, &entry.tags, media_dir) {
                Ok((messages, system, images)) => dataset.samples.push(Sample { messages, system, images, origin }),
                Err(reason) => dataset.skipped.push(Skipped { origin, reason }),
            }
        }
        Ok(dataset)
    }

    /// Puts `other` behind, as LLaMA-Factory's `mix_strategy: concat`.
    pub fn append(&mut self, mut other: Self) {
        self.samples.append(&mut other.samples);
        self.skipped.append(&mut other.skipped);
    }
}

type Converted = (Vec<Message>, String, Vec<PathBuf>);

fn convert(record: &Value, columns: &Columns, tags: &Tags, media_dir: &Path) -> Result<Converted, SkipReason> {
    let record = record.as_object().ok_or(SkipReason::NotAnObject)?;
    let turns = record
        .get(&columns.messages)
        .ok_or_else(|| missing(&columns.messages))?
        .as_array()
        .ok_or_else(|| wrong_type(&columns.messages, "a list of messages"))?;
    let turns = turns.iter().map(|turn| role_and_content(turn, tags)).collect::<Result<Vec<_>, _>>()?;

    let (system, turns) = match turns.split_first() {
        Some((&(role, content), rest)) if Some(role) == tags.system_tag.as_deref() => (content.to_owned(), rest),
        _ => (system_column(record, columns)?, turns.as_slice()),
    };
    let messages = turns
        .iter()
        .enumerate()
        .map(|(turn, &(role, content))| message(turn, role, content, tags))
        .collect::<Result<Vec<_>, _>>()?;
    if messages.is_empty() {
        return Err(SkipReason::NoMessages);
    }
    if messages.len() % 2 == 1 {
        return Err(SkipReason::OddMessageCount { count: messages.len() });
    }
    let images = images(record, columns, media_dir)?;
    check_placeholders(&messages, images.len())?;
    Ok((messages, system, images))
}

fn role_and_content<'a>(turn: &'a Value, tags: &Tags) -> Result<(&'a str, &'a str), SkipReason> {
    let turn = turn.as_object().ok_or(SkipReason::NotAnObject)?;
    let text = |key: &str| match turn.get(key) {
        None => Err(missing(key)),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(wrong_type(key, "text")),
    };
    Ok((text(&tags.role_tag)?, text(&tags.content_tag)?))
}

fn system_column(record: &Map<String, Value>, columns: &Columns) -> Result<String, SkipReason> {
    let Some(key) = &columns.system else {
        return Ok(String::new());
    };
    match record.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        None | Some(Value::Null) => Ok(String::new()),
        Some(_) => Err(wrong_type(key, "text")),
    }
}

fn message(turn: usize, role: &str, content: &str, tags: &Tags) -> Result<Message, SkipReason> {
    let is = |tag: &Option<String>| tag.as_deref() == Some(role);
    let expected = match turn % 2 {
        0 => Role::User,
        _ => Role::Assistant,
    };
    let found = if is(&tags.user_tag) {
        Role::User
    } else if is(&tags.assistant_tag) {
        Role::Assistant
    } else if is(&tags.observation_tag) || is(&tags.function_tag) {
        return Err(SkipReason::ToolTurn { turn, role: role.to_owned() });
    } else {
        return Err(SkipReason::UnknownRole { turn, role: role.to_owned() });
    };
    match found == expected {
        true => Ok(Message { role: found, content: content.to_owned() }),
        false => Err(SkipReason::WrongTurn { turn, role: role.to_owned() }),
    }
}

/// A scalar counts as a list of one, null as none.
fn images(record: &Map<String, Value>, columns: &Columns, media_dir: &Path) -> Result<Vec<PathBuf>, SkipReason> {
    let Some(key) = &columns.images else {
        return Ok(Vec::new());
    };
    let list = match record.get(key) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(list)) => list.as_slice(),
        Some(single) => std::slice::from_ref(single),
    };
    list.iter()
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

fn missing(key: &str) -> SkipReason {
    SkipReason::MissingKey { key: key.to_owned() }
}

fn wrong_type(key: &str, expected: &'static str) -> SkipReason {
    SkipReason::WrongType { key: key.to_owned(), expected }
}
