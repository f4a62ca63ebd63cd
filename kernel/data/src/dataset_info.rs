//! `dataset_info.json`: which data sets a folder offers, where their records lie and how their keys are called.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::DatasetError;

/// The name that LLaMA-Factory gives the index of a data set folder.
pub const DATASET_INFO: &str = "dataset_info.json";

/// The data sets of one folder, in the order of its `dataset_info.json`.
///
/// Entries are only looked at when asked for by name: a file that also lists data sets of kinds which tunebook
/// cannot read (alpaca, hub data sets …) is fine.
#[derive(Debug, Clone)]
pub struct DatasetInfo {
    dataset_dir: PathBuf,
    entries: Map<String, Value>,
}

/// One data set: where its records are, and the names of their keys and roles.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetEntry {
    pub name: String,
    /// File or folder of records.
    pub source: PathBuf,
    pub columns: Columns,
    pub tags: Tags,
}

/// The keys of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    pub messages: String,
    pub system: Option<String>,
    pub images: Option<String>,
}

/// The keys of a message and the names of the roles. A role without a name cannot occur.
#[derive(Debug, Clone, PartialEq)]
pub struct Tags {
    pub role_tag: String,
    pub content_tag: String,
    pub user_tag: Option<String>,
    pub assistant_tag: Option<String>,
    pub observation_tag: Option<String>,
    pub function_tag: Option<String>,
    pub system_tag: Option<String>,
}

impl DatasetInfo {
    /// Reads `<dataset_dir>/dataset_info.json`.
    ///
    /// # Errors
    /// The file is missing or unreadable, is not JSON (with line and column), or is not an object.
    pub fn read(dataset_dir: &Path) -> Result<Self, DatasetError> {
        let path = dataset_dir.join(DATASET_INFO);
        let text =
            std::fs::read_to_string(&path).map_err(|source| DatasetError::Read { path: path.clone(), source })?;
        match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
            Ok(Value::Object(entries)) => Ok(Self { dataset_dir: dataset_dir.to_owned(), entries }),
            Ok(_) => Err(DatasetError::InfoNotAnObject { path }),
            Err(source) => Err(DatasetError::json(&path, source)),
        }
    }

    /// The names of all data sets, whether or not tunebook can read them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The folder that was read; relative file and picture names start here.
    pub fn dataset_dir(&self) -> &Path {
        &self.dataset_dir
    }

    /// Looks up one data set.
    ///
    /// # Errors
    /// No such name (the nearest one is told), or an entry of a kind that tunebook does not read: the key that
    /// makes it so is named.
    pub fn entry(&self, name: &str) -> Result<DatasetEntry, DatasetError> {
        let entry = self.entries.get(name).ok_or_else(|| self.undefined(name))?;
        let refuse = |what: String| DatasetError::Unsupported { name: name.to_owned(), what };
        let entry = entry.as_object().ok_or_else(|| refuse("an entry that is not a JSON object".to_owned()))?;

        for key in ["hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name"] {
            if is_set(entry.get(key)) {
                return Err(refuse(format!("the source `{key}`")));
            }
        }
        match text(entry, "formatting") {
            Some("sharegpt") => {}
            Some(other) => return Err(refuse(format!("`formatting: {other}`"))),
            None => {
                return Err(refuse("no `formatting`, which means alpaca".to_owned()));
            }
        }
        for key in ["ranking", "num_samples"] {
            if is_set(entry.get(key)) {
                return Err(refuse(format!("`{key}`")));
            }
        }
        let file_name = text(entry, "file_name").ok_or_else(|| refuse("no `file_name`".to_owned()))?;

        Ok(DatasetEntry {
            name: name.to_owned(),
            source: self.dataset_dir.join(file_name),
            columns: Columns::read(entry.get("columns")).map_err(refuse)?,
            tags: Tags::read(entry.get("tags")).map_err(refuse)?,
        })
    }

    fn undefined(&self, name: &str) -> DatasetError {
        let nearest = self
            .names()
            .map(|other| (strsim::jaro_winkler(name, other), other))
            .filter(|(likeness, _)| *likeness > 0.7)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = match nearest {
            Some((_, other)) => format!("did you mean `{other}`?"),
            None => {
                let names: Vec<_> = self.names().take(10).collect();
                format!("it defines: {}", names.join(", "))
            }
        };
        DatasetError::Undefined { name: name.to_owned(), path: self.dataset_dir.join(DATASET_INFO), hint }
    }
}

impl Columns {
    /// LLaMA-Factory's reading: without `columns` every key has its default; with it, a key that is not listed
    /// does not exist.
    fn read(columns: Option<&Value>) -> Result<Self, String> {
        let Some(columns) = columns else {
            return Ok(Self { messages: "conversations".to_owned(), system: None, images: None });
        };
        let columns = columns.as_object().ok_or("`columns` that is not a JSON object")?;
        for key in ["tools", "videos", "audios", "chosen", "rejected", "kto_tag"] {
            if is_set(columns.get(key)) {
                return Err(format!("the column `{key}`"));
            }
        }
        Ok(Self {
            messages: owned(columns, "messages").ok_or("`columns` without `messages`")?,
            system: owned(columns, "system"),
            images: owned(columns, "images"),
        })
    }
}

impl Tags {
    /// As [`Columns::read`]: once `tags` is there, what it leaves out does not exist.
    fn read(tags: Option<&Value>) -> Result<Self, String> {
        let Some(tags) = tags else {
            return Ok(Self::default());
        };
        let tags = tags.as_object().ok_or("`tags` that is not a JSON object")?;
        Ok(Self {
            role_tag: owned(tags, "role_tag").ok_or("`tags` without `role_tag`")?,
            content_tag: owned(tags, "content_tag").ok_or("`tags` without `content_tag`")?,
            user_tag: owned(tags, "user_tag"),
            assistant_tag: owned(tags, "assistant_tag"),
            observation_tag: owned(tags, "observation_tag"),
            function_tag: owned(tags, "function_tag"),
            system_tag: owned(tags, "system_tag"),
        })
    }
}

impl Default for Tags {
    fn default() -> Self {
        Self {
            role_tag: "from".to_owned(),
            content_tag: "value".to_owned(),
            user_tag: Some("human".to_owned()),
            assistant_tag: Some("gpt".to_owned()),
            observation_tag: Some("observation".to_owned()),
            function_tag: Some("function_call".to_owned()),
            system_tag: Some("system".to_owned()),
        }
    }
}

/// Python's truth: a key that is absent, null, false, 0 or empty counts as not given.
fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(_) => true,
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

fn owned(object: &Map<String, Value>, key: &str) -> Option<String> {
    text(object, key).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(json: &str) -> (tempfile::TempDir, Result<DatasetInfo, DatasetError>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(DATASET_INFO), json).unwrap();
        let info = DatasetInfo::read(dir.path());
        (dir, info)
    }

    #[test]
    fn the_tutorials_entry() {
        let (dir, info) = info(
            r#"{"pokemon": {"file_name": "pokemon.json", "formatting": "sharegpt",
                            "columns": {"messages": "messages", "images": "images"}}}"#,
        );
        let entry = info.unwrap().entry("pokemon").unwrap();
        assert_eq!(entry.source, dir.path().join("pokemon.json"));
        assert_eq!(entry.columns.messages, "messages");
        assert_eq!(entry.columns.images.as_deref(), Some("images"));
        assert_eq!(entry.columns.system, None);
        assert_eq!(entry.tags, Tags::default());
    }

    #[test]
    fn tags_that_are_given_leave_the_others_undefined() {
        let (_dir, info) = info(
            r#"{"mllm_demo": {"file_name": "mllm_demo.json", "formatting": "sharegpt",
                "columns": {"messages": "messages", "images": "images"},
                "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}}}"#,
        );
        let tags = info.unwrap().entry("mllm_demo").unwrap().tags;
        assert_eq!(tags.user_tag.as_deref(), Some("user"));
        assert_eq!(tags.system_tag, None);
    }

    #[test]
    fn no_columns_means_conversations() {
        let (_dir, info) = info(r#"{"a": {"file_name": "a.json", "formatting": "sharegpt"}}"#);
        let columns = info.unwrap().entry("a").unwrap().columns;
        assert_eq!(columns.messages, "conversations");
        assert_eq!(columns.images, None);
    }

    #[test]
    fn a_misspelt_name_is_told_the_nearest() {
        let (_dir, info) = info(r#"{"creatures": {}, "identity": {}}"#);
        let message = info.unwrap().entry("creature").unwrap_err().to_string();
        assert!(message.contains("did you mean `creatures`?"), "{message}");
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let (_dir, info) = info(
            r#"{"alpaca": {"file_name": "a.json"}, "hub": {"hf_hub_url": "x/y"},
                "dpo": {"file_name": "a.json", "formatting": "sharegpt", "ranking": true},
                "video": {"file_name": "a.json", "formatting": "sharegpt", "columns": {"messages": "m", "videos": "v"}}}"#,
        );
        let info = info.unwrap();
        for (name, what) in [("alpaca", "alpaca"), ("hub", "hf_hub_url"), ("dpo", "ranking"), ("video", "videos")] {
            let message = info.entry(name).unwrap_err().to_string();
            assert!(message.contains(what) && message.contains("sharegpt"), "{message}");
        }
    }

    #[test]
    fn malformed_json_names_line_and_column() {
        let (_dir, info) = info("{\n  \"a\": {,}\n}");
        let message = info.unwrap_err().to_string();
        assert!(message.contains("dataset_info.json:2:9"), "{message}");
    }
}
