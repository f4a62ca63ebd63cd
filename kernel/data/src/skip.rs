//! Why a sample is left out.

use std::path::PathBuf;

use crate::{Origin, Role};

/// A sample that is left out; the run goes on without it.
#[derive(Debug, Clone, PartialEq)]
pub struct Skipped {
    pub origin: Origin,
    pub reason: SkipReason,
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
    #[error("the key `{key}` is missing; check columns and tags in dataset_info.json")]
    MissingKey { key: String },
    #[error("`{key}` must be {expected}")]
    WrongType { key: String, expected: &'static str },
    #[error("it holds no messages")]
    NoMessages,
    #[error("unknown role `{role}` in turn {turn}; check tags in dataset_info.json")]
    UnknownRole { turn: usize, role: String },
    #[error("turn {turn} is {}, but question and answer must take turns, the question first", side(*role))]
    WrongTurn { turn: usize, role: Role },
    #[error("{count} messages: the last question has no answer")]
    OddMessageCount { count: usize },
    #[error("{placeholders} <image> in the text, but {images} pictures")]
    ImageCount { placeholders: usize, images: usize },
    #[error("the text holds {placeholder}, which is not supported yet")]
    OtherMedia { placeholder: &'static str },
    #[error("the text itself holds {token}, which only a picture may stand for: write <image>")]
    VisionTokenInText { token: &'static str },
    #[error("picture {} is neither in {} nor where its path says", path.display(), media_dir.display())]
    MissingPicture { path: PathBuf, media_dir: PathBuf },
    #[error("picture {} cannot be used: {message}", path.display())]
    BadPicture { path: PathBuf, message: String },
    #[error(
        "its first question takes {needed} tokens with its pictures, which leaves no room for the answer within \
         cutoff_len {cutoff_len}; raise cutoff_len or lower image_max_pixels"
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

/// A kind of fault, by which samples are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    BadPicture,
    CutoffTooShort,
    BadTools,
    LossNotFinite,
}

impl SkipReason {
    pub fn kind(&self) -> SkipKind {
        match self {
            Self::NotAnObject | Self::MissingKey { .. } | Self::WrongType { .. } => SkipKind::Format,
            Self::NoMessages => SkipKind::NoMessages,
            Self::UnknownRole { .. } => SkipKind::UnknownRole,
            Self::WrongTurn { .. } => SkipKind::WrongTurn,
            Self::OddMessageCount { .. } => SkipKind::NoAnswer,
            Self::ImageCount { .. } => SkipKind::ImageCount,
            Self::OtherMedia { .. } => SkipKind::OtherMedia,
            Self::VisionTokenInText { .. } => SkipKind::VisionTokenInText,
            Self::MissingPicture { .. } => SkipKind::MissingPicture,
            Self::BadPicture { .. } => SkipKind::BadPicture,
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
