//! What can be wrong with a dataset as a whole. What is wrong with one sample is a [`SkipReason`](crate::SkipReason).

use std::path::{Path, PathBuf};

use tunebook_quote::REMEDY;

use crate::json_text::JsonFault;

/// Why a dataset cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error("cannot read {}: {source}{REMEDY}check dataset_dir and file_name", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}:{line}:{column} is not valid JSON: {message}", path.display())]
    Json { path: PathBuf, line: usize, column: usize, message: String },
    #[error(
        "{} is not UTF-8 text (from line {line} on){}",
        path.display(),
        match encoding {
            Some(name) => format!(
                ", but probably {name}{REMEDY}save it as UTF-8, for example with `iconv -f {name} -t UTF-8 OLD > NEW`"
            ),
            None => "; it is probably not text at all".to_owned(),
        }
    )]
    NotUtf8 { path: PathBuf, line: usize, encoding: Option<&'static str> },
    #[error("{} begins like {encoding} text, but the rest is not valid{REMEDY}save it as UTF-8", path.display())]
    BrokenText { path: PathBuf, encoding: &'static str },
    #[error("{} must be a JSON object that maps dataset names to entries", path.display())]
    InfoNotAnObject { path: PathBuf },
    #[error(
        "{} does not define a data set `{name}`{REMEDY}{}",
        path.display(),
        match nearest {
            Some(other) => format!("did you mean `{other}`?"),
            None => format!("it defines: {names}"),
        }
    )]
    Undefined { name: String, path: PathBuf, nearest: Option<String>, names: String },
    #[error(
        "the dataset `{name}` has {what}, which tunebook does not support{REMEDY}it supports `file_name` with `formatting` \
         alpaca, sharegpt and openai and the columns prompt, query, response, history, messages, system, tools and \
         images"
    )]
    Unsupported { name: String, what: Unsupported },
    #[error(
        "the dataset `{name}` is stored elsewhere ({key} {place}): download its files, and give the file or its folder \
         as file_name instead of {key}"
    )]
    Remote { name: String, key: &'static str, place: String },
    #[error("{} is not a .json, .jsonl, .csv or .parquet file", path.display())]
    FileType { path: PathBuf },
    #[error(
        "{} is compressed{REMEDY}unpack it with `{command} {}`, and use the resulting file",
        path.display(), path.display()
    )]
    Compressed { path: PathBuf, command: &'static str },
    #[error("{} must contain records: a JSON array of objects, or one object per line", path.display())]
    NotRecords { path: PathBuf },
    #[error("{} contains no .json, .jsonl, .csv or .parquet file", path.display())]
    EmptyFolder { path: PathBuf },
    #[error("{} is not a valid CSV file: {message}", path.display())]
    Csv { path: PathBuf, message: String },
    #[error("{} cannot be read as Parquet: {message}", path.display())]
    Parquet { path: PathBuf, message: String },
    #[error(
        "the dataset `{name}` has `num_samples: {num_samples}`, but records can be repeated for at most {most} \
         samples{REMEDY}lower it"
    )]
    NumSamples { name: String, num_samples: usize, most: usize },
    #[error("reading was interrupted")]
    Cancelled,
    #[error("cannot write {}, an image from {}: {source}", path.display(), file.display())]
    Picture { path: PathBuf, file: PathBuf, source: std::io::Error },
}

/// A feature of an entry of `dataset_info.json` that is not supported.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unsupported {
    #[error("an entry that is not a JSON object")]
    Entry,
    #[error("`{0}` that is not a JSON object")]
    NoObject(&'static str),
    #[error("`{0}`")]
    Key(&'static str),
    #[error("`formatting: {0}`")]
    Formatting(String),
    #[error("`split: {0}`, but files are read as a whole")]
    Split(String),
    #[error("`num_samples: {0}`, which is not an integer")]
    NumSamples(String),
    #[error("the column `{0}`")]
    Column(&'static str),
    #[error("no `file_name`")]
    NoFile,
    #[error("`{of}` without `{key}`")]
    Without { of: &'static str, key: &'static str },
}

impl DatasetError {
    /// What is wrong with JSON, with the file it is in.
    pub(crate) fn json(path: &Path, JsonFault { line, column, message }: JsonFault) -> Self {
        Self::Json { path: path.to_owned(), line, column, message: tunebook_quote::message(&message) }
    }
}
