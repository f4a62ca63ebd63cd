//! Why a call of the session was not carried out.

use std::fmt;

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call was not carried out; the session is as it was before. Its text is that of the command.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    message: String,
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The session refused: something was missing, wrong or failed.
    Refused,
    /// The user has stopped the cell.
    Interrupted,
    /// All steps of the training are made.
    Finished,
    /// The session cannot be reached.
    Lost,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn lost(problem: impl fmt::Display) -> Self {
        Self::new(Kind::Lost, format!("the session cannot be reached ({problem}); it lives as long as its kernel"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The text alone: a cell shows an error that `?` has passed on by its `Debug`.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
