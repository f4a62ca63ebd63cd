//! A conversation keeps what the model has read, and answers as if it had read all of it anew.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::Value;
use serde_json::json;
use tunebook_commands::Lang;
use tunebook_commands::Localize;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::Split;
use tunebook_engine::report::AnswerEnd;
use tunebook_engine::report::ChatReport;
use tunebook_engine::report::SystemPromptSource;

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
    other.lora(None, cx).unwrap();
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

/// A data set of texts, each with its system prompt.
fn data_with(folder: &Path, name: &str, systems: &[&str]) {
    let sample = |system: &&str| json!({"instruction": "What is it?", "output": "A fern.", "system": system});
    let samples: Vec<_> = systems.iter().map(sample).collect();
    let info = std::fs::read(folder.join("dataset_info.json")).unwrap_or(b"{}".to_vec());
    let mut info: Value = serde_json::from_slice(&info).unwrap();
    info[name] = json!({
        "file_name": format!("{name}.json"),
        "columns": {"prompt": "instruction", "response": "output", "system": "system"},
    });
    std::fs::write(folder.join(format!("{name}.json")), json!(samples).to_string()).unwrap();
    std::fs::write(folder.join("dataset_info.json"), info.to_string()).unwrap();
}

#[test]
fn the_model_is_asked_with_the_system_prompt_that_it_is_trained_with() {
    let folder = tempfile::tempdir().unwrap();
    for (name, systems) in [
        ("botany", ["You are a botanist. Say what it is.", "You are a botanist. Say what it is."]),
        ("mixed", ["You are a botanist. Say what it is.", "Say it."]),
        ("without", ["", ""]),
    ] {
        data_with(folder.path(), name, &systems);
    }
    let (cancel, notes) = (Cancel::default(), Mutex::new(Vec::new()));
    let emit = |event| {
        if let Event::Note(note) = event {
            notes.lock().unwrap().push(note.localize(Lang::En));
        }
    };
    let cx = Context { emit: &emit, cancel: &cancel };
    let mut session = session(&cx);
    let set = |session: &mut Session, key: &str, value: &str| {
        session.change([(key, value)].into_iter()).unwrap();
    };
    set(&mut session, "dataset_dir", folder.path().to_str().unwrap());
    set(&mut session, "max_new_tokens", "1");
    // How many tokens the question of the first sample has, from the beginning on.
    let trained = |session: &mut Session, name: &str| {
        session.data(&[name.to_string()], &cx).unwrap();
        session.sample(Split::Train, 0).unwrap().tokens.iter().take_while(|token| !token.supervised).count()
    };
    let asked = |session: &mut Session| {
        session.chat_clear();
        let tokens = session.chat("What is it?", &[], &cx).unwrap().prompt_tokens;
        (tokens, std::mem::take(&mut *notes.lock().unwrap()))
    };
    let plain = asked(&mut session);
    assert!(plain.1.is_empty());

    let botany = trained(&mut session, "botany");
    assert!(botany > plain.0);
    let (tokens, said) = asked(&mut session);
    assert_eq!(tokens, botany);
    assert!(said.len() == 1 && said[0].contains("“You are a botanist. Say what it is.”"), "{said:?}");
    // It is said once, and an adapter changes nothing of it.
    session.lora(None, &cx).unwrap();
    assert_eq!(asked(&mut session), (botany, Vec::new()));
    session.compare("What is it?", &[], &[], &cx).unwrap();
    assert!(notes.lock().unwrap().is_empty());
    assert_eq!(session.status().system.unwrap().source, SystemPromptSource::Data);

    set(&mut session, "system", "Be brief.");
    let (tokens, said) = asked(&mut session);
    assert!(tokens < botany && said[0].contains("“Be brief.” (default_system)"), "{said:?}");
    set(&mut session, "system", "");
    let (tokens, said) = asked(&mut session);
    assert!(tokens < plain.0 && said[0].contains("none (default_system)"), "{said:?}");
    set(&mut session, "default_system", "none");
    assert_eq!(asked(&mut session).0, botany);

    // What samples do not share is not asked with; nor is anything said of the template's own.
    trained(&mut session, "mixed");
    let (tokens, said) = asked(&mut session);
    assert!(tokens == plain.0 && said[0].contains("“You are a helpful assistant.” (the template's own)"), "{said:?}");
    assert_eq!((trained(&mut session, "without"), asked(&mut session)), (plain.0, plain.clone()));

    // Samples without one are trained with the setting, and those with one keep it.
    set(&mut session, "system", "Look closely.");
    assert_eq!(trained(&mut session, "without"), asked(&mut session).0);
    assert_eq!(trained(&mut session, "botany"), botany);
    set(&mut session, "system", "none");
    assert_eq!(trained(&mut session, "without"), plain.0);
}

#[test]
fn the_template_is_the_models_own_unless_another_one_is_set() {
    let (cancel, notes) = (Cancel::default(), Mutex::new(Vec::new()));
    let emit = |event| {
        if let Event::Note(note) = event {
            notes.lock().unwrap().push(note.localize(Lang::En));
        }
    };
    let cx = Context { emit: &emit, cancel: &cancel };
    let mut session = session(&cx);
    let mut asked = |changed: &[(&str, &str)]| {
        session.change(changed.iter().copied()).unwrap();
        session.chat_clear();
        let tokens = session.chat("What is it?", &[], &cx).unwrap().prompt_tokens;
        let template = session.template().unwrap().name;
        assert!(session.recipe().yaml().contains(&format!("\ntemplate: {template}\n")), "{}", session.recipe().yaml());
        (template, tokens, std::mem::take(&mut *notes.lock().unwrap()))
    };
    let (template, own, said) = asked(&[("max_new_tokens", "1")]);
    assert_eq!((template, said.len()), ("qwen2_vl", 0));

    // It has no system prompt of its own.
    let (template, plain, said) = asked(&[("template", "qwen3_vl_nothink")]);
    assert!(template == "qwen3_vl_nothink" && plain < own);
    assert!(said[0].contains("the template qwen3_vl_nothink") && said[0].contains("trained with qwen2_vl"), "{said:?}");
    assert_eq!(asked(&[]), (template, plain, Vec::new()));

    let (template, thinking, said) = asked(&[("template", "qwen3_vl")]);
    assert_eq!((template, thinking, said.len()), ("qwen3_vl", plain, 1));
    let (_, without, said) = asked(&[("enable_thinking", "false")]);
    assert!(without > plain && said.is_empty(), "{said:?}");
    assert_eq!(asked(&[("template", "none")]), ("qwen2_vl", own, Vec::new()));
}

#[test]
fn a_conversation_goes_on_under_another_system_prompt() {
    let cancel = Cancel::default();
    let cx = quiet(&cancel);
    let (mut cached, mut other) = (session(&cx), session(&cx));
    ask_both(&mut cached, &mut other, "What is this?", &[], &cx);
    for session in [&mut cached, &mut other] {
        session.change([("default_system", "Be brief.")].into_iter()).unwrap();
    }
    let two = ask_both(&mut cached, &mut other, "And that?", &[], &cx);
    assert_eq!(cached.status().turns, 2);
    // All of it is read again behind `<|im_start|>system`.
    assert!(two.cached_tokens < 8, "{two:?}");
}

#[test]
fn what_another_adapter_has_read_does_not_count() {
    let cancel = Cancel::default();
    let cx = quiet(&cancel);
    let mut session = session(&cx);
    session.data(&["creatures".to_string()], &cx).unwrap();
    session.lora(Some("a"), &cx).unwrap();
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
