//! What may be asked for, and what is answered in one response.

use std::thread;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::answerer::DROPPING;
use super::answerer::ECHO;
use super::answerer::FAILING;
use super::answerer::INTERRUPTED;
use super::answerer::LONGEST;
use super::answerer::SLOW;
use super::echo;
use super::say;
use super::say_with;
use crate::limits;

#[test]
fn an_answer_is_written_as_openai_writes_it() {
    let (_echo, client) = echo();
    let response = client.ask(&say(ECHO, "Hi there"));
    assert_eq!((response.status, response.headers["content-type"].as_str()), (200, "application/json"));
    let mut answer = response.json();
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    answer.as_object_mut().unwrap().retain(|name, _| name != "id" && name != "created");
    let expected = json!({
        "object": "chat.completion",
        "model": "echo",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": "You said: Hi there", "refusal": null},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": 4,
            "completion_tokens": 10,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    });
    assert_eq!(answer, expected);
}

#[test]
fn the_models_are_those_of_the_answerer() {
    let (_echo, client) = echo();
    let models = client.get("/v1/models").json();
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!(ECHO)));
    assert_eq!(models["data"].as_array().unwrap().len(), 7);
    for path in ["/v1/models/echo/slow", "/v1/models/echo%2Fslow"] {
        let model = client.get(path).json();
        assert_eq!((&model["id"], &model["object"]), (&json!(SLOW), &json!("model")));
    }
    assert_eq!(client.get("/v1/models/other").error(), (404, "model_not_found".into(), "model".into()));
    assert_eq!(client.ask(&say("other", "Hi")).error(), (404, "model_not_found".into(), "model".into()));
}

#[test]
fn choices_differ_and_a_seed_repeats_them() {
    let (_echo, client) = echo();
    let texts = |seed: Value| -> Vec<String> {
        let request = json!({"model": ECHO, "messages": [{"role": "user", "content": "x"}], "n": 3, "seed": seed});
        let answer = client.ask(&request).json();
        let choices = answer["choices"].as_array().unwrap().clone();
        assert_eq!(answer["usage"]["completion_tokens"], 3 * (20_usize.div_ceil(2) + 1));
        choices.iter().map(|choice| choice["message"]["content"].as_str().unwrap().to_string()).collect()
    };
    let first = texts(json!(7));
    assert_eq!(first, texts(json!(7)));
    assert_ne!(first, texts(json!(8)));
    assert_ne!(first, texts(json!(-7)));
    assert!(first[0] != first[1] && first[1] != first[2]);
}

#[test]
fn an_answer_ends_before_a_stop_string() {
    let (_echo, client) = echo();
    // Tokens have two letters, so "t str" begins in the middle of one and ends in the middle of another.
    let request = say_with(ECHO, "a text stretched out", json!({"stop": ["t str", "none"]}));
    let answer = client.ask(&request).json();
    assert_eq!(answer["choices"][0]["message"]["content"], "You said: a tex");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    // "You said: a text str" are 10 tokens.
    assert_eq!(answer["usage"]["completion_tokens"], 10);
    let answer = client.answer(&say_with(ECHO, "十年树木，百年树人", json!({"stop": "，百"})));
    assert_eq!(answer, "You said: 十年树木");
    assert_eq!(client.answer(&say_with(ECHO, "ends with sto", json!({"stop": "stop"}))), "You said: ends with sto");
}

#[test]
fn an_answer_ends_after_as_many_tokens_as_asked_for() {
    let (_echo, client) = echo();
    for field in ["max_tokens", "max_completion_tokens"] {
        let answer = client.ask(&say_with(ECHO, "a long text", json!({field: 3}))).json();
        assert_eq!(answer["choices"][0]["message"]["content"], "You sa");
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
        assert_eq!(answer["usage"]["completion_tokens"], 3);
    }
}

#[test]
fn log_probabilities_are_those_of_the_text() {
    let (_echo, client) = echo();
    let request = |fields| client.ask(&say_with(ECHO, "a text", fields)).json()["choices"][0].clone();
    let choice = request(json!({"logprobs": true, "top_logprobs": 2}));
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    let text: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert_eq!(text, "You said: a text");
    let first = json!({
        "token": "Yo", "logprob": -0.5, "bytes": [89, 111],
        "top_logprobs": [
            {"token": "Yo", "logprob": -0.5, "bytes": [89, 111]},
            {"token": "#1", "logprob": -1.5, "bytes": [35, 49]},
        ],
    });
    assert_eq!(tokens[0], first);
    let choice = request(json!({"logprobs": true}));
    assert_eq!(choice["logprobs"]["content"][0]["top_logprobs"], json!([]));
    // Those of the text before the stop string, and of the token in which it begins.
    let choice = request(json!({"logprobs": true, "stop": "te"}));
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.iter().map(|token| token["token"].as_str().unwrap()).collect::<String>(), "You said: a ");
    let choice = request(json!({"logprobs": true, "stop": "d: a"}));
    let tokens = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.iter().map(|token| token["token"].as_str().unwrap()).collect::<String>(), "You said");
}

#[test]
fn messages_may_have_pictures_and_tools() {
    let (_echo, client) = echo();
    let picture = "data:image/png;base64,iVBORw0KGgo=";
    let content = json!([
        {"type": "image_url", "image_url": {"url": picture, "detail": "high"}},
        {"type": "text", "text": "what is "},
        {"type": "text", "text": "this?"},
        {"type": "image_url", "image_url": picture},
    ]);
    let request = json!({"model": ECHO, "messages": [{"role": "user", "content": content}], "temperature": 0});
    assert_eq!(client.answer(&request), "[8, 8 B] You said: what is this?");
    let tool = json!({"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}});
    let call = json!({"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}});
    let messages = json!([
        {"role": "developer", "content": "Be brief.", "name": "x"},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "tool_call_id": "a"},
    ]);
    let mut request = json!({"model": ECHO, "messages": messages, "tools": [tool], "temperature": 0});
    assert_eq!(client.answer(&request), "[1 tools] You said: Weather?");
    request["tool_choice"] = json!("none");
    assert_eq!(client.answer(&request), "You said: Weather?");
}

#[test]
fn what_is_not_done_is_refused_and_the_field_named() {
    let (_echo, client) = echo();
    let refused = |fields: Value| client.ask(&say_with(ECHO, "x", fields)).error();
    let unsupported = |param: &str| (400, "unsupported_parameter".to_string(), param.to_string());
    assert_eq!(refused(json!({"response_format": {"type": "json_object"}})), unsupported("response_format.type"));
    assert_eq!(refused(json!({"frequency_penalty": 0.1})), unsupported("frequency_penalty"));
    assert_eq!(refused(json!({"presence_penalty": -1})), unsupported("presence_penalty"));
    assert_eq!(refused(json!({"logit_bias": {"1": 2}})), unsupported("logit_bias"));
    assert_eq!(refused(json!({"modalities": ["text", "audio"]})), unsupported("modalities"));
    assert_eq!(refused(json!({"functions": [{}]})), unsupported("functions"));
    assert_eq!(refused(json!({"tool_choice": "required"})), unsupported("tool_choice"));
    assert_eq!(refused(json!({"tool_choice": {"type": "function"}})), unsupported("tool_choice"));
    let harmless = json!({
        "response_format": {"type": "text"}, "frequency_penalty": 0, "presence_penalty": 0.0, "logit_bias": {},
        "modalities": ["text"], "functions": null, "tools": [], "tool_choice": "auto", "user": "me", "store": true,
        "metadata": {"a": "b"}, "stop": null, "n": null, "seed": null, "service_tier": "auto", "unheard_of": [1, 2],
        "top_k": -1, "logprobs": false, "top_logprobs": 0, "stream": false, "stream_options": null,
    });
    assert_eq!(client.answer(&say_with(ECHO, "x", harmless)), "You said: x");
}

#[test]
fn a_wrong_value_is_refused_and_the_field_named() {
    let (_echo, client) = echo();
    let wrong = |field: &str, value: Value| {
        let (status, _, param) = client.ask(&say_with(ECHO, "x", json!({field: value.clone()}))).error();
        assert_eq!((status, param.as_str()), (400, field), "{field}: {value}");
    };
    for (field, values) in [
        ("temperature", json!([-0.1, 2.1, "1", true, 1e300, []])),
        ("top_p", json!([-0.1, 1.1, "x"])),
        ("top_k", json!([-2, 1.5, 1e30])),
        ("repetition_penalty", json!([0, -1, 11])),
        ("seed", json!([1.5, "1", 1e30, {}])),
        ("max_tokens", json!([0, -1, 1.5, "9", 1e300])),
        ("max_completion_tokens", json!([0, -9_223_372_036_854_775_808_i64, 18_446_744_073_709_551_615_u64])),
        ("n", json!([0, 33, -1, 1.0, "2"])),
        ("logprobs", json!([1, "true"])),
        ("top_logprobs", json!([21, -1, 5])),
        ("stop", json!([1, [""], [1], ["a", "b", "c", "d", "e"], "", {}, "x".repeat(2000)])),
        ("stream", json!([1, "false"])),
        ("stream_options", json!([{"include_usage": true}])),
        ("model", json!([1, [], null])),
        ("messages", json!([1, [], {}, null, "x"])),
        ("tools", json!([1, {}, "x"])),
        ("tool_choice", json!(["x", 1])),
    ] {
        values.as_array().unwrap().iter().for_each(|value| wrong(field, value.clone()));
    }
}

#[test]
fn a_wrong_message_is_refused_and_the_field_named() {
    let (_echo, client) = echo();
    let part = |part: Value| json!({"role": "user", "content": [{"type": "text", "text": "x"}, part]});
    let picture = |url: &str| part(json!({"type": "image_url", "image_url": {"url": url}}));
    for (message, param) in [
        (json!(1), "messages[1]"),
        (json!({"content": "x"}), "messages[1].role"),
        (json!({"role": "function", "content": "x"}), "messages[1].role"),
        (json!({"role": "user"}), "messages[1].content"),
        (json!({"role": "user", "content": []}), "messages[1].content"),
        (json!({"role": "user", "content": 1}), "messages[1].content"),
        (json!({"role": "assistant", "content": null}), "messages[1].content"),
        (json!({"role": "assistant", "tool_calls": ["x"]}), "messages[1].tool_calls[0].function.name"),
        (part(json!("x")), "messages[1].content[1]"),
        (part(json!({"type": "text"})), "messages[1].content[1].text"),
        (part(json!({"type": "video_url", "video_url": {"url": "x"}})), "messages[1].content[1].type"),
        (part(json!({"type": "input_audio"})), "messages[1].content[1].type"),
        (part(json!({"type": "image_url"})), "messages[1].content[1].image_url"),
        (part(json!({"type": "image_url", "image_url": {}})), "messages[1].content[1].image_url.url"),
        (picture("/etc/passwd"), "messages[1].content[1].image_url.url"),
        (picture("file:///etc/passwd"), "messages[1].content[1].image_url.url"),
        (picture("http://127.0.0.1/x.png"), "messages[1].content[1].image_url.url"),
        (picture("data:image/png;base64,%%%"), "messages[1].content[1].image_url.url"),
        (
            json!({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}),
            "messages[1].content[0].type",
        ),
    ] {
        let request = json!({"model": ECHO, "messages": [{"role": "user", "content": "x"}, message]});
        let (status, _, found) = client.ask(&request).error();
        assert_eq!((status, found.as_str()), (400, param), "{request}");
    }
    let picture = json!({"type": "image_url", "image_url": {"url": "data:,x"}});
    let many = json!([{"role": "user", "content": vec![picture; limits::PICTURES + 1]}]);
    assert_eq!(client.ask(&json!({"model": ECHO, "messages": many})).status, 400);
    let many = vec![json!({"role": "user", "content": "x"}); limits::MESSAGES + 1];
    assert_eq!(client.ask(&json!({"model": ECHO, "messages": many})).error().2, "messages");
}

#[test]
fn what_the_answerer_refuses_is_an_error() {
    let (_echo, client) = echo();
    for stream in [false, true] {
        let refused = |model: &str, text: &str| client.ask(&say_with(model, text, json!({"stream": stream})));
        let failed = refused(FAILING, "x");
        assert_eq!((failed.error().0, failed.headers["x-should-retry"].as_str()), (500, "false"));
        assert_eq!(refused(ECHO, &"x".repeat(LONGEST + 1)).error().1, "context_length_exceeded");
    }
    let dropped = client.ask(&say(DROPPING, "x"));
    assert_eq!((dropped.status, &dropped.json()["error"]["type"]), (500, &json!("server_error")));
    let interrupted = client.ask(&say(INTERRUPTED, "x"));
    assert_eq!(interrupted.error(), (503, "interrupted".into(), String::new()));
    assert_eq!(interrupted.headers["x-should-retry"], "false");
    let no_picture = json!([{"type": "image_url", "image_url": {"url": "data:,x"}}]);
    let request = json!({"model": ECHO, "messages": [{"role": "user", "content": no_picture}]});
    assert_eq!(client.ask(&request).error(), (400, String::new(), "messages".into()));
}

#[test]
fn other_paths_and_methods_are_errors_too() {
    let (_echo, client) = echo();
    assert_eq!(client.get("/v1/completions").error(), (404, "unknown_url".into(), String::new()));
    assert_eq!(client.get("/v1/chat/completions").error().0, 405);
    assert_eq!(client.get("/health").status, 200);
}

#[test]
fn metrics_count_what_was_asked_and_answered() {
    let (_echo, client) = echo();
    client.answer(&say(ECHO, "Hi there"));
    client.ask(&say("other", "x"));
    client.get("/nowhere");
    let is_over = |metrics: &str| metrics.lines().any(|line| line == "tunebook_requests_running 0");
    // A request is over only after its client has heard all of it.
    let told = (0..200).map(|_| client.get("/metrics")).find(|metrics| {
        let over = is_over(&metrics.text());
        if !over {
            thread::sleep(Duration::from_millis(50));
        }
        over
    });
    let metrics = told.unwrap();
    assert!(metrics.headers["content-type"].starts_with("application/openmetrics-text"));
    let text = metrics.text();
    for line in [
        "tunebook_http_requests_total{path=\"/v1/chat/completions\",status=\"200\"} 1",
        "tunebook_http_requests_total{path=\"/v1/chat/completions\",status=\"404\"} 1",
        "tunebook_http_requests_total{path=\"other\",status=\"404\"} 1",
        "tunebook_prompt_tokens_total 4",
        "tunebook_generation_tokens_total 10",
        "tunebook_time_to_first_token_seconds_count 1",
        "tunebook_request_duration_seconds_count 1",
        "tunebook_requests_running 0",
        "tunebook_requests_waiting 0.0",
        "tunebook_echo_models 7.0",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
    }
}
