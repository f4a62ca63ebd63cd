//! Evaluation in the course of a training: what it finds, what follows from it, and that it can be stopped.

use std::path::Path;
use std::sync::Mutex;

use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::Task;
use tunebook_engine::report::TrainEnd;

use crate::fixtures::fixture;

/// 16 samples to train on and 5 to evaluate on; 8 steps.
fn session(output: Option<&Path>, settings: &[(&str, &str)], cx: &Context) -> Session {
    let mut session = Session::default();
    let mut chosen = session.settings().clone();
    chosen.set("dataset_dir", fixture("train").to_str().unwrap()).unwrap();
    chosen.output_dir = output.map(Path::to_path_buf);
    let common = [
        ("cutoff_len", "512"),
        ("val_size", "5"),
        ("per_device_train_batch_size", "2"),
        ("gradient_accumulation_steps", "2"),
        ("num_train_epochs", "2"),
        ("learning_rate", "0.005"),
        ("lora_rank", "4"),
        ("eval_steps", "3"),
        ("logging_steps", "2"),
    ];
    common.iter().chain(settings).for_each(|(key, value)| chosen.set(key, value).unwrap());
    session.set(chosen);
    session.load(&fixture("tiny"), cx).unwrap();
    session.data(&["creatures".to_string()], cx).unwrap();
    session.lora(None, cx).unwrap();
    session
}

fn found(session: &Session) -> Vec<(usize, f64)> {
    session.evaluations().iter().map(|record| (record.step, record.loss)).collect()
}

fn losses(session: &Session) -> Vec<f64> {
    session.history().iter().map(|record| record.loss()).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn it_finds_what_evaluate_finds_and_changes_nothing() {
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let heard = Mutex::new(Vec::new());
    let emit = |event| {
        if let Event::Evaluated(record) = event {
            heard.lock().unwrap().push((record.step, record.loss));
        }
    };
    let cx = Context { emit: &emit, cancel: &cancel };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let mut evaluating = session(Some(&output), &[], &quiet);
    for steps in [3, 3, 2] {
        evaluating.train(Some(steps), &cx).unwrap();
        let last = found(&evaluating).pop().unwrap();
        assert_eq!(last, (evaluating.history().len(), evaluating.evaluate(&[], None, None, &quiet).unwrap().loss));
    }
    // At the end, too, as transformers does.
    assert_eq!(found(&evaluating).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [3, 6, 8]);
    assert_eq!(*heard.lock().unwrap(), found(&evaluating));

    let log = std::fs::read_to_string(output.join("trainer_log.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let logged: Vec<_> =
        lines.iter().map(|line| (line["current_steps"].as_u64().unwrap(), line["eval_loss"].as_f64())).collect();
    let expected: Vec<_> = found(&evaluating).into_iter().map(|(_, loss)| Some(loss)).collect();
    let steps = [(2, None), (3, expected[0]), (4, None), (6, None), (6, expected[1]), (8, None), (8, expected[2])];
    assert_eq!(logged, steps);
    let state: Value = serde_json::from_slice(&std::fs::read(output.join("trainer_state.json")).unwrap()).unwrap();
    assert_eq!(state["log_history"][1]["eval_loss"].as_f64(), expected[0]);
    for file in ["training_eval_loss.png", "eval_results.json"] {
        assert!(output.join(file).exists(), "{file}");
    }

    let mut plain = session(None, &[("eval_strategy", "no")], &quiet);
    plain.train(None, &quiet).unwrap();
    assert_eq!(losses(&plain), losses(&evaluating));
    let mut by_epoch = session(None, &[("eval_strategy", "epoch")], &quiet);
    by_epoch.train(None, &quiet).unwrap();
    assert_eq!(found(&by_epoch).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [4, 8]);
}

#[test]
fn a_stop_within_an_evaluation_loses_nothing() {
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let mut whole = session(None, &[], &quiet);
    whole.train(None, &quiet).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let emit = |event| {
        if matches!(event, Event::Progress { task: Task::Evaluating, done: 2, .. }) {
            cancel.cancel();
        }
    };
    let mut stopped = session(Some(folder.path()), &[], &quiet);
    let report = stopped.train(None, &Context { emit: &emit, cancel: &cancel }).unwrap();
    assert_eq!((report.end, report.step, found(&stopped).len()), (TrainEnd::Interrupted, 3, 0));
    cancel.reset();
    // Here, and from the checkpoint that the stop has left.
    let mut resumed = Session::default();
    resumed.load(&fixture("tiny"), &quiet).unwrap();
    resumed.resume(Some(folder.path()), &|_| false, &quiet).unwrap();
    for session in [&mut stopped, &mut resumed] {
        session.train(None, &quiet).unwrap();
        assert_eq!((found(session), losses(session)), (found(&whole), losses(&whole)));
    }
}

#[test]
fn it_stops_early_and_ends_with_the_best() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let folder = tempfile::tempdir().unwrap();
    // So high a rate does harm.
    let settings = [
        ("learning_rate", "0.3"),
        ("lr_scheduler_type", "constant"),
        ("num_train_epochs", "20"),
        ("eval_steps", "1"),
        ("early_stopping_steps", "3"),
        ("load_best_model_at_end", "true"),
        ("save_total_limit", "2"),
    ];
    let mut session = session(Some(folder.path()), &settings, &cx);
    let report = session.train(None, &cx).unwrap();
    let best = report.best.unwrap();
    assert_eq!((report.end, report.step), (TrainEnd::StoppedEarly, best.step + 3), "{:?}", found(&session));
    assert!(found(&session).iter().all(|(_, loss)| *loss >= best.eval_loss));
    let checkpoint = folder.path().join(format!("checkpoint-{}", best.step));
    assert_eq!((best.checkpoint.as_deref(), best.loaded), (Some(checkpoint.as_path()), true));
    // The adapter of then, in the session and in the folder.
    assert_eq!(session.evaluate(&[], None, None, &cx).unwrap().loss, best.eval_loss);
    let adapter = |folder: &Path| std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
    assert!(adapter(folder.path()) == adapter(&checkpoint));
    let state: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("trainer_state.json")).unwrap()).unwrap();
    assert_eq!(state["best_model_checkpoint"], checkpoint.to_str().unwrap());
    assert!(names(folder.path()).iter().filter(|name| name.starts_with("checkpoint-")).count() <= 2);
}

#[test]
fn checkpoints_come_as_the_strategy_says_and_the_oldest_go() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    for (settings, expected) in [
        (&[("save_steps", "3")][..], &["checkpoint-3", "checkpoint-6", "checkpoint-8"][..]),
        (&[("save_steps", "2"), ("save_total_limit", "2")], &["checkpoint-6", "checkpoint-8"]),
        (&[("save_strategy", "epoch")], &["checkpoint-4", "checkpoint-8"]),
        (&[("save_strategy", "no")], &[]),
        // With this rate the loss falls at every evaluation.
        (&[("save_strategy", "best"), ("save_total_limit", "1")], &["checkpoint-8"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        session(Some(folder.path()), settings, &cx).train(None, &cx).unwrap();
        let found: Vec<_> = names(folder.path()).into_iter().filter(|name| name.starts_with("checkpoint-")).collect();
        assert_eq!(found, expected, "{settings:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    session(Some(folder.path()), &[("save_only_model", "true")], &cx).train(None, &cx).unwrap();
    assert_eq!(
        names(&folder.path().join("checkpoint-8")),
        ["adapter_config.json", "adapter_model.safetensors", "trainer_state.json"]
    );
}

#[test]
fn what_cannot_be_followed_is_refused_before_the_first_step() {
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    for (settings, expected) in [
        (&[("early_stopping_steps", "2"), ("val_size", "0")][..], "early_stopping_steps needs evaluations"),
        (&[("load_best_model_at_end", "true")], "load_best_model_at_end needs checkpoints: set output_dir"),
        (&[("lr_scheduler_type", "reduce_lr_on_plateau"), ("eval_strategy", "no")], "reduce_lr_on_plateau needs"),
        (&[("lr_scheduler_type", "cosine_with_min_lr")], "needs either min_lr or min_lr_rate"),
    ] {
        let error = session(None, settings, &cx).train(Some(1), &cx).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
