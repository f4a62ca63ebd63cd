//! Messages whose content is a list of parts, as OpenAI's interface, TRL and Qwen's own code have it.
//!
//! The parts become a text with `<image>` placeholders before a record's format is looked at, so the formats know texts
//! only.

use serde_json::Value;
use tunebook_quote::quote;

use super::Record;
use super::fields::{list, wrong_type};
use crate::sample::IMAGE_PLACEHOLDER;
use crate::{DatasetEntry, Formatting, SkipReason, ValueType};

/// A record whose messages are text.
pub(super) struct Joined {
    pub(super) record: Record,
    /// The picture of each `<image>`; none where it is the next one of the column `images`.
    pub(super) pictures: Vec<Option<Value>>,
}

/// Joins the parts of each message to a text, in which `<image>` stands for a picture, as Qwen's chat template does. None
/// if all messages are text.
pub(super) fn joined(record: &Record, entry: &DatasetEntry) -> Result<Option<Joined>, SkipReason> {
    let (Formatting::Sharegpt | Formatting::Openai, Some(key)) = (entry.formatting, &entry.columns.messages) else {
        return Ok(None);
    };
    let content_tag = &entry.tags.content_tag;
    let has_parts = |turn: &Value| turn.get(content_tag).is_some_and(Value::is_array);
    let Ok(turns) = list(record, key) else { return Ok(None) };
    if !turns.iter().any(has_parts) {
        return Ok(None);
    }
    let (mut turns, mut pictures) = (turns.into_owned(), Vec::new());
    for (index, turn) in turns.iter_mut().enumerate() {
        let role = turn.get(&entry.tags.role_tag).and_then(Value::as_str);
        let is_system = index == 0 && role.is_some() && role == entry.tags.system_tag.as_deref();
        let before = pictures.len();
        match turn.get_mut(content_tag) {
            Some(Value::String(text)) if !is_system => push_placeholders(text, &mut pictures),
            Some(content @ Value::Array(_)) => *content = text(content.take(), content_tag, &mut pictures)?.into(),
            _ => {}
        }
        if is_system && pictures.len() > before {
            return Err(wrong_type(content_tag, ValueType::Text));
        }
    }
    let others = record.iter().filter(|(other, _)| *other != key).map(|(other, value)| (other.clone(), value.clone()));
    let record = others.chain([(key.clone(), Value::Array(turns))]).collect();
    Ok(Some(Joined { record, pictures }))
}

/// The text of parts one after the other.
fn text(parts: Value, key: &str, pictures: &mut Vec<Option<Value>>) -> Result<String, SkipReason> {
    let Value::Array(parts) = parts else { return Err(wrong_type(key, ValueType::TextOrParts)) };
    let mut joined = String::new();
    for part in parts {
        match Part::new(part, key)? {
            Part::Text(text) => {
                push_placeholders(&text, pictures);
                joined += &text;
            }
            Part::Picture(source) => {
                pictures.push(source);
                joined += IMAGE_PLACEHOLDER;
            }
        }
    }
    Ok(joined)
}

fn push_placeholders(text: &str, pictures: &mut Vec<Option<Value>>) {
    pictures.extend(text.matches(IMAGE_PLACEHOLDER).map(|_| None));
}

enum Part {
    Text(String),
    Picture(Option<Value>),
}

impl Part {
    /// `{"type": "text", "text": …}`, `{"type": "image"}` with or without a source, `{"type": "image_url", …}`, the same
    /// without `type`, or plain text. A table has every key in every part, so that null stands for none.
    fn new(part: Value, key: &str) -> Result<Self, SkipReason> {
        let mut part = match part {
            Value::String(text) => return Ok(Self::Text(text)),
            Value::Object(part) => part,
            _ => return Err(wrong_type(key, ValueType::TextOrParts)),
        };
        part.retain(|_, value| !value.is_null());
        let kind = part.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        match kind.as_str() {
            "image" | "image_url" | "input_image" => {
                Ok(Self::Picture(take_first(&mut part, &["image", "image_url", "url", "path", "base64"])))
            }
            "text" | "input_text" | "output_text" => match part.remove("text") {
                Some(Value::String(text)) => Ok(Self::Text(text)),
                _ => Err(wrong_type("text", ValueType::Text)),
            },
            _ if kind.contains("video") || part.contains_key("video") => {
                Err(SkipReason::OtherMedia { placeholder: "<video>" })
            }
            _ if kind.contains("audio") || part.contains_key("audio") => {
                Err(SkipReason::OtherMedia { placeholder: "<audio>" })
            }
            "" => match (take_first(&mut part, &["image", "image_url"]), part.remove("text")) {
                (Some(source), None) => Ok(Self::Picture(Some(source))),
                (None, Some(Value::String(text))) => Ok(Self::Text(text)),
                _ => Err(wrong_type(key, ValueType::TextOrParts)),
            },
            _ => Err(SkipReason::UnknownPart { kind: quote(&kind) }),
        }
    }
}

fn take_first(part: &mut Record, keys: &[&str]) -> Option<Value> {
    keys.iter().find_map(|key| part.remove(*key))
}
