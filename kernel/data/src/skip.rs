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
    #[error("it holds no messages")]
    NoMessages,
    #[error("turn {turn} has the unknown role `{role}`{REMEDY}tags in dataset_info.json name these: {known}")]
    UnknownRole { turn: usize, role: String, known: String },
    #[error("turn {turn} is a system message, which only the first message of a record may be")]
    SystemInside { turn: usize },
    #[error(
        "turn {turn} has the role `system`, which tags in dataset_info.json do not name: add \"system_tag\": \"system\""
    )]
    NoSystemTag { turn: usize },
    #[error("turn {turn} is {}, but question and answer must take turns, the question first", side(*role))]
    WrongTurn { turn: usize, role: Role },
    #[error("{count} messages: the last question has no answer")]
    OddMessageCount { count: usize },
    #[error(
        "{placeholders} <image> in the text, but {images} {}{}",
        if *images == 1 { "picture" } else { "pictures" },
        why.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    )]
    ImageCount { placeholders: usize, images: usize, why: Option<NoPictures> },
    #[error("a part of a message has the type `{kind}`{REMEDY}text and images can be read")]
    UnknownPart { kind: String },
    #[error("the text holds {placeholder}, which is not supported yet")]
    OtherMedia { placeholder: &'static str },
    #[error("the text itself holds {token}, which only a picture may stand for: write <image>")]
    VisionTokenInText { token: &'static str },
    #[error(
        "picture {picture} is neither in {}{} nor where its path says",
        media_dir.display(),
        beside.as_ref().map(|folder| format!(" nor in {}", folder.display())).unwrap_or_default()
    )]
    MissingPicture { picture: String, media_dir: PathBuf, beside: Option<PathBuf> },
    #[error(
        "picture {picture} lies on a drive of Windows, which this system has not{REMEDY}name it from media_dir on, as in \
         images/a.png"
    )]
    WindowsDrive { picture: String },
    #[error("picture {url} is not a file of this machine{REMEDY}download it, and name the file")]
    RemotePicture { url: String },
    #[error("picture {picture} is not whole base64")]
    BadBase64 { picture: String },
    #[error(transparent)]
    BadPicture(PictureError),
    #[error(
        "its first question takes {needed} tokens with its pictures, which leaves no room for the answer within \
         cutoff_len {cutoff_len}{REMEDY}raise cutoff_len or lower image_max_pixels"
    )]
    CutoffTooShort { needed: usize, cutoff_len: usize },
    #[error("its tools are no JSON list of objects: {message}")]
    BadTools { message: String },
    #[error("turn {turn} is no call of a function, which is JSON with `name` and `arguments`: {message}")]
    BadFunctionCall { turn: usize, message: String },
    #[error("nothing to learn: no token of an answer is left within cutoff_len {cutoff_len}")]
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
        "dataset_info.json declares no column of pictures{}",
        match other {
            Some(key) => format!("{REMEDY}the record has `{key}`: add \"images\": \"{key}\" to columns"),
            None => ", and the record has none".to_owned(),
        }
    )]
    NoColumn { other: Option<String> },
    #[error(
        "the record has no `{column}`, which dataset_info.json names{}",
        other.as_ref().map(|key| format!(", but `{key}`: write \"images\": \"{key}\" in columns")).unwrap_or_default()
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
        Role::User => "the user's",
        Role::Assistant => "the assistant's",
        Role::Observation => "a tool's result",
        Role::Function => "a call of a tool",
    }
}
