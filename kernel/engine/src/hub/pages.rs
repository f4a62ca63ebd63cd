//! The answers that make up a listing, of which a hub may need several.

use serde::de::DeserializeOwned;
use tunebook_quote::message;
use tunebook_quote::quote;

use super::HubError;
use super::Names;
use super::request;
use super::request::Answer;
use super::request::Client;
use super::request::What;
use crate::error::Result;
use crate::event::Cancel;

/// Bytes of a listing at most: about half a million files.
const MOST: u64 = 128 << 20;
/// What an answer counts for at least, so that a hub that goes on with empty pages comes to an end, too.
const LEAST: u64 = 4 << 10;

/// Asks for the parts of a listing.
pub(super) struct Pages<'a> {
    client: &'a Client,
    names: &'a Names,
    id: &'a str,
    cancel: &'a Cancel,
    /// Bytes that may still come.
    left: u64,
}

impl<'a> Pages<'a> {
    /// For the repository `id`.
    pub(super) fn new(client: &'a Client, names: &'a Names, id: &'a str, cancel: &'a Cancel) -> Self {
        Self { client, names, id, cancel, left: MOST }
    }

    /// The answer, whatever its status.
    ///
    /// # Errors
    /// There is none, or a stop is asked for.
    pub(super) fn ask(&self, url: &str) -> Result<Answer> {
        let answer = self.client.get(url, What::Listing, self.cancel)?;
        Ok(answer.map_err(|error| request::unreachable(self.names, self.id, &error))?)
    }

    /// The content of an answer.
    ///
    /// # Errors
    /// It breaks off, all answers together are too long, or a stop is asked for.
    pub(super) fn read(&mut self, url: &str, answer: Answer) -> Result<Vec<u8>> {
        let content = request::read(answer, self.left, self.cancel)?.map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => HubError::LongListing { url: quote(url), megabytes: MOST >> 20 },
            error => request::unreachable(self.names, self.id, &error),
        })?;
        self.left = self.left.saturating_sub(LEAST.max(content.len() as u64));
        Ok(content)
    }
}

/// What JSON says.
///
/// # Errors
/// It is none, or says something else.
pub(super) fn parsed<T: DeserializeOwned>(url: &str, content: &[u8]) -> std::result::Result<T, HubError> {
    let problem = |error: serde_json::Error| HubError::Answer { url: quote(url), problem: message(&error.to_string()) };
    serde_json::from_slice(content).map_err(problem)
}
