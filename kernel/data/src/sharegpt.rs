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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DatasetInfo;

    /// Loads `records` with a picture `a.png` beside them.
    fn load(entry: &str, records: &str) -> Dataset {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let entry = format!(r#"{{"file_name": "d.json", "formatting": "sharegpt"{entry}}}"#);
        write("dataset_info.json", &format!(r#"{{"d": {entry}}}"#));
        write("d.json", records);
        write("a.png", "");
        let info = DatasetInfo::read(dir.path()).unwrap();
        Dataset::load(&info.entry("d").unwrap(), dir.path(), None).unwrap()
    }

    const COLUMNS: &str = r#", "columns": {"messages": "messages", "images": "images", "system": "system"}"#;
    const TAGS: &str =
        r#", "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}"#;

    fn reason(entry: &str, record: &str) -> SkipReason {
        let dataset = load(entry, &format!("[{record}]"));
        assert!(dataset.samples.is_empty(), "{record}");
        dataset.skipped[0].reason.clone()
    }

    #[test]
    fn a_tutorial_record() {
        let dataset = load(
            COLUMNS,
            r#"[{"messages": [{"from": "human", "value": "<image>谁?"}, {"from": "gpt", "value": "它。"}],
                 "images": ["a.png"]}]"#,
        );
        assert!(dataset.skipped.is_empty());
        let sample = &dataset.samples[0];
        assert_eq!(sample.messages, [Message::user("<image>谁?"), Message::assistant("它。")]);
        assert_eq!(sample.images.len(), 1);
        assert!(sample.images[0].ends_with("a.png"));
        assert_eq!(sample.system, "");
        assert_eq!(sample.origin.to_string(), "d.json[0]");
    }

    #[test]
    fn the_system_message_is_the_first_turn_or_a_column() {
        let turns = r#"{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}"#;
        let dataset = load(
            COLUMNS,
            &format!(
                r#"[{{"messages": [{{"from": "system", "value": "S"}}, {turns}], "system": "C"}},
                    {{"messages": [{turns}], "system": "C"}}, {{"messages": [{turns}], "images": "a.png", "system": null}}]"#
            ),
        );
        assert_eq!(dataset.samples[0].system, "S");
        assert_eq!(dataset.samples[0].messages.len(), 2);
        assert_eq!(dataset.samples[1].system, "C");
        assert_eq!(dataset.skipped[0].reason, SkipReason::ImageCount { placeholders: 0, images: 1 });
    }

    #[test]
    fn without_system_tag_a_system_turn_is_an_unknown_role() {
        let record = r#"{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "q"},
                         {"role": "assistant", "content": "a"}]}"#;
        let found = reason(&format!("{COLUMNS}{TAGS}"), record);
        assert_eq!(found, SkipReason::UnknownRole { turn: 0, role: "system".to_owned() });
    }

    #[test]
    fn each_fault_skips_its_sample_only() {
        let q = r#"{"from": "human", "value": "q"}"#;
        let a = r#"{"from": "gpt", "value": "a"}"#;
        let record = |turns: &str| format!(r#"{{"messages": [{turns}]}}"#);
        let cases = [
            ("7".to_owned(), SkipReason::NotAnObject),
            ("{}".to_owned(), missing("messages")),
            (r#"{"messages": 3}"#.to_owned(), wrong_type("messages", "a list of messages")),
            (record(""), SkipReason::NoMessages),
            (record(&format!("{q}, {a}, {q}")), SkipReason::OddMessageCount { count: 3 }),
            (record(&format!("{q}, {q}")), SkipReason::WrongTurn { turn: 1, role: "human".to_owned() }),
            (
                record(&format!(r#"{q}, {{"from": "narrator", "value": "x"}}"#)),
                SkipReason::UnknownRole { turn: 1, role: "narrator".to_owned() },
            ),
            (
                record(&format!(r#"{q}, {{"from": "function_call", "value": "x"}}"#)),
                SkipReason::ToolTurn { turn: 1, role: "function_call".to_owned() },
            ),
            (record(&format!(r#"{q}, {{"from": "gpt"}}"#)), missing("value")),
            (record(&format!(r#"{q}, {{"from": "gpt", "value": 3}}"#)), wrong_type("value", "text")),
            (
                record(&format!(r#"{{"from": "human", "value": "<image><image>"}}, {a}"#)),
                SkipReason::ImageCount { placeholders: 2, images: 0 },
            ),
            (
                record(&format!(r#"{{"from": "human", "value": "<video>"}}, {a}"#)),
                SkipReason::OtherMedia { placeholder: "<video>" },
            ),
        ];
        let good = record(&format!("{q}, {a}"));
        for (bad, expected) in cases {
            let dataset = load(COLUMNS, &format!("[{good}, {bad}, {good}]"));
            assert_eq!(dataset.samples.len(), 2, "{bad}");
            assert_eq!(dataset.skipped.len(), 1, "{bad}");
            assert_eq!(dataset.skipped[0].reason, expected, "{bad}");
            assert_eq!(dataset.skipped[0].origin.index, 1);
        }
    }

    #[test]
    fn a_missing_picture_is_named() {
        let record = r#"{"messages": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "a"}],
                         "images": ["gone.png"]}"#;
        let message = reason(COLUMNS, record).to_string();
        assert!(message.contains("gone.png"), "{message}");
    }

    #[test]
    fn max_samples_takes_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let record = r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}"#;
        std::fs::write(dir.path().join("d.jsonl"), [record; 5].join("\n")).unwrap();
        std::fs::write(
            dir.path().join("dataset_info.json"),
            r#"{"d": {"file_name": "d.jsonl", "formatting": "sharegpt"}}"#,
        )
        .unwrap();
        let entry = DatasetInfo::read(dir.path()).unwrap().entry("d").unwrap();
        let dataset = Dataset::load(&entry, dir.path(), Some(3)).unwrap();
        assert_eq!(dataset.samples.len(), 3);
    }

    #[test]
    fn pictures_without_a_place_come_first() {
        assert_eq!(Message::user_with_images("Who?", 1).content, "<image>Who?");
        assert_eq!(Message::user_with_images("a <image> b", 2).content, "<image>a <image> b");
        assert_eq!(Message::user_with_images("a <image>", 1).content, "a <image>");
    }
}
