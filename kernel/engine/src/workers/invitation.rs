//! How a worker finds its session: an environment variable that the launcher hands on.
//!
//! The token in it is a secret. It is never an argument, which other users of a machine can see.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use super::error::WorkersError;
use super::serve::no_delay;

/// The variable.
pub(super) const VARIABLE: &str = "TUNEBOOK_SESSION";

/// How long one address is tried.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Invitation {
    pub token: String,
    /// Where the session listens, as seen from different hosts.
    pub addresses: Vec<SocketAddr>,
    /// How many workers there are to be.
    pub ranks: usize,
    /// The launcher, which the MPI library belongs to.
    pub beside: Option<PathBuf>,
    /// Whether problems are told in Chinese.
    pub chinese: bool,
}

impl Invitation {
    /// What the variable is set to.
    pub(super) fn variable(&self) -> serde_json::Result<OsString> {
        serde_json::to_string(self).map(OsString::from)
    }

    pub(super) fn from_environment() -> Option<Self> {
        serde_json::from_str(&std::env::var(VARIABLE).ok()?).ok()
    }

    /// Connects to the session.
    ///
    /// # Errors
    /// It answers at none of its addresses.
    pub(super) fn dial(&self) -> Result<TcpStream, WorkersError> {
        for address in &self.addresses {
            if let Ok(stream) = TcpStream::connect_timeout(address, PATIENCE)
                && no_delay(&stream).is_ok()
            {
                return Ok(stream);
            }
        }
        Err(WorkersError::NoSession { addresses: self.listed() })
    }

    /// The addresses in one line.
    pub(super) fn listed(&self) -> String {
        self.addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
    }
}
