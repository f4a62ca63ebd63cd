//! Why a sample is left out.

use std::path::PathBuf;

use serde::{Serialize, Serializer};
use tunebook_quote::REMEDY;

use crate::{Origin, PictureError, Role};

/// A sample that is left out; the run goes on without it.
#[derive(Debug, Clone, PartialEq)]
pub struct Skipped {
    pub origin: Origin,
    pub reason: SkipReason,
}

/// As a line of `skipped_samples.jsonl`.
impl Serialize for Skipped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            dataset: &'a str,
            file: String,
            /// Among the file's records, from 0.
            index: usize,
            kind: SkipKind,
            reason: String,
        }
        let Self { origin, reason } = self;
        let line = Line {
            dataset: &origin.dataset,
            file: origin.file.display().to_string(),
            index: origin.index,
            kind: reason.kind(),
            reason: reason.to_string(),
        };
        line.serialize(serializer)
    }
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.origin, self.reason)
    }
}

/// What is wrong with a sample. Turns count from 0, without the system message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SkipReason {
    #[error("a record and each of its messages must be a JSON object")]
    NotAnObject,
    #[error("the key `{key}` is missing{REMEDY}check columns and tags in dataset_info.json")]
    MissingKey { key: String },
    #[error("`{key}` must be {expected}")]
    WrongType { key: String, expected: ValueType },
    #[error("it has no messages")]
    NoMessages,
    #[error(
        "message {turn} has the unknown role `{role}`{REMEDY}the roles given by tags in dataset_info.json are: {known}"
    )]
    UnknownRole { turn: usize, role: String, known: String },
    #[error("message {turn} is a system message, but only the first message of a record can be one")]
    SystemInside { turn: usize },
    #[error(
        "message {turn} has the role `system`, which is missing from tags in dataset_info.json: add \"system_tag\": \
         \"system\""
    )]
    NoSystemTag { turn: usize },
    #[error("message {turn} is {}, but questions and answers must alternate, starting with a question", side(*role))]
    WrongTurn { turn: usize, role: Role },
    #[error("it has {count} messages: the last question has no answer")]
    OddMessageCount { count: usize },
    #[error(
        "the text has {placeholders} <image>, but the record has {images} {}{}",
        if *images == 1 { "image" } else { "images" },
        why.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    )]
    ImageCount { placeholders: usize, images: usize, why: Option<NoPictures> },
    #[error("a part of a message has the type `{kind}`{REMEDY}only text and images are supported")]
    UnknownPart { kind: String },
    #[error("the text contains {placeholder}, which is not supported yet")]
    OtherMedia { placeholder: &'static str },
    #[error("the text contains {token}, which is reserved for images: write <image>")]
    VisionTokenInText { token: &'static str },
    #[error(
        "image {picture} is neither in {}{} nor at the path itself",
        media_dir.display(),
        beside.as_ref().map(|folder| format!(" nor in {}", folder.display())).unwrap_or_default()
    )]
    MissingPicture { picture: String, media_dir: PathBuf, beside: Option<PathBuf> },
    #[error(
        "image {picture} is on a Windows drive, which this system does not have{REMEDY}give its path relative to media_dir, \
         such as images/a.png"
    )]
    WindowsDrive { picture: String },
    #[error("image {url} is not a local file{REMEDY}download it, and give the path of the file")]
    RemotePicture { url: String },
    #[error("image {picture} is not valid base64")]
    BadBase64 { picture: String },
    #[error(transparent)]
    BadPicture(PictureError),
    #[error(
        "its first question and its images take {needed} tokens, which leaves no room for the answer within cutoff_len \
         {cutoff_len}{REMEDY}raise cutoff_len or lower image_max_pixels"
    )]
    CutoffTooShort { needed: usize, cutoff_len: usize },
    #[error("its tools are not a JSON list of objects: {message}")]
    BadTools { message: String },
    #[error("message {turn} is not a function call, which is JSON with `name` and `arguments`: {message}")]
    BadFunctionCall { turn: usize, message: String },
    #[error("it has no supervised tokens: no token of an answer is left within cutoff_len {cutoff_len}")]
    NothingToLearn { cutoff_len: usize },
    #[error("the model's loss on it is not finite")]
    LossNotFinite,
}

/// What lies under a key of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueType {
    #[error("text")]
    Text,
    #[error("text, or a list of parts")]
    TextOrParts,
    #[error("a list")]
    List,
    #[error("a list of pairs of texts")]
    TextPairs,
    #[error("a list of objects")]
    Objects,
    #[error("a list of paths")]
    Paths,
    #[error("a path, or a JSON list of paths")]
    PathOrPaths,
}

/// Why a record whose text has `<image>` has no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPictures {
    /// `other` is a key of the record that sounds like pictures.
    #[error(
        "dataset_info.json declares no column of images{}",
        match other {
            Some(key) => format!("{REMEDY}the record has `{key}`: add \"images\": \"{key}\" to columns"),
            None => ", and the record has none".to_owned(),
        }
    )]
    NoColumn { other: Option<String> },
    #[error(
        "the record has no `{column}`, which dataset_info.json declares{}",
        match other {
            Some(key) => format!(", but it has `{key}`: write \"images\": \"{key}\" in columns"),
            None => String::new(),
        }
    )]
    NoKey { column: String, other: Option<String> },
    #[error("`{column}` is empty")]
    Empty { column: String },
}

/// A kind of fault, by which samples are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipKind {
    /// Not of the format that dataset_info.json says.
    Format,
    NoMessages,
    UnknownRole,
    WrongTurn,
    NoAnswer,
    /// Pictures and `<image>` differ in number.
    ImageCount,
    /// Video or sound.
    OtherMedia,
    VisionTokenInText,
    MissingPicture,
    /// On the web.
    RemotePicture,
    BadPicture,
    CutoffTooShort,
    BadTools,
    LossNotFinite,
}

impl SkipReason {
    pub fn kind(&self) -> SkipKind {
        match self {
            Self::NotAnObject | Self::MissingKey { .. } | Self::WrongType { .. } | Self::UnknownPart { .. } => {
                SkipKind::Format
            }
            Self::NoMessages => SkipKind::NoMessages,
            Self::UnknownRole { .. } | Self::SystemInside { .. } | Self::NoSystemTag { .. } => SkipKind::UnknownRole,
            Self::WrongTurn { .. } => SkipKind::WrongTurn,
            Self::OddMessageCount { .. } => SkipKind::NoAnswer,
            Self::ImageCount { .. } => SkipKind::ImageCount,
            Self::OtherMedia { .. } => SkipKind::OtherMedia,
            Self::VisionTokenInText { .. } => SkipKind::VisionTokenInText,
            Self::MissingPicture { .. } | Self::WindowsDrive { .. } => SkipKind::MissingPicture,
            Self::RemotePicture { .. } => SkipKind::RemotePicture,
            Self::BadPicture(_) | Self::BadBase64 { .. } => SkipKind::BadPicture,
            Self::CutoffTooShort { .. } | Self::NothingToLearn { .. } => SkipKind::CutoffTooShort,
            Self::BadTools { .. } | Self::BadFunctionCall { .. } => SkipKind::BadTools,
            Self::LossNotFinite => SkipKind::LossNotFinite,
        }
    }
}

fn side(role: Role) -> &'static str {
    match role {
        Role::User => "a user message",
        Role::Assistant => "an assistant message",
        Role::Observation => "a tool result",
        Role::Function => "a tool call",
    }
}
