//! What goes wrong with a library of MPI.

use std::ffi::c_int;

use thiserror::Error;

/// A function of MPI did not succeed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{call}: {text} (error {code})")]
pub struct CallError {
    /// The function's name.
    pub call: &'static str,
    /// What it returned.
    pub code: c_int,
    /// What `MPI_Error_string` says of it; one line.
    pub text: String,
}

/// Why there is no MPI in this process.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// None of the names under which implementations install their library leads to one.
    #[error("no library of MPI found")]
    NotFound,
    /// There is a library that the loader refuses, mostly since one that it needs is missing.
    #[error("{library} cannot be loaded: {reason}")]
    CannotLoad { library: String, reason: String },
    /// It has none of the three binary interfaces that are known here.
    #[error("{library} is an MPI of an unknown kind: {version}")]
    UnknownKind { library: String, version: String },
    /// It lacks a function.
    #[error("{library} has no {function}")]
    Incomplete { library: String, function: &'static str },
    /// `MPI_Init_thread`, or what follows it, failed.
    #[error("{library} cannot start: {error}")]
    Init { library: String, error: CallError },
    /// The library and what started this process do not know each other.
    #[error("{library} ({version}) does not see the {ranks} ranks: it is not the MPI of the launcher")]
    NotTogether { library: String, version: String, ranks: usize },
}
