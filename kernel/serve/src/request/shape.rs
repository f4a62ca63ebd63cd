//! A look at JSON before it is read: how many values it has.
//!
//! `[0,0,0,…` of a few megabytes would take a gigabyte as values. Texts and pictures are long, but few.

use serde_json::Error;

use crate::error::ApiError;
use crate::error::Result;
use crate::limits;

/// # Errors
/// There are too many values and keys, counted by the commas, colons and brackets outside of strings.
pub(super) fn check(json: &[u8]) -> Result<()> {
    let (mut values, mut in_string, mut escaped) = (0, false, false);
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b',' | b':' | b'[' | b'{') => values += 1,
            _ => {}
        }
    }
    match values > limits::JSON_VALUES {
        true => Err(ApiError::bad_request(format!("The JSON has more than {} values.", limits::JSON_VALUES))),
        false => Ok(()),
    }
}

/// What the parser says, cut: it may quote the input.
pub(super) fn said(error: &Error) -> String {
    tunebook_quote::message(&error.to_string())
}
