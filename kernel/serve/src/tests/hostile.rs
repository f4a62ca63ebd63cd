//! Requests that are no requests.

use std::io::Write;

use serde_json::json;

use super::answerer::ECHO;
use super::echo;
use super::say;
use crate::limits;
use crate::request::Request;

/// Numbers by xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % most
    }
}

/// A request that has about everything.
fn rich() -> String {
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}});
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let request = json!({
        "model": "echo",
        "messages": [
            {"role": "system", "content": "x"},
            {"role": "user", "content": [{"type": "text", "text": "x"}, picture]},
            {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "tool", "content": "x", "tool_call_id": "a"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "tool_choice": "auto", "temperature": 0.5, "top_p": 0.5, "top_k": 3, "repetition_penalty": 1.1, "seed": 1,
        "max_tokens": 9, "max_completion_tokens": 9, "n": 2, "logprobs": true, "top_logprobs": 3, "stop": ["a", "b"],
        "stream": true, "stream_options": {"include_usage": true}, "response_format": {"type": "text"},
    });
    request.to_string()
}

#[test]
fn changed_requests_are_read_or_refused() {
    let rich = rich();
    assert!(Request::read(rich.as_bytes(), false).is_ok());
    let tokens = [
        "null",
        "true",
        "-1",
        "0",
        "1e999",
        "-1e308",
        "1e-400",
        "18446744073709551616",
        "9223372036854775807",
        "\"\"",
        "[]",
        "{}",
        "[[[]]]",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "\u{feff}",
        "\"",
        "\\",
        ",",
        ":",
        "{",
        "}",
        "[",
        "]",
        "\"data:;base64,\"",
    ];
    let values: Vec<_> = rich.match_indices([':', '[', ',']).map(|(at, _)| at + 1).collect();
    let (mut random, mut refused) = (Random(0x2545_f491_4f6c_dd1d), 0);
    for _ in 0..20_000 {
        let mut changed = rich.clone().into_bytes();
        for _ in 0..=random.below(3) {
            match random.below(4) {
                // A value for a value, up to the next border.
                0 => {
                    let at = values[random.below(values.len())].min(changed.len());
                    let end = changed[at..]
                        .iter()
                        .position(|byte| b",]}".contains(byte))
                        .map_or(changed.len(), |end| at + end);
                    changed.splice(at..end, tokens[random.below(tokens.len())].bytes());
                }
                1 => {
                    let at = random.below(changed.len() + 1);
                    changed.splice(at..at, tokens[random.below(tokens.len())].bytes());
                }
                2 if !changed.is_empty() => {
                    let at = random.below(changed.len());
                    changed[at] = random.below(256) as u8;
                }
                _ => changed.truncate(random.below(changed.len() + 1)),
            }
        }
        refused += usize::from(Request::read(&changed, false).is_err_and(|error| {
            assert_eq!(error.status, 400);
            assert!(error.message.len() < 1000, "{}", error.message);
            true
        }));
    }
    assert!(refused > 10_000, "{refused}");
}

#[test]
fn large_json_is_refused_before_it_takes_memory() {
    let deep = format!("{{\"model\":{}1{}}}", "[".repeat(50_000), "]".repeat(50_000));
    let wide = format!("{{\"model\":[{}0]}}", "0,".repeat(limits::BODY / 2 - 20));
    let keys = format!("{{{}\"model\":1}}", "\"a\":0,".repeat(limits::BODY / 6 - 20));
    for (json, said) in [(deep, "recursion limit"), (wide, "100000 values"), (keys, "100000 values")] {
        let error = Request::read(json.as_bytes(), false).unwrap_err();
        assert!(error.message.contains(said), "{}", error.message);
    }
}

#[test]
fn long_names_are_cut_in_errors() {
    let (_echo, client) = echo();
    let long = "x".repeat(1 << 20);
    for request in [
        say(&long, "x"),
        json!({"model": ECHO, "messages": [{"role": long.clone(), "content": "x"}]}),
        json!({"model": ECHO, "messages": [{"role": "user", "content": [{"type": long.clone()}]}]}),
        json!({"model": ECHO, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": long}]}]}),
    ] {
        let refused = client.ask(&request);
        assert!((400..=404).contains(&refused.status));
        assert!(refused.body.len() < 1000);
    }
    let path = format!("/{}", "x".repeat(10_000));
    assert!(client.get(&path).body.len() < 1000);
}

#[test]
fn what_is_no_http_harms_nobody() {
    let (_echo, client) = echo();
    let mut random = Random(88_172_645_463_325_252);
    for number in 0..200 {
        let mut connection = client.connect();
        let noise: Vec<u8> = match number % 4 {
            0 => (0..random.below(5000)).map(|_| random.below(256) as u8).collect(),
            1 => format!("GET / HTTP/1.1\r\n{}\r\n\r\n", "a: b\r\n".repeat(random.below(500))).into_bytes(),
            2 => format!("POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {}\r\n\r\n", "9".repeat(number))
                .into_bytes(),
            _ => b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                   Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"
                .to_vec(),
        };
        drop(connection.write_all(&noise));
    }
    assert_eq!(client.answer(&say(ECHO, "still here")), "You said: still here");
    let huge = format!("GET /v1/models HTTP/1.1\r\nHost: localhost\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    assert_eq!(client.exchange(huge.as_bytes()).status, 431);
}
