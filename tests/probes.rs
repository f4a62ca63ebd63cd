//! A training answers its probes as `chat` would, and has the same bits as without them.

use std::path::Path;

use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Note;
use tunebook_engine::Session;
use tunebook_engine::report::TrainEnd;

use crate::fixtures::fixture;
use crate::resume::FULL;
use crate::resume::LORA;
use crate::resume::Start;
use crate::resume::files;
use crate::resume::log;
use crate::resume::session;

const ASKED: &str = "What is in the picture?";
const SETTINGS: [(&str, &str); 4] =
    [("probe_steps", "2"), ("max_new_tokens", "12"), ("lora_dropout", "0.2"), ("do_sample", "true")];

/// The lines of `probes.jsonl`.
fn lines(output: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(output.join("probes.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The steps and answers to the first probe.
fn answers(session: &Session) -> Vec<(usize, String)> {
    session.probe_records().iter().map(|record| (record.step, record.answers[0].text.clone())).collect()
}

fn check(start: Start) {
    let place = tempfile::tempdir().unwrap();
    let (without, with) = (place.path().join("without"), place.path().join("with"));
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    session(&fixture("tiny"), &without, start, &SETTINGS, &quiet).train(None, &quiet).unwrap();

    let picture = fixture("pictures/creature_0.png");
    let mut session = session(&fixture("tiny"), &with, start, &SETTINGS, &quiet);
    assert_eq!(session.probe(ASKED, std::slice::from_ref(&picture)).unwrap(), 1);
    assert_eq!(session.probe("Who are you?", &[]).unwrap(), 2);
    assert_eq!(session.probe(ASKED, std::slice::from_ref(&picture)).unwrap(), 1, "asked again, it is one probe");
    // What `chat` says with the adapter of the same step, taking the likeliest tokens.
    let mut expected = Vec::new();
    for steps in [0, 2, 2, 2] {
        if steps > 0 {
            session.train(Some(steps), &quiet).unwrap();
        }
        let mut settings = session.settings().clone();
        settings.do_sample = Some(false);
        let before = session.settings().clone();
        session.set(settings);
        session.chat_clear();
        expected.push((session.step(), session.chat(ASKED, std::slice::from_ref(&picture), &quiet).unwrap().text));
        session.set(before);
    }
    assert_eq!(session.status().total_steps, 6);
    assert_eq!(answers(&session), expected);
    assert!(expected.iter().any(|(_, text)| *text != expected[0].1), "nothing was learned: {expected:?}");

    let records = session.probe_records();
    assert_eq!(records.iter().map(|record| record.answers.len()).collect::<Vec<_>>(), [2; 4]);
    assert_eq!(records[0].answers[0].before, None);
    assert_eq!(records[1].answers[0].before.as_ref(), Some(&records[0].answers[0].text));
    let written = lines(&with);
    assert_eq!(written.len(), 8);
    assert_eq!((&written[2]["step"], &written[2]["question"]), (&Value::from(2), &Value::from(ASKED)));
    assert_eq!(written[2]["answer"], records[1].answers[0].text);
    assert_eq!(written[2]["images"][0], picture.display().to_string());

    let learned = ["adapter_model.safetensors", "trained_weights.safetensors"];
    assert!(files(&with, &learned) == files(&without, &learned), "probes change what is learned");
    let optimizer = |folder: &Path| files(&folder.join("checkpoint-6"), &["optimizer.safetensors"]);
    assert!(optimizer(&with).len() == 1 && optimizer(&with) == optimizer(&without), "probes change the moments");
    assert_eq!(log(&with), log(&without));
}

#[test]
fn answers_are_those_of_chat_and_a_lora_learns_the_same() {
    check(LORA);
}

#[test]
fn the_same_of_full_tuning() {
    check(FULL);
}

#[test]
fn a_stop_delays_answers_and_a_training_that_goes_on_asks_again() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("run");
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let mut first = session(&fixture("tiny"), &output, LORA, &SETTINGS, &quiet);
    first.probe("Who are you?", &[]).unwrap();
    // Before anything is answered.
    cancel.cancel();
    assert_eq!(first.train(None, &quiet).unwrap().end, TrainEnd::Interrupted);
    cancel.reset();
    assert!(first.probe_records().is_empty());
    first.train(Some(3), &quiet).unwrap();
    let before = answers(&first);
    assert_eq!(before.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 2]);
    // Behind the checkpoint of step 2, which the next session goes on from.
    first.train(Some(1), &quiet).unwrap();
    let whole = answers(&first);
    drop(first);
    std::fs::remove_dir_all(output.join("checkpoint-4")).unwrap();

    let mut again = Session::default();
    again.load(&fixture("tiny"), &quiet).unwrap();
    again.resume(Some(&output), &|_| false, &quiet).unwrap();
    assert_eq!((answers(&again), again.probes().len()), (before, 1), "the checkpoint knows the probes");
    // A checkpoint says nothing of how answers are made.
    let mut settings = again.settings().clone();
    settings.max_new_tokens = 12;
    again.set(settings);
    again.train(Some(2), &quiet).unwrap();
    assert_eq!(answers(&again), whole);
    assert_eq!(lines(&output).iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 2, 4]);
}

#[test]
fn a_picture_that_is_gone_costs_its_probe_and_not_the_training() {
    let place = tempfile::tempdir().unwrap();
    let cancel = Cancel::default();
    let notes = std::sync::Mutex::new(Vec::new());
    let emit = |event| {
        if let Event::Note(Note::ProbeLeftOut { question, problem }) = event {
            notes.lock().unwrap().push((question, problem));
        }
    };
    let cx = Context { emit: &emit, cancel: &cancel };
    let mut session = session(&fixture("tiny"), &place.path().join("run"), LORA, &SETTINGS, &cx);
    let gone = place.path().join("gone.png");
    assert!(session.probe(ASKED, std::slice::from_ref(&gone)).unwrap_err().to_string().contains("gone.png"));
    std::fs::copy(fixture("pictures/creature_0.png"), &gone).unwrap();
    session.probe(ASKED, std::slice::from_ref(&gone)).unwrap();
    session.probe("Who are you?", &[]).unwrap();
    std::fs::remove_file(&gone).unwrap();
    assert_eq!(session.train(Some(2), &cx).unwrap().step, 2);
    assert_eq!(session.probe_records().iter().map(|record| record.answers.len()).collect::<Vec<_>>(), [1, 1]);
    let notes = notes.into_inner().unwrap();
    assert_eq!(notes.len(), 2);
    assert!(notes[0].0 == ASKED && notes[0].1.contains("gone.png"), "{notes:?}");
    assert!(session.probe_drop(Some(3)).unwrap_err().to_string().contains("there is no probe 3"));
    session.probe_drop(Some(1)).unwrap();
    assert_eq!(session.probes()[0].question, "Who are you?");
}
