//! Answers as server-sent events.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::answerer::DROPPING;
use super::answerer::ECHO;
use super::answerer::INTERRUPTED;
use super::answerer::SILENT;
use super::client::Response;
use super::client::streamed;
use super::echo;
use super::echo_with;
use super::options;
use super::say_with;

#[test]
fn a_stream_has_the_answer_in_pieces() {
    let (_echo, client) = echo();
    let response = client.ask(&say_with(ECHO, "Hi there", json!({"stream": true})));
    assert_eq!(response.headers["content-type"], "text/event-stream");
    let events = response.events();
    assert_eq!(streamed(&events, 0), "You said: Hi there");
    // One for the role, nine tokens, one for the end.
    assert_eq!(events.len(), 11);
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let last = json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"}]);
    assert_eq!(events[10]["choices"], last);
    for event in &events {
        assert_eq!((&event["object"], &event["id"]), (&json!("chat.completion.chunk"), &events[0]["id"]));
        assert!(event.get("usage").is_none());
    }
}

#[test]
fn a_stream_ends_with_its_usage_if_asked_for() {
    let (_echo, client) = echo();
    let fields = json!({"stream": true, "stream_options": {"include_usage": true}, "n": 2, "stop": "sa"});
    let events = client.ask(&say_with(ECHO, "Hi there", fields)).events();
    let (last, others) = events.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    // "You sa" are three tokens of each choice.
    assert_eq!((&last["usage"]["completion_tokens"], &last["usage"]["prompt_tokens"]), (&json!(6), &json!(4)));
    assert!(others.iter().all(|event| event["usage"] == Value::Null && event.get("usage").is_some()));
    assert_eq!((streamed(&events, 0).as_str(), streamed(&events, 1).as_str()), ("You ", "You "));
}

#[test]
fn what_may_become_a_stop_string_is_held_back() {
    let (_echo, client) = echo();
    let fields = json!({"stream": true, "stop": ["END", "said: xy"], "logprobs": true});
    let events = client.ask(&say_with(ECHO, "xENDx", fields)).events();
    let texts: Vec<_> = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    // " said: xE" was held back until the N.
    assert_eq!(texts, ["", "Yo", "u ", "said: x"]);
    let tokens = events.iter().filter_map(|event| event["choices"][0]["logprobs"]["content"].as_array()).flatten();
    let tokens: String = tokens.map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(tokens, "You said: xE");
}

#[test]
fn an_error_in_the_middle_is_an_event() {
    let (_echo, client) = echo();
    for (model, code) in [(DROPPING, Value::Null), (INTERRUPTED, json!("interrupted"))] {
        let data = client.ask(&say_with(model, "Hi there", json!({"stream": true}))).data();
        let last: Value = serde_json::from_str(data.last().unwrap()).unwrap();
        assert_eq!((&last["error"]["type"], &last["error"]["code"]), (&json!("server_error"), &code));
        let events: Vec<Value> =
            data[..data.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        assert_eq!(streamed(&events, 0), "You sa");
    }
}

#[test]
fn a_stream_that_waits_says_so() {
    let (mut echo, client) = echo_with(options(), |limits| limits.ping = Duration::from_millis(50));
    let stream = client.begin(&say_with(SILENT, "x", json!({"stream": true})));
    std::thread::sleep(Duration::from_millis(400));
    echo.stop_server();
    let response = Response::read(stream);
    let pings = response.text().matches(": ping\n\n").count();
    assert!((3..=8).contains(&pings), "{pings}");
    let last: Value = serde_json::from_str(response.data().last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "stopped");
}
