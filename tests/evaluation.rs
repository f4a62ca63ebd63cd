//! What `evaluate`, `predict` and `compare` find is LLaMA-Factory's (`reference/evaluate.py`: the real program on the
//! tiny checkpoint, in float32), and is written as it writes it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use serde_json::Value;
use tunebook_commands::Lang;
use tunebook_commands::Localize;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::report::AnswerEnd;

use crate::fixtures::fixture;

fn reference() -> Value {
    json(&fixture("evaluate/results.json"))
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn set(session: &mut Session, settings: &[(&str, &str)]) {
    let mut chosen = session.settings().clone();
    settings.iter().for_each(|(key, value)| chosen.set(key, value).unwrap());
    session.set(chosen);
}

/// A session on the tiny checkpoint, and what its verbs are given.
fn session(cancel: &Cancel) -> (Session, Context<'_>) {
    let cx = Context { emit: &|_| {}, cancel };
    let mut session = Session::default();
    let folder = fixture("train");
    set(&mut session, &[("dataset_dir", folder.to_str().unwrap()), ("cutoff_len", "512"), ("dtype", "float32")]);
    session.load(&fixture("tiny"), &cx).unwrap();
    (session, cx)
}

fn adapter(run: &str) -> String {
    fixture(&format!("train/{run}/adapter")).display().to_string()
}

/// The names of the metrics in a file, and those that LLaMA-Factory writes: it also tells how long it took to make the
/// model ready, and no perplexity.
fn names(path: &Path, reference: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let found = json(path).as_object().unwrap().keys().filter(|key| *key != "eval_perplexity").cloned().collect();
    let expected = reference["metrics"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_string());
    (found, expected.filter(|name| !name.ends_with("model_preparation_time")).collect())
}

#[test]
fn the_loss_is_llamafactorys_for_every_size_of_batches() {
    for case in reference()["eval"].as_array().unwrap() {
        let cancel = Cancel::default();
        let (mut session, cx) = session(&cancel);
        let output = tempfile::tempdir().unwrap();
        let settings = &case["settings"];
        let batch = settings["per_device_eval_batch_size"].to_string();
        set(&mut session, &[("per_device_eval_batch_size", &batch), ("output_dir", output.path().to_str().unwrap())]);
        if settings["train_on_prompt"] == true {
            set(&mut session, &[("train_on_prompt", "true")]);
        }
        let data = [settings["eval_dataset"].as_str().unwrap().to_string()];
        let report = session.evaluate(&data, None, Some(&adapter("cosine")), &cx).unwrap();

        let expected = case["eval_loss"].as_f64().unwrap();
        assert!((report.loss - expected).abs() <= 1e-5 * expected, "{settings}: {} for {expected}", report.loss);
        assert_eq!(report.perplexity, report.loss.exp());
        let path = output.path().join("eval_results.json");
        let (found, expected) = names(&path, case);
        assert_eq!(found, expected);
        assert_eq!(json(&path)["eval_loss"], report.loss);
        assert_eq!(json(&path), json(&output.path().join("all_results.json")));
    }
}

#[test]
fn predictions_are_written_as_they_come_under_llamafactorys_names() {
    let cancel = Cancel::default();
    let (mut session, cx) = session(&cancel);
    let output = tempfile::tempdir().unwrap();
    let output_dir = output.path().to_str().unwrap();
    set(&mut session, &[("max_new_tokens", "4"), ("output_dir", output_dir), ("per_device_eval_batch_size", "1")]);
    let reference = &reference()["predict"];
    let expected = reference["lines"].as_array().unwrap();
    let file = output.path().join("generated_predictions.jsonl");
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let data = ["creatures".to_string()];
    let mut predictions = Vec::new();
    let mut hear = |prediction: &tunebook_engine::report::Prediction| {
        predictions.push(prediction.clone());
        assert_eq!(lines().len(), predictions.len());
    };
    let report = session.predict(&data, Some(expected.len()), Some(&adapter("cosine")), &mut hear, &cx).unwrap();

    assert_eq!((report.done, report.total), (expected.len(), expected.len()));
    for ((line, expected), prediction) in lines().iter().zip(expected).zip(&predictions) {
        assert_eq!((&line["prompt"], &line["label"]), (&expected["prompt"], &expected["label"]));
        assert_eq!(line["predict"], prediction.predict);
    }
    let path = output.path().join("predict_results.json");
    let (found, expected) = names(&path, reference);
    assert_eq!(found, expected);
    assert_eq!(json(&path)["predict_bleu-4"], report.scores.bleu_4);

    // What is evaluated later stands beside it.
    session.evaluate(&data, Some(2), None, &cx).unwrap();
    let all = json(&output.path().join("all_results.json"));
    assert!(all.get("eval_loss").is_some() && all.get("predict_rouge-l").is_some());
}

#[test]
fn a_stop_keeps_the_predictions_that_are_whole() {
    let cancel = Cancel::default();
    let (mut session, cx) = session(&cancel);
    let output = tempfile::tempdir().unwrap();
    let output_dir = output.path().to_str().unwrap();
    set(&mut session, &[("max_new_tokens", "4"), ("output_dir", output_dir), ("per_device_eval_batch_size", "1")]);
    let mut hear = |prediction: &tunebook_engine::report::Prediction| {
        if prediction.index == 1 {
            cancel.cancel();
        }
    };
    let report = session.predict(&["creatures".to_string()], None, None, &mut hear, &cx).unwrap();
    assert_eq!((report.done, report.total), (2, 21));
    let text = std::fs::read_to_string(output.path().join("generated_predictions.jsonl")).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(!output.path().join("predict_results.json").exists());
}

#[test]
fn held_out_samples_are_evaluated_and_without_them_the_training_samples_with_a_note() {
    let cancel = Cancel::default();
    let (mut session, quiet) = session(&cancel);
    let notes = Mutex::new(Vec::new());
    let emit = |event| {
        if let Event::Note(note) = event {
            notes.lock().unwrap().push(note);
        }
    };
    let cx = Context { emit: &emit, cancel: &cancel };
    assert!(session.evaluate(&[], None, None, &cx).unwrap_err().to_string().starts_with("no dataset is selected"));
    session.data(&["creatures".to_string()], &quiet).unwrap();
    let report = session.evaluate(&[], Some(3), None, &cx).unwrap();
    assert_eq!((report.samples.as_str(), report.done, report.adapter.as_str()), ("creatures", 3, "base"));
    let note = notes.lock().unwrap().pop().unwrap().localize(Lang::En);
    assert!(note.contains("val_size") && note.contains("using the training samples"), "{note}");

    set(&mut session, &[("val_size", "5")]);
    session.data(&["creatures".to_string()], &quiet).unwrap();
    session.lora(Some("fresh"), &quiet).unwrap();
    let report = session.evaluate(&[], None, None, &cx).unwrap();
    assert_eq!((report.samples.as_str(), report.held_out, report.done), ("creatures", true, 5));
    // A new adapter changes nothing yet.
    assert_eq!(report.adapter, "fresh");
    assert_eq!(report.loss, session.evaluate(&[], None, Some("base"), &cx).unwrap().loss);
    assert!(notes.lock().unwrap().is_empty());
    let error = session.evaluate(&[], None, Some("frsh"), &cx).unwrap_err().to_string();
    assert!(error.contains("did you mean `fresh`?"), "{error}");
}

#[test]
fn comparing_asks_every_adapter_what_chat_would_answer() {
    let cancel = Cancel::default();
    let (mut session, cx) = session(&cancel);
    set(&mut session, &[("do_sample", "false"), ("max_new_tokens", "12"), ("repetition_penalty", "1")]);
    let (question, images) = ("What is it?", [fixture("pictures/wide.png")]);
    assert!(session.compare(question, &images, &[], &cx).unwrap_err().to_string().contains("no adapter to compare"));
    session.adapter_load(Path::new(&adapter("cosine")), Some("cosine")).unwrap();
    session.adapter_load(Path::new(&adapter("linear_warmup")), Some("warm")).unwrap();
    session.chat("Hello!", &[], &cx).unwrap();

    // The answers are heard as they are made, each under its name.
    let heard = Mutex::new(Vec::<(String, String)>::new());
    let emit = |event| {
        let mut heard = heard.lock().unwrap();
        match event {
            Event::Answering(name) => heard.push((name, String::new())),
            Event::Text(piece) => heard.last_mut().unwrap().1 += &piece,
            _ => {}
        }
    };
    let report = session.compare(question, &images, &[], &Context { emit: &emit, cancel: &cancel }).unwrap();
    let told = report.answers.iter().map(|answer| (answer.name.clone(), answer.report.text.clone()));
    assert_eq!(heard.into_inner().unwrap(), told.collect::<Vec<_>>());
    let answers: Vec<_> = report.answers.iter().map(|a| (a.name.as_str(), a.report.text.as_str())).collect();
    assert_eq!(answers.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["base", "cosine", "warm"]);
    assert_eq!(session.status().turns, 1);
    for (name, answer) in &answers {
        session.chat_clear();
        match *name {
            "base" => session.adapter_off().unwrap(),
            name => drop(session.adapter_use(name).unwrap()),
        }
        assert_eq!(session.chat(question, &images, &cx).unwrap().text, *answer, "{name}");
    }
    assert!(answers[0].1 != answers[1].1 && answers[1].1 != answers[2].1, "the adapters change nothing");

    let named = [adapter("two_pictures")];
    let report = session.compare(question, &images, &named, &cx).unwrap();
    assert_eq!(report.answers.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["base", named[0].as_str()]);
}

#[test]
fn every_stop_token_of_the_model_ends_answers_and_predictions() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("tiny")).unwrap().map(|entry| entry.unwrap().path()) {
        std::fs::copy(&entry, folder.path().join(entry.file_name().unwrap())).unwrap();
    }
    // Whatever it says, it has said enough.
    let every: Vec<u32> = (0..1280).collect();
    let config = serde_json::json!({"do_sample": false, "eos_token_id": every});
    std::fs::write(folder.path().join("generation_config.json"), config.to_string()).unwrap();
    let cancel = Cancel::default();
    let (mut session, cx) = session(&cancel);
    session.load(folder.path(), &cx).unwrap();
    session.data(&["creatures".to_string()], &cx).unwrap();
    let mut texts = Vec::new();
    let report = session.predict(&[], Some(2), None, &mut |made| texts.push(made.predict.clone()), &cx).unwrap();
    assert_eq!((report.new_tokens, report.cut, texts), (0, 0, vec![String::new(); 2]));
    let answer = session.chat("Hello!", &[], &cx).unwrap();
    assert_eq!((answer.new_tokens, answer.end), (0, AnswerEnd::EndOfTurn));
}
