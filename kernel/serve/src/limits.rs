//! What one client, and all together, may take of the process.

use std::time::Duration;

/// Most bytes of a request's body, and of all pictures that it has the server fetch.
pub(crate) const BODY: usize = 64 << 20;
/// Most values and keys in a request's JSON. A value of two bytes takes some 50 in memory, so bytes alone are no limit.
pub(crate) const JSON_VALUES: usize = 100_000;
/// Most messages in a conversation.
pub(crate) const MESSAGES: usize = 2048;
/// Most pictures in a conversation.
pub(crate) const PICTURES: usize = 64;
/// Most tools in a request.
pub(crate) const TOOLS: usize = 128;
/// Most choices in a request.
pub(crate) const CHOICES: usize = 32;
/// Most stop strings in a request, as OpenAI has it.
pub(crate) const STOPS: usize = 4;
/// Most bytes of a stop string: so much of an answer may be held back.
pub(crate) const STOP: usize = 1024;
/// Most of the likeliest tokens, as OpenAI has it.
pub(crate) const TOP_LOGPROBS: usize = 20;
/// Most bytes of a picture that the server fetches.
pub(crate) const FETCHED: usize = 20 << 20;
/// Most redirects on the way to one.
pub(crate) const REDIRECTS: u32 = 3;
/// How many requests fetch pictures at a time.
pub(crate) const FETCHING: usize = 4;

/// Limits that the tests lower, to meet them soon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most connections that are served at a time; more wait until one closes.
    pub connections: usize,
    /// Most requests that wait to be taken.
    pub waiting: usize,
    /// Most bytes of requests that are being read, wait or are being answered, all together.
    pub room: usize,
    /// Most bytes of an answer that wait for a client to read them.
    pub unread: usize,
    /// For the head of a request, and between two requests of a connection.
    pub head: Duration,
    /// From one piece of a body to the next.
    pub piece: Duration,
    /// For a whole body.
    pub body: Duration,
    /// To wait for room for a body.
    pub wait: Duration,
    /// For a client to read something of what it is sent.
    pub write: Duration,
    /// How long a stream's head may wait for its answer to begin, so that an error still has its status; and from then on
    /// how often a stream that has nothing to say says so, since proxies give up on silent connections.
    pub ping: Duration,
    /// For a picture that the server fetches.
    pub fetch: Duration,
    /// From the order to stop to the end of the last connection.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            waiting: 256,
            room: 512 << 20,
            unread: 16 << 20,
            head: Duration::from_secs(30),
            piece: Duration::from_secs(30),
            body: Duration::from_secs(300),
            wait: Duration::from_secs(60),
            write: Duration::from_secs(60),
            ping: Duration::from_secs(10),
            fetch: Duration::from_secs(20),
            stop: Duration::from_secs(2),
        }
    }
}
