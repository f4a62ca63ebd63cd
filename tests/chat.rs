//! A conversation keeps what the model has read, and answers as if it had read all of it anew.

use std::path::PathBuf;

use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::report::AnswerEnd;
use tunebook_engine::report::ChatReport;

use crate::fixtures::fixture;

fn quiet(cancel: &Cancel) -> Context<'_> {
    Context { emit: &|_| {}, cancel }
}

/// A session on the tiny checkpoint that takes the likeliest tokens.
fn session(cx: &Context) -> Session {
    let mut session = Session::default();
    let mut settings = session.settings().clone();
    for (key, value) in [("do_sample", "false"), ("max_new_tokens", "12"), ("cutoff_len", "512")] {
        settings.set(key, value).unwrap();
    }
    settings.set("dataset_dir", fixture("train").to_str().unwrap()).unwrap();
    session.set(settings);
    session.load(&fixture("tiny"), cx).unwrap();
    session
}

fn picture(name: &str) -> PathBuf {
    fixture(&format!("pictures/{name}"))
}

/// Asks `cached` and `other` the same. The other gets a new adapter before, so that it reads all anew; and since a new
/// adapter changes nothing, the answers must be the same.
fn ask_both(cached: &mut Session, other: &mut Session, text: &str, images: &[PathBuf], cx: &Context) -> ChatReport {
    let found = cached.chat(text, images, cx).unwrap();
    let mut settings = other.settings().clone();
    settings.seed += 1;
    other.set(settings);
    other.lora(None).unwrap();
    let expected = other.chat(text, images, cx).unwrap();
    assert_eq!(expected.cached_tokens, 0, "{text}");
    assert_eq!((&found.text, found.new_tokens, found.end), (&expected.text, expected.new_tokens, expected.end));
    assert_eq!(found.prompt_tokens, expected.prompt_tokens, "{text}");
    found
}

#[test]
fn later_turns_read_only_what_is_new_and_answer_the_same() {
    let cancel = Cancel::default();
    let cx = quiet(&cancel);
    let (mut cached, mut other) = (session(&cx), session(&cx));
    let (first, second) = ([picture("wide.png")], [picture("square.png")]);

    let one = ask_both(&mut cached, &mut other, "What is this?", &first, &cx);
    assert_eq!(one.cached_tokens, 0);
    let two = ask_both(&mut cached, &mut other, "And this: <image>?", &second, &cx);
    assert!(two.cached_tokens >= one.prompt_tokens && two.cached_tokens < two.prompt_tokens, "{two:?}");
    let three = ask_both(&mut cached, &mut other, "这是什么?", &[], &cx);
    assert!(three.cached_tokens >= two.prompt_tokens && three.cached_tokens < three.prompt_tokens, "{three:?}");

    // Smaller pictures: the text before the first of them is all that is the same.
    let mut settings = cached.settings().clone();
    settings.set("image_max_pixels", "3136").unwrap();
    cached.set(settings.clone());
    other.set(settings);
    let four = ask_both(&mut cached, &mut other, "Smaller?", &[], &cx);
    assert!(four.cached_tokens > 0 && four.cached_tokens < one.prompt_tokens, "{four:?}");

    // A new conversation begins with the same system prompt.
    cached.chat_clear();
    other.chat_clear();
    let five = ask_both(&mut cached, &mut other, "没有图片", &[], &cx);
    assert!(five.cached_tokens > 0 && five.cached_tokens < four.cached_tokens, "{five:?}");
}

#[test]
fn an_answer_that_was_stopped_is_read_on_from() {
    let cancel = Cancel::default();
    let (mut cached, mut other) = (session(&quiet(&cancel)), session(&quiet(&cancel)));
    let images = [picture("wide.png")];
    // Stops with the first piece of text.
    let ask_and_stop = |session: &mut Session| {
        let emit = |event: Event| {
            if matches!(event, Event::Text(_)) {
                cancel.cancel();
            }
        };
        let report = session.chat("Tell me all", &images, &Context { emit: &emit, cancel: &cancel }).unwrap();
        cancel.reset();
        report
    };
    let stopped = ask_and_stop(&mut cached);
    assert_eq!(stopped.end, AnswerEnd::Interrupted);
    assert!(stopped.new_tokens >= 1 && stopped.new_tokens < 12, "{stopped:?}");
    assert_eq!(ask_and_stop(&mut other).text, stopped.text);

    let cx = quiet(&cancel);
    let next = ask_both(&mut cached, &mut other, "Go on", &[], &cx);
    assert!(next.cached_tokens >= stopped.prompt_tokens, "{next:?}");

    // Stopped before the first token.
    for session in [&mut cached, &mut other] {
        cancel.cancel();
        let report = session.chat("Once more", &images, &cx).unwrap();
        cancel.reset();
        assert_eq!((report.end, report.new_tokens), (AnswerEnd::Interrupted, 0));
    }
    let last = ask_both(&mut cached, &mut other, "And now?", &[], &cx);
    assert!(last.cached_tokens >= next.prompt_tokens, "{last:?}");
}

#[test]
fn what_another_adapter_has_read_does_not_count() {
    let cancel = Cancel::default();
    let cx = quiet(&cancel);
    let mut session = session(&cx);
    session.data(&["creatures".to_string()], &cx).unwrap();
    session.lora(Some("a")).unwrap();
    assert_eq!(session.chat("One", &[], &cx).unwrap().cached_tokens, 0);
    assert!(session.chat("Two", &[], &cx).unwrap().cached_tokens > 0);
    session.train(Some(1), &cx).unwrap();
    assert_eq!(session.chat("Three", &[], &cx).unwrap().cached_tokens, 0, "a step has changed the adapter");
    assert!(session.chat("Four", &[], &cx).unwrap().cached_tokens > 0);
    session.adapter_off().unwrap();
    assert_eq!(session.chat("Five", &[], &cx).unwrap().cached_tokens, 0, "the adapter is off");
    session.adapter_use("a").unwrap();
    assert_eq!(session.chat("Six", &[], &cx).unwrap().cached_tokens, 0, "the adapter is on again");
    assert!(session.chat("Seven", &[], &cx).unwrap().cached_tokens > 0);
}
