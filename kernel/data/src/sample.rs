//! Conversations to learn from.

use std::path::PathBuf;

use crate::Origin;

/// The placeholder of an image in a message; the i-th one of a conversation stands for the i-th image.
pub const IMAGE_PLACEHOLDER: &str = "<image>";

/// The role of a message. A tool's result may stand in place of a user's message, a tool call in place of an
/// assistant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
    /// The result of a tool.
    Observation,
    /// One tool call, or several, as JSON.
    Function,
}

/// One message of a conversation. `<image>` in its content stands for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

/// A conversation to train on: it begins with the user's side and ends with the assistant's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub messages: Vec<Message>,
    /// Empty: the template's default.
    pub system: String,
    /// The tools that may be called, as a JSON array; empty: none.
    pub tools: String,
    /// As many as the messages hold `<image>`.
    pub images: Vec<PathBuf>,
    pub origin: Origin,
}

impl Role {
    /// Whether this is the side that a model learns: what it says and which tools it calls.
    pub fn is_answer(self) -> bool {
        matches!(self, Self::Assistant | Self::Function)
    }
}

impl Message {
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }

    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content)
    }
}
