//! Fetches pictures from the web, where that is allowed, and from nowhere else.
//!
//! A client that may name addresses could have this server read what only this machine reaches: services on it, its network,
//! the credentials that clouds keep on a link-local address. So every address that a name leads to is looked at, that of each
//! redirect, too, and the connection goes to the very addresses that were looked at: a name that leads elsewhere the second
//! time changes nothing. No proxy is used, since it would resolve the name anew.

use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::resolver::ResolvedSocketAddrs;
use ureq::unversioned::resolver::Resolver;
use ureq::unversioned::transport::DefaultConnector;
use ureq::unversioned::transport::NextTimeout;

use crate::error::ApiError;
use crate::error::Result;
use crate::error::quoted;
use crate::limits;
use crate::request::Remote;

/// Which addresses may be asked.
type May = fn(IpAddr) -> bool;

pub(crate) struct Fetcher {
    agent: Agent,
    patience: Duration,
}

impl Fetcher {
    /// `patience`: for one picture.
    pub(crate) fn new(may: May, patience: Duration) -> Self {
        let config = Agent::config_builder()
            .proxy(None)
            .max_redirects(limits::REDIRECTS)
            .max_idle_connections(0)
            .accept_encoding("identity")
            .accept("image/*")
            .user_agent(concat!("tunebook/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = Checked { resolver: DefaultResolver::default(), may };
        Self { agent: Agent::with_parts(config, DefaultConnector::default(), resolver), patience }
    }

    /// The files of a request's pictures, in their order. It blocks.
    ///
    /// # Errors
    /// One cannot be fetched, or is too large, or all are.
    pub(crate) fn fetch(&self, pictures: &[Remote]) -> Result<Vec<Vec<u8>>> {
        let end = Instant::now() + self.patience * 4;
        let (mut files, mut left) = (Vec::new(), limits::BODY);
        for picture in pictures {
            let param = format!("messages[{}].content[{}].image_url.url", picture.message, picture.part);
            let patience = self.patience.min(end.saturating_duration_since(Instant::now()));
            let file = self.fetch_one(&picture.url, left.min(limits::FETCHED), patience).map_err(|reason| {
                ApiError::field(param, format!("The picture {} cannot be fetched: {reason}.", quoted(&picture.url)))
            })?;
            left -= file.len();
            files.push(file);
        }
        Ok(files)
    }

    fn fetch_one(&self, url: &str, most: usize, patience: Duration) -> std::result::Result<Vec<u8>, String> {
        let request = self.agent.get(url).config().timeout_global(Some(patience.max(Duration::from_millis(1)))).build();
        let answer = request.call().map_err(|error| said(&error))?;
        let mut file = Vec::new();
        let read = answer.into_body().into_reader().take(most as u64 + 1).read_to_end(&mut file);
        read.map_err(|error| tunebook_quote::message(&error.to_string()))?;
        match file.len() {
            0 => Err("it is empty".into()),
            length if length > most => Err(format!(
                "it is larger than {} MB, or all pictures together are larger than {} MB",
                limits::FETCHED >> 20,
                limits::BODY >> 20
            )),
            _ => Ok(file),
        }
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

fn said(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(status) => format!("the server answers with status {status}"),
        ureq::Error::HostNotFound => "there is no such host".into(),
        ureq::Error::Timeout(_) => "it takes too long".into(),
        other => tunebook_quote::message(&other.to_string()),
    }
}

/// The system's resolver, but for addresses that must not be asked.
#[derive(Debug)]
struct Checked {
    resolver: DefaultResolver,
    may: May,
}

/// A name leads to an address that must not be asked.
#[derive(Debug, thiserror::Error)]
#[error("its address is not on the public internet")]
struct NotPublic;

impl Resolver for Checked {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let addresses = self.resolver.resolve(uri, config, timeout)?;
        // One of them is enough to refuse: a name with public and private addresses is a trick.
        match addresses.iter().all(|address| (self.may)(address.ip())) {
            true => Ok(addresses),
            false => Err(ureq::Error::Other(Box::new(NotPublic))),
        }
    }
}
