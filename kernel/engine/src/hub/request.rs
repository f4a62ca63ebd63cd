//! Requests to a hub over HTTP, each on a thread of its own, so that a stop need not wait for the network.
//!
//! The token goes to the hub's own scheme, host and port, whoever else is asked or answers.

use std::io::Read;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;
use tunebook_quote::quote;
use ureq::Agent;
use ureq::Body;
use ureq::ResponseExt;
use ureq::SendBody;
use ureq::http::Response;
use ureq::http::StatusCode;
use ureq::http::header::ACCEPT;
use ureq::http::header::ACCEPT_ENCODING;
use ureq::http::header::AUTHORIZATION;
use ureq::http::header::CONTENT_LENGTH;
use ureq::http::header::CONTENT_RANGE;
use ureq::http::header::CONTENT_TYPE;
use ureq::http::header::LINK;
use ureq::http::header::LOCATION;
use ureq::http::header::RANGE;
use url::Origin;
use url::Url;

use super::HubError;
use super::Names;
use super::Repository;
use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;

/// How long a connection may take to come about, and a hub to begin an answer or to go on with it.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How often a wait looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);
/// How long a hub may think about what it was sent: a commit of many files takes its time.
const THOUGHT: Duration = Duration::from_secs(300);
/// How long a listing may take as a whole.
const LISTING_TIME: Duration = Duration::from_secs(120);
/// As many as browsers and Python's libraries follow, or fewer.
const REDIRECTS: usize = 10;
const CHUNK: usize = 1 << 20;
/// Chunks that have come and are not written yet.
const AHEAD: usize = 8;

/// Asks a hub. Redirects are followed here: ureq takes another port of a host for the same host, and would hand the token
/// to whoever listens there.
#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    token: Option<String>,
    /// Scheme, host and port that the token is for.
    origin: Option<Origin>,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) enum What {
    Listing,
    /// A file's bytes from this one on.
    File {
        from: u64,
    },
}

/// What a hub is sent, by its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    /// Lines of JSON.
    JsonLines,
    /// JSON of git LFS, which the answer has to be as well.
    Lfs,
    /// The same, with the parts of an object, to an address that is signed and takes no token.
    LfsParts,
}

impl MediaType {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/x-ndjson",
            Self::Lfs | Self::LfsParts => "application/vnd.git-lfs+json",
        }
    }
}

impl Client {
    pub(super) fn new(endpoint: &str, token: Option<String>) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(Some(PATIENCE))
            .timeout_connect(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .timeout_per_write(Some(PATIENCE))
            .user_agent(concat!("tunebook/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: agent.into(), token, origin: Url::parse(endpoint).ok().map(|url| url.origin()) }
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The answer, whatever its status.
    ///
    /// # Errors
    /// A stop is asked for. Within it: there is no answer.
    pub(super) fn get(
        &self,
        url: &str,
        what: What,
        cancel: &Cancel,
    ) -> Result<std::result::Result<Answer, ureq::Error>> {
        let (client, url) = (self.clone(), url.to_string());
        away(cancel, move || client.follow(&url, what))
    }

    fn follow(&self, url: &str, what: What) -> std::result::Result<Answer, ureq::Error> {
        let mut url = Url::parse(url).map_err(|_| ureq::Error::BadUri(url.to_string()))?;
        let mut token = self.token.as_ref().filter(|_| self.origin.as_ref() == Some(&url.origin()));
        for _ in 0..=REDIRECTS {
            let answer = self.ask(&url, token, what)?;
            let Some(next) = redirect(&answer, &url)? else { return Ok(answer) };
            token = token.filter(|_| next.origin() == url.origin());
            url = next;
        }
        Err(ureq::Error::TooManyRedirects)
    }

    /// The answer to what is posted, whatever its status. It is sent on within the same scheme, host and port only.
    ///
    /// # Errors
    /// A stop is asked for. Within it: there is no answer.
    pub(super) fn post(
        &self,
        url: &str,
        kind: MediaType,
        body: Vec<u8>,
        cancel: &Cancel,
    ) -> Result<std::result::Result<Answer, ureq::Error>> {
        let (client, url) = (self.clone(), url.to_string());
        away(cancel, move || {
            let mut url = Url::parse(&url).map_err(|_| ureq::Error::BadUri(url))?;
            for _ in 0..=REDIRECTS {
                let answer = client.send(&url, kind, &body)?;
                let keeps_method = matches!(answer.status().as_u16(), 307 | 308);
                match redirect(&answer, &url)?.filter(|next| keeps_method && next.origin() == url.origin()) {
                    Some(next) => url = next,
                    None => return Ok(answer),
                }
            }
            Err(ureq::Error::TooManyRedirects)
        })
    }

    fn send(&self, url: &Url, kind: MediaType, body: &[u8]) -> std::result::Result<Answer, ureq::Error> {
        let mut request = self.agent.post(url.as_str()).header(CONTENT_TYPE, kind.name());
        if matches!(kind, MediaType::Lfs | MediaType::LfsParts) {
            request = request.header(ACCEPT, kind.name());
        }
        let is_for_hub = kind != MediaType::LfsParts && self.origin.as_ref() == Some(&url.origin());
        if let Some(token) = self.token.as_ref().filter(|_| is_for_hub) {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.config().timeout_per_read(Some(THOUGHT)).build().send(body)
    }

    /// The answer of a storage to `length` bytes of a file, whatever its status. A storage has no token, and sends nowhere
    /// else.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) fn put(
        &self,
        url: &str,
        bytes: impl Read + 'static,
        length: u64,
    ) -> std::result::Result<Answer, ureq::Error> {
        let request = self.agent.put(url).header(CONTENT_LENGTH, length.to_string());
        request.config().timeout_per_read(Some(THOUGHT)).build().send(SendBody::from_owned_reader(bytes))
    }

    fn ask(&self, url: &Url, token: Option<&String>, what: What) -> std::result::Result<Answer, ureq::Error> {
        let mut request = self.agent.get(url.as_str());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        match what {
            What::Listing => request.config().timeout_global(Some(LISTING_TIME)).build().call(),
            What::File { from } => {
                request = request.header(ACCEPT_ENCODING, "identity");
                if from > 0 {
                    request = request.header(RANGE, format!("bytes={from}-"));
                }
                request.call()
            }
        }
    }
}

/// Where an answer sends on to.
fn redirect(answer: &Answer, url: &Url) -> std::result::Result<Option<Url>, ureq::Error> {
    let location = answer.headers().get(LOCATION).filter(|_| matches!(answer.status().as_u16(), 301..=303 | 307 | 308));
    let Some(location) = location else { return Ok(None) };
    let location = String::from_utf8_lossy(location.as_bytes());
    let next = url.join(&location).ok().filter(|next| matches!(next.scheme(), "http" | "https"));
    next.map(Some).ok_or_else(|| ureq::Error::BadUri(location.into_owned()))
}

/// The address of the page that follows an answer, as GitHub's header `Link` gives it, too.
pub(super) fn next_page(answer: &Answer, url: &str) -> Option<String> {
    let links = answer.headers().get(LINK)?.to_str().ok()?;
    let next = links.split('<').find_map(|link| {
        let (address, rest) = link.split_once('>')?;
        rest.contains("rel=\"next\"").then_some(address)
    })?;
    Some(Url::parse(url).ok()?.join(next).ok()?.into())
}

/// Host and port that an answer is from.
pub(super) fn host(answer: &Answer) -> String {
    let uri = answer.get_uri();
    let host = uri.host().unwrap_or_default();
    quote(&uri.port_u16().map_or_else(|| host.to_string(), |port| format!("{host}:{port}")))
}

/// How many bytes the whole file has of which an answer sends all or a part, if it says so.
pub(super) fn announced(answer: &Answer) -> Option<u64> {
    let header = |name| answer.headers().get(name)?.to_str().ok();
    match header(CONTENT_RANGE) {
        Some(range) => range.rsplit_once('/')?.1.parse().ok(),
        None if answer.status() == StatusCode::OK => header(CONTENT_LENGTH)?.parse().ok(),
        None => None,
    }
}

/// What an address may hold as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A part of an address.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// An answer whose status says that it is one.
pub(super) type Answer = Response<Body>;

/// Carries out `work` on a thread of its own.
///
/// # Errors
/// A stop is asked for; the thread then ends by itself.
pub(crate) fn away<T: Send + 'static>(cancel: &Cancel, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    away_telling(cancel, || {}, work)
}

/// The same; `tell` is called again and again meanwhile.
///
/// # Errors
/// As for [`away`].
pub(super) fn away_telling<T: Send + 'static>(
    cancel: &Cancel,
    mut tell: impl FnMut(),
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || drop(sender.send(work())));
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(result) => return Ok(result),
            Err(_) if cancel.is_cancelled() => return Err(Error::Cancelled),
            Err(RecvTimeoutError::Timeout) => tell(),
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Other("a request broke down".to_string())),
        }
    }
}

/// Waits, unless a stop is asked for.
///
/// # Errors
/// A stop is asked for.
pub(super) fn wait(duration: Duration, cancel: &Cancel) -> Result<()> {
    away(cancel, move || thread::sleep(duration))
}

pub(super) fn unreachable(names: &Names, id: &str, error: &ureq::Error) -> HubError {
    HubError::Unreachable { names: Box::new(names.clone()), id: id.to_string(), problem: plain(error) }
}

/// What a status that is no success says, with the first words of the answer. A hub that is out of order or has no time
/// is as good as none.
pub(super) fn refusal(names: &Names, repository: &Repository, url: &str, answer: Answer, cancel: &Cancel) -> Error {
    let status = answer.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let (names, id) = (Box::new(names.clone()), repository.id.clone());
        return HubError::Unreachable { names, id, problem: format!("status {}", status.as_u16()) }.into();
    }
    let content = beginning(answer, cancel);
    let text = quote(String::from_utf8_lossy(&content).lines().next().unwrap_or_default());
    HubError::Status { url: quote(url), status: status.as_u16(), text }.into()
}

/// The first bytes of an answer's content, or as many as come.
pub(super) fn beginning(answer: Answer, cancel: &Cancel) -> Vec<u8> {
    let read = move || {
        let mut content = Vec::new();
        answer.into_body().into_reader().take(4096).read_to_end(&mut content).map(|_| content)
    };
    away(cancel, read).ok().and_then(std::result::Result::ok).unwrap_or_default()
}

/// The content of an answer.
///
/// # Errors
/// A stop is asked for. Within it: it breaks off, or has more than `most` bytes.
pub(super) fn read(answer: Answer, most: u64, cancel: &Cancel) -> Result<std::result::Result<Vec<u8>, ureq::Error>> {
    away(cancel, move || answer.into_body().with_config().limit(most).read_to_vec())
}

/// The problem of a request in words, without the library's own prefixes. It may quote an address that a host has given.
pub(super) fn plain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => quote(&error.to_string()),
        ureq::Error::Timeout(_) => format!("no answer for {} s", PATIENCE.as_secs()),
        other => quote(&other.to_string()),
    }
}

/// The content of an answer, read by a thread that keeps a few chunks ahead.
pub(super) struct Content(Receiver<std::io::Result<Vec<u8>>>);

impl Content {
    pub(super) fn of(answer: Answer) -> Self {
        let (sender, receiver) = mpsc::sync_channel(AHEAD);
        let mut reader = answer.into_body().into_reader();
        thread::spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = reader.read(&mut chunk).map(|count| {
                    chunk.truncate(count);
                    chunk
                });
                let is_last = read.as_ref().map_or(true, Vec::is_empty);
                if sender.send(read).is_err() || is_last {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// A stop is asked for. Within it: the connection broke.
    pub(super) fn next(&self, cancel: &Cancel) -> Result<std::io::Result<Option<Vec<u8>>>> {
        loop {
            match self.0.recv_timeout(LOOK) {
                _ if cancel.is_cancelled() => return Err(Error::Cancelled),
                Ok(piece) => return Ok(piece.map(|piece| Some(piece).filter(|piece| !piece.is_empty()))),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Ok(None)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_in_a_header() {
        let answer = |link: &str| Response::builder().header(LINK, link).body(Body::builder().data("")).unwrap();
        let next = |link: &str| next_page(&answer(link), "http://hub/api/tree/1?a=b");
        let page = "http://hub/api/tree/1?cursor=x%3D";
        assert_eq!(next(&format!("<{page}>; rel=\"next\"")).as_deref(), Some(page));
        assert_eq!(next(&format!("<http://hub/0>; rel=\"prev\", <{page}>; rel=\"next\"")).as_deref(), Some(page));
        assert_eq!(next("</api/tree/1?cursor=x%3D>; rel=\"next\"").as_deref(), Some(page));
        for none in ["", "<", "http://hub", "<http://hub/0>; rel=\"prev\"", "<http://[>; rel=\"next\""] {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
