//! How a server ends.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use super::answerer::ENDLESS;
use super::answerer::Echo;
use super::answerer::SILENT;
use super::client::Response;
use super::echo;
use super::eventually;
use super::options;
use super::say;
use super::say_with;
use crate::Answerer;
use crate::Gauge;
use crate::Options;
use crate::Server;

#[test]
fn a_stop_ends_answers_with_an_error_and_closes_the_port() {
    let (mut echo, client) = echo();
    let streaming = client.begin(&say_with(ENDLESS, "x", json!({"stream": true})));
    let waiting = client.begin(&say(SILENT, "x"));
    eventually("both are answered", || echo.running() == 2);
    echo.sleep(true);
    let queued = client.begin(&say(ENDLESS, "x"));
    let inbox = echo.server().inbox();
    eventually("one waits", || !inbox.is_empty());
    let idle = client.connect();
    let reader = thread::spawn(move || Response::read(streaming));
    let begin = Instant::now();
    echo.stop_server();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let last: Value = serde_json::from_str(reader.join().unwrap().data().last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "stopped");
    for connection in [waiting, queued] {
        let stopped = Response::read(connection);
        assert_eq!(stopped.error(), (503, "stopped".into(), String::new()));
        assert_eq!(stopped.headers["x-should-retry"], "false");
    }
    assert!(inbox.is_empty());
    assert!(TcpStream::connect(client.address).is_err());
    drop(idle);
    eventually("nobody is answered", || echo.running() == 0);
    // The port is free again.
    let again = Echo::start(Options { port: client.address.port(), ..options() }).unwrap();
    assert_eq!(again.server().address(), client.address);
}

#[test]
fn a_stop_does_not_wait_for_a_client_that_does_not_read() {
    let (mut echo, client) = echo();
    let fields = json!({"stream": true, "logprobs": true, "top_logprobs": 20, "n": 8});
    let connection = client.begin(&say_with(ENDLESS, "x", fields));
    eventually("it was taken", || echo.taken() == 1);
    thread::sleep(Duration::from_secs(1));
    let begin = Instant::now();
    echo.stop_server();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    drop(connection);
}

/// Whoever has no model.
struct Nobody;

impl Answerer for Nobody {
    fn wake(&self) {
        unreachable!("nobody can be asked");
    }

    fn models(&self) -> Vec<String> {
        Vec::new()
    }

    fn gauges(&self) -> Vec<Gauge> {
        Vec::new()
    }
}

#[test]
fn without_a_model_there_is_a_server_and_no_answer() {
    let server = Server::start(options(), Arc::new(Nobody)).unwrap();
    let client = super::Client { address: server.address(), key: None };
    assert_eq!(client.get("/v1/models").json(), json!({"object": "list", "data": []}));
    assert_eq!(client.ask(&say("x", "x")).error(), (503, "no_model".into(), String::new()));
    assert_eq!(client.get("/health").status, 200);
    server.stop();
}

/// A session may be used from a thread of another runtime.
#[test]
fn a_server_may_be_dropped_within_a_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { drop(Server::start(options(), Arc::new(Nobody)).unwrap()) });
}
