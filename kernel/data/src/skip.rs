//! Why a sample is left out.

use std::path::PathBuf;

use crate::Origin;

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
    #[error("turn {turn} is `{role}`'s, but user and assistant must take turns, the user first")]
    WrongTurn { turn: usize, role: String },
    #[error("turn {turn} has the role `{role}`; tool calls are not supported yet")]
    ToolTurn { turn: usize, role: String },
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
    #[error("nothing to learn: no token of an answer is left within cutoff_len {cutoff_len}")]
    NothingToLearn { cutoff_len: usize },
}
