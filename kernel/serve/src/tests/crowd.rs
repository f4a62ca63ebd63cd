//! Many clients at a time.

use std::thread;

use serde_json::json;

use super::answerer::ECHO;
use super::answerer::SLOW;
use super::client::streamed;
use super::echo;
use super::echo_with;
use super::options;
use super::say;
use super::say_with;

#[test]
fn sixty_four_clients_get_their_own_answers() {
    let (echo, client) = echo();
    let client = &client;
    thread::scope(|scope| {
        for number in 0..64 {
            scope.spawn(move || {
                for round in 0..5 {
                    let text = format!("client {number}, round {round}");
                    let expected = format!("You said: {text}");
                    match (number + round) % 4 {
                        0 => assert_eq!(client.answer(&say(ECHO, &text)), expected),
                        1 => {
                            let events = client.ask(&say_with(ECHO, &text, json!({"stream": true, "n": 2}))).events();
                            assert_eq!((streamed(&events, 0), streamed(&events, 1)), (expected.clone(), expected));
                        }
                        2 => {
                            let request = say_with(ECHO, &text, json!({"stop": ", round"}));
                            assert_eq!(client.answer(&request), format!("You said: client {number}"));
                        }
                        // Leaves in the middle.
                        _ => drop(client.begin(&say_with(SLOW, &text, json!({"stream": true})))),
                    }
                }
            });
        }
    });
    super::eventually("nobody is answered", || echo.running() == 0 && echo.server().inbox().is_empty());
    let metrics = client.get("/metrics").text();
    assert!(metrics.contains("tunebook_requests_running 0\n"), "{metrics}");
}

#[test]
fn more_clients_than_connections_are_served_in_turn() {
    let (_echo, client) = echo_with(options(), |limits| limits.connections = 4);
    let client = &client;
    thread::scope(|scope| {
        for number in 0..32 {
            scope.spawn(move || {
                let text = number.to_string();
                assert_eq!(client.answer(&say(ECHO, &text)), format!("You said: {text}"));
            });
        }
    });
}
