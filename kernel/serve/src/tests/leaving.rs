//! Clients that leave, read slowly or write slowly.

use std::io::Read;
use std::io::Write;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use super::answerer::ECHO;
use super::answerer::ENDLESS;
use super::answerer::SILENT;
use super::client::Response;
use super::echo;
use super::echo_with;
use super::eventually;
use super::options;
use super::say;
use super::say_with;
use crate::Options;
use crate::limits;

#[test]
fn a_client_that_leaves_is_answered_no_more() {
    let (echo, client) = echo();
    for stream in [false, true] {
        let mut connection = client.begin(&say_with(ENDLESS, "x", json!({"stream": stream, "n": 2})));
        eventually("it is answered", || echo.running() == 1);
        if stream {
            connection.read_exact(&mut [0; 1000]).unwrap();
        }
        drop(connection);
        eventually("nobody is answered", || echo.running() == 0);
    }
    let connection = client.begin(&say(SILENT, "x"));
    eventually("it was taken", || echo.running() == 1);
    drop(connection);
    eventually("nobody is answered", || echo.running() == 0);
    assert_eq!(client.answer(&say(ECHO, "x")), "You said: x");
}

#[test]
fn a_client_that_leaves_takes_its_request_out_of_the_inbox() {
    let (echo, client) = echo_with(options(), |limits| limits.waiting = 2);
    echo.sleep(true);
    let inbox = echo.server().inbox();
    let first = client.begin(&say(ECHO, "first"));
    eventually("one waits", || inbox.len() == 1);
    let second = client.begin(&say(ECHO, "second"));
    eventually("two wait", || inbox.len() == 2);
    let full = client.ask(&say(ECHO, "third"));
    assert_eq!(full.error(), (429, "rate_limit_exceeded".into(), String::new()));
    assert!(full.headers["retry-after"].parse::<u32>().unwrap() > 0);
    assert!(client.get("/metrics").text().contains("tunebook_requests_waiting 2.0"));
    drop(first);
    eventually("one waits", || inbox.len() == 1);
    let fourth = client.begin(&say(ECHO, "fourth"));
    eventually("two wait", || inbox.len() == 2);
    echo.sleep(false);
    for (connection, text) in [(second, "You said: second"), (fourth, "You said: fourth")] {
        assert_eq!(Response::read(connection).json()["choices"][0]["message"]["content"], text);
    }
}

/// Enough text a token to fill what lies between two programs soon.
fn flood() -> serde_json::Value {
    say_with(ENDLESS, "x", json!({"stream": true, "logprobs": true, "top_logprobs": 20, "n": 8}))
}

#[test]
fn a_client_that_does_not_read_is_answered_no_more() {
    let (echo, client) = echo_with(options(), |limits| limits.unread = 100_000);
    let connection = client.begin(&flood());
    eventually("it was taken", || echo.taken() == 1);
    eventually("it is answered no more", || echo.running() == 0);
    // It may read late what there is, and hears why there is no more.
    let response = Response::read(connection);
    assert!(response.data().last().unwrap().contains("too slowly"));
}

#[test]
fn the_connection_of_a_client_that_does_not_read_is_closed() {
    let (echo, client) = echo_with(options(), |limits| {
        limits.write = Duration::from_millis(300);
        limits.unread = 1 << 30;
    });
    let mut connection = client.begin(&flood());
    eventually("it was taken", || echo.taken() == 1);
    eventually("it is answered no more", || echo.running() == 0);
    let mut read = Vec::new();
    drop(connection.read_to_end(&mut read));
    assert!(Response::parse(&read).is_none(), "the response is whole");
}

#[test]
fn a_client_that_reads_slowly_misses_nothing() {
    let (_echo, client) = echo();
    let text = "All of this is to arrive. ".repeat(200);
    let mut connection = client.begin(&say_with(ECHO, &text, json!({"stream": true})));
    let (mut read, mut piece) = (Vec::new(), [0; 20_000]);
    loop {
        let length = connection.read(&mut piece).unwrap();
        read.extend_from_slice(&piece[..length]);
        if length == 0 {
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let events = Response::parse(&read).unwrap().events();
    assert_eq!(super::client::streamed(&events, 0), format!("You said: {text}"));
}

#[test]
fn a_client_that_writes_too_slowly_is_sent_away() {
    let (_echo, client) = echo_with(options(), |limits| {
        limits.head = Duration::from_millis(300);
        limits.piece = Duration::from_millis(300);
        limits.body = Duration::from_secs(1);
    });
    let request = client.request(&say(ECHO, "x").to_string());
    let head = request.find("\r\n\r\n").unwrap() + 4;
    // An idle connection, half a head, a head and half a body.
    for (length, statuses) in [(0, [0, 408]), (20, [0, 408]), (head + 10, [408, 408])] {
        let begin = Instant::now();
        let mut connection = client.connect();
        connection.write_all(&request.as_bytes()[..length]).unwrap();
        let mut read = Vec::new();
        drop(connection.read_to_end(&mut read));
        let status = Response::parse(&read).map_or(0, |response| response.status);
        assert!(statuses.contains(&status), "{length}: {status}");
        assert!(begin.elapsed() < Duration::from_secs(10), "{length}");
    }
    // A byte at a time, each soon enough, but all of them not.
    let begin = Instant::now();
    let mut connection = client.connect();
    connection.write_all(&request.as_bytes()[..head]).unwrap();
    for byte in &request.as_bytes()[head..] {
        thread::sleep(Duration::from_millis(100));
        if connection.write_all(&[*byte]).is_err() {
            break;
        }
    }
    let mut read = Vec::new();
    drop(connection.read_to_end(&mut read));
    assert!(Response::parse(&read).is_none_or(|response| response.status == 408));
    assert!(begin.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let (_echo, client) = echo();
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json";
    let length = limits::BODY + 1;
    let announced = [format!("{head}\r\nContent-Length: {length}\r\n\r\n").into_bytes(), vec![b' '; length]].concat();
    assert_eq!(client.exchange(&announced).error(), (413, "request_too_large".into(), String::new()));
    let piece = [b"100000\r\n", &vec![b' '; 1 << 20][..], b"\r\n"].concat();
    let chunked = format!("{head}\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    let chunked = [chunked, piece.repeat(65), b"0\r\n\r\n".to_vec()].concat();
    assert_eq!(client.exchange(&chunked).error().0, 413);
    assert_eq!(client.answer(&say(ECHO, "x")), "You said: x");
}

#[test]
fn requests_wait_for_room_and_then_give_up() {
    let (_echo, client) = echo_with(options(), |limits| {
        limits.room = limits::BODY;
        limits.wait = Duration::from_millis(300);
    });
    let head = |megabytes: usize| {
        let (host, length) = (client.address, megabytes << 20);
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    // Its body is not even on its way, and yet has its room.
    let mut first = client.connect();
    first.write_all(head(40).as_bytes()).unwrap();
    eventually("a body of the same length finds no room", || {
        let request = [head(40).into_bytes(), vec![b' '; 40 << 20]].concat();
        client.exchange(&request).status == 429
    });
    assert_eq!(client.answer(&say(ECHO, "x")), "You said: x");
}

#[test]
fn who_is_refused_hears_why_however_much_it_sends() {
    let (_echo, client) = echo_with(Options { api_key: Some("right".into()), ..options() }, |_| {});
    let large = client.request(&" ".repeat(30 << 20));
    for (from, to, status) in [
        ("Bearer right", "Bearer wrong", 401),
        ("application/json", "text/plain", 415),
        ("POST /v1/chat/completions", "POST /v1/completions", 404),
        ("POST /v1/chat/completions", "PUT /v1/chat/completions", 405),
    ] {
        let request = large.replacen(from, to, 1);
        let mut connection = client.connect();
        connection.write_all(request.as_bytes()).unwrap();
        assert_eq!(Response::read(connection).status, status);
    }
}
