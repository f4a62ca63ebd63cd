//! `dataset_info.json`: which datasets a folder offers, where their records lie and what their keys are called.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tunebook_quote::{quote, quote_end};

use crate::{DatasetError, Unsupported, json_text, text_file};

/// The name of the index of a dataset folder, as in LLaMA-Factory.
pub const DATASET_INFO: &str = "dataset_info.json";

/// The datasets of one folder, in the order of its `dataset_info.json`.
///
/// An entry is only examined when it is asked for by name, so the file may also list datasets of kinds that tunebook
/// cannot read (preference pairs, video …).
#[derive(Debug, Clone)]
pub struct DatasetInfo {
    dataset_dir: PathBuf,
    entries: Map<String, Value>,
}

/// One dataset: where its records are, and the names of their keys and roles.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetEntry {
    pub name: String,
    pub source: Source,
    /// The expected SHA-1 of the file.
    pub file_sha1: Option<String>,
    pub formatting: Formatting,
    /// Draw this many records at random, some more than once if there are fewer.
    pub num_samples: Option<usize>,
    pub columns: Columns,
    pub tags: Tags,
}

/// Where records are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Files, or folders of files.
    Files(Vec<PathBuf>),
    Hub(HubDataset),
}

/// A dataset on a hub, by its name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubDataset {
    /// Its name on Hugging Face.
    pub hf_hub_url: Option<String>,
    /// Its name on ModelScope.
    pub ms_hub_url: Option<String>,
    pub subset: Option<String>,
    pub split: String,
    pub folder: Option<String>,
}

/// How a record holds a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formatting {
    /// A question, an answer and earlier pairs of them, each under its own key.
    Alpaca,
    /// A list of messages.
    Sharegpt,
    /// A list of messages with tool calls as in OpenAI's interface.
    Openai,
}

/// The keys of a record. A key without a name does not exist.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    pub prompt: Option<String>,
    pub query: Option<String>,
    pub response: Option<String>,
    pub history: Option<String>,
    pub messages: Option<String>,
    pub system: Option<String>,
    pub tools: Option<String>,
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
        match json_text::value(&text_file::read(&path)?) {
            Ok(Value::Object(entries)) => Ok(Self { dataset_dir: dataset_dir.to_owned(), entries }),
            Ok(_) => Err(DatasetError::InfoNotAnObject { path }),
            Err(fault) => Err(DatasetError::json(&path, fault)),
        }
    }

    /// The names of all datasets, whether or not tunebook can read them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The folder that was read; relative file and picture names start here.
    pub fn dataset_dir(&self) -> &Path {
        &self.dataset_dir
    }

    /// Looks up one dataset.
    ///
    /// # Errors
    /// No such name (the error suggests the closest one), or an entry of a kind that tunebook does not read (the error
    /// names the key).
    pub fn entry(&self, name: &str) -> Result<DatasetEntry, DatasetError> {
        let entry = self.entries.get(name).ok_or_else(|| self.undefined(name))?;
        let refuse = |what| DatasetError::Unsupported { name: quote(name), what };
        let entry = entry.as_object().ok_or_else(|| refuse(Unsupported::Entry))?;

        let source = self.source(name, entry)?;
        for key in ["ranking", "kto_tag"] {
            if is_set(entry.get(key)) {
                return Err(refuse(Unsupported::Key(key)));
            }
        }
        let formatting = match text(entry, "formatting") {
            None | Some("alpaca") => Formatting::Alpaca,
            Some("sharegpt") => Formatting::Sharegpt,
            Some("openai") => Formatting::Openai,
            Some(other) => return Err(refuse(Unsupported::Formatting(quote(other)))),
        };
        let num_samples = match entry.get("num_samples").filter(|value| is_set(Some(value))) {
            Some(value) => {
                let whole = value.as_u64().and_then(|count| usize::try_from(count).ok());
                Some(whole.ok_or_else(|| refuse(Unsupported::NumSamples(quote(&value.to_string()))))?)
            }
            None => None,
        };
        let columns = Columns::read(entry.get("columns")).map_err(refuse)?;
        let (missing, key) = match formatting {
            Formatting::Alpaca if columns.prompt.is_none() => (true, "prompt"),
            Formatting::Alpaca => (columns.response.is_none(), "response"),
            Formatting::Sharegpt | Formatting::Openai => (columns.messages.is_none(), "messages"),
        };
        if missing {
            return Err(refuse(Unsupported::Without { of: "columns", key }));
        }

        Ok(DatasetEntry {
            name: name.to_owned(),
            source,
            file_sha1: owned(entry, "file_sha1"),
            formatting,
            num_samples,
            columns,
            tags: Tags::read(entry.get("tags")).map_err(refuse)?,
        })
    }

    /// Where the records are: the keys are looked at in LLaMA-Factory's order.
    fn source(&self, name: &str, entry: &Map<String, Value>) -> Result<Source, DatasetError> {
        let (hf_hub_url, ms_hub_url) = (owned(entry, "hf_hub_url"), owned(entry, "ms_hub_url"));
        if hf_hub_url.is_some() || ms_hub_url.is_some() {
            let split = owned(entry, "split").unwrap_or_else(|| "train".to_owned());
            let (subset, folder) = (owned(entry, "subset"), owned(entry, "folder"));
            return Ok(Source::Hub(HubDataset { hf_hub_url, ms_hub_url, subset, split, folder }));
        }
        for key in ["om_hub_url", "script_url", "cloud_file_name"] {
            if let Some(place) = owned(entry, key) {
                return Err(DatasetError::Remote { name: quote(name), key, place: quote_end(&place) });
            }
        }
        let refuse = |what| DatasetError::Unsupported { name: quote(name), what };
        if let Some(split) = owned(entry, "split").filter(|split| split != "train") {
            return Err(refuse(Unsupported::Split(quote(&split))));
        }
        let file_name = text(entry, "file_name").ok_or_else(|| refuse(Unsupported::NoFile))?;
        Ok(Source::Files(vec![self.dataset_dir.join(file_name)]))
    }

    fn undefined(&self, name: &str) -> DatasetError {
        let nearest = self
            .names()
            .map(|other| (strsim::jaro_winkler(name, other), other))
            .filter(|(likeness, _)| *likeness > 0.7)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let nearest = nearest.map(|(_, other)| quote(other));
        let names: Vec<_> = self.names().take(10).map(quote).collect();
        let path = self.dataset_dir.join(DATASET_INFO);
        DatasetError::Undefined { name: quote(name), path, nearest, names: names.join(", ") }
    }
}

impl Columns {
    /// As LLaMA-Factory reads it: without `columns` every key has its default; with it, a key that is not listed does
    /// not exist.
    fn read(columns: Option<&Value>) -> Result<Self, Unsupported> {
        let Some(columns) = columns else {
            return Ok(Self::default());
        };
        let columns = columns.as_object().ok_or(Unsupported::NoObject("columns"))?;
        for key in ["videos", "audios", "chosen", "rejected", "kto_tag"] {
            if is_set(columns.get(key)) {
                return Err(Unsupported::Column(key));
            }
        }
        let column = |key| owned(columns, key).filter(|name| !name.is_empty());
        Ok(Self {
            prompt: column("prompt"),
            query: column("query"),
            response: column("response"),
            history: column("history"),
            messages: column("messages"),
            system: column("system"),
            tools: column("tools"),
            images: column("images"),
        })
    }
}

impl Default for Columns {
    fn default() -> Self {
        let column = |name: &str| Some(name.to_owned());
        Self {
            prompt: column("instruction"),
            query: column("input"),
            response: column("output"),
            history: None,
            messages: column("conversations"),
            system: None,
            tools: None,
            images: None,
        }
    }
}

impl Tags {
    /// As [`Columns::read`]: once `tags` is there, what it leaves out does not exist.
    fn read(tags: Option<&Value>) -> Result<Self, Unsupported> {
        let Some(tags) = tags else {
            return Ok(Self::default());
        };
        let tags = tags.as_object().ok_or(Unsupported::NoObject("tags"))?;
        Ok(Self {
            role_tag: owned(tags, "role_tag").ok_or(Unsupported::Without { of: "tags", key: "role_tag" })?,
            content_tag: owned(tags, "content_tag").ok_or(Unsupported::Without { of: "tags", key: "content_tag" })?,
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
        assert_eq!(entry.source, Source::Files(vec![dir.path().join("pokemon.json")]));
        assert_eq!(entry.formatting, Formatting::Sharegpt);
        assert_eq!(entry.columns.messages.as_deref(), Some("messages"));
        assert_eq!(entry.columns.prompt, None);
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
    fn what_is_left_out_has_llamafactorys_defaults() {
        let (_dir, info) = info(r#"{"a": {"file_name": "a.json"}}"#);
        let entry = info.unwrap().entry("a").unwrap();
        assert_eq!(entry.formatting, Formatting::Alpaca);
        assert_eq!(entry.columns, Columns::default());
        assert_eq!(entry.columns.query.as_deref(), Some("input"));
        assert_eq!((entry.num_samples, entry.file_sha1), (None, None));
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
            r#"{"cosmos": {"file_name": "a.json", "formatting": "cosmos"},
                "dpo": {"file_name": "a.json", "formatting": "sharegpt", "ranking": true},
                "video": {"file_name": "a.json", "formatting": "sharegpt", "columns": {"messages": "m", "videos": "v"}},
                "slice": {"file_name": "a.json", "split": "train[:100]"},
                "some": {"file_name": "a.json", "num_samples": "some"},
                "question": {"file_name": "a.json", "columns": {"prompt": "q"}},
                "nothing": {"file_name": "a.json", "formatting": "openai", "columns": {"images": "i"}},
                "nowhere": {}}"#,
        );
        let info = info.unwrap();
        for (name, what) in [
            ("cosmos", "formatting: cosmos"),
            ("dpo", "`ranking`"),
            ("video", "column `videos`"),
            ("slice", "split: train[:100]"),
            ("some", "num_samples: \"some\""),
            ("question", "without `response`"),
            ("nothing", "without `messages`"),
            ("nowhere", "no `file_name`"),
        ] {
            let message = info.entry(name).unwrap_err().to_string();
            assert!(message.contains(what) && message.contains("sharegpt"), "{message}");
        }
    }

    #[test]
    fn a_data_set_of_a_hub_says_which_part_of_it() {
        let (_dir, info) = info(
            r#"{"hub": {"hf_hub_url": "someone/pictures", "subset": "small", "split": "test", "file_name": "a.json"},
                "both": {"hf_hub_url": "a/b", "ms_hub_url": "c/d", "folder": "data"},
                "cloud": {"cloud_file_name": "s3://bucket/a.json"}}"#,
        );
        let info = info.unwrap();
        let text = |text: &str| Some(text.to_owned());
        let hub = |name| match info.entry(name).unwrap().source {
            Source::Hub(hub) => hub,
            Source::Files(files) => panic!("{files:?}"),
        };
        assert_eq!(
            hub("hub"),
            HubDataset {
                hf_hub_url: text("someone/pictures"),
                ms_hub_url: None,
                subset: text("small"),
                split: "test".to_owned(),
                folder: None
            }
        );
        let both = hub("both");
        assert_eq!((both.ms_hub_url, both.split.as_str(), both.folder), (text("c/d"), "train", text("data")));
        let message = info.entry("cloud").unwrap_err().to_string();
        assert!(message.contains("cloud_file_name s3://bucket/a.json") && message.contains("file_name"), "{message}");
    }

    #[test]
    fn malformed_json_names_line_and_column() {
        let (_dir, info) = info("{\n  \"a\": {,}\n}");
        let message = info.unwrap_err().to_string();
        assert!(message.contains("dataset_info.json:2:9"), "{message}");
    }
}
