//! The server over real sockets, with the example's answerer behind it.

#[path = "../../examples/echo/answerer.rs"]
mod answerer;
mod client;
mod completions;
mod crowd;
mod hostile;
mod leaving;
mod security;
mod stopping;
mod streams;

use std::net::IpAddr;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::Options;
use crate::Server;
use crate::fetch::Fetcher;
use crate::limits::Limits;
use answerer::ALL;
use answerer::Echo;
use client::Client;

fn options() -> Options {
    Options { host: [127, 0, 0, 1].into(), port: 0, api_key: None, allow_urls: false }
}

/// A server without a key.
fn echo() -> (Echo, Client) {
    echo_with(options(), |_| {})
}

/// A server with other limits.
fn echo_with(options: Options, lower: impl FnOnce(&mut Limits)) -> (Echo, Client) {
    let mut limits = Limits::default();
    lower(&mut limits);
    // Other addresses than those of this machine are out of reach in a test, so here those are the public ones.
    let fetcher = options.allow_urls.then(|| Fetcher::new(is_first_loopback, limits.fetch));
    let key = options.api_key.clone();
    let echo = Echo::start_by(&ALL, |answerer| Server::start_with(options, answerer, limits, fetcher)).unwrap();
    let client = Client { address: echo.server().address(), key };
    (echo, client)
}

fn is_first_loopback(address: IpAddr) -> bool {
    address == IpAddr::from([127, 0, 0, 1])
}

/// A request that says `text` to `model`, without chance.
fn say(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0})
}

/// Such a request with more fields, or other ones.
fn say_with(model: &str, text: &str, fields: Value) -> Value {
    let mut request = say(model, text);
    for (name, value) in fields.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

/// Waits until something is so, for 10 s.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(10), "not so after 10 s: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
