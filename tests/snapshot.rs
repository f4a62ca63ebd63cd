//! A training that goes back to a snapshot makes the same steps again, to the bit.

use std::path::Path;

use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;

use crate::fixtures::fixture;
use crate::resume::FREEZE;
use crate::resume::FULL;
use crate::resume::LORA;
use crate::resume::Start;
use crate::resume::files;
use crate::resume::log;
use crate::resume::session;

/// What was learned, the moments, the steps and the log, as a checkpoint of now has them.
fn standing(session: &mut Session, output: &Path, cx: &Context) -> (Vec<Vec<u8>>, Vec<[f64; 4]>, Vec<Value>) {
    let checkpoint = session.checkpoint(cx).unwrap();
    let names = ["adapter_model.safetensors", "trained_weights.safetensors", "optimizer.safetensors"];
    let records = session.history().iter();
    let records = records.map(|record| [record.loss(), record.grad_norm, record.learning_rate, record.epoch]).collect();
    (files(&checkpoint, &names), records, log(output))
}

fn check(name: &str, start: Start, settings: &[(&str, &str)]) {
    // 5 epochs of 2 steps; too little memory for the micro-batches of a step to go together.
    let more = [("num_train_epochs", "5"), ("memory", "0.105"), ("eval_strategy", "steps"), ("eval_steps", "3")];
    let settings = &[settings, &more, &[("val_size", "0.25")]].concat();
    let place = tempfile::tempdir().unwrap();
    let (whole, parts) = (place.path().join("whole"), place.path().join("parts"));
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let mut undisturbed = session(&fixture("tiny"), &whole, start, settings, &quiet);
    undisturbed.train(Some(9), &quiet).unwrap();
    let expected = standing(&mut undisturbed, &whole, &quiet);
    drop(undisturbed);

    let emit = |event| {
        if matches!(event, Event::MicroBatch { step: 3, done: 1.0, .. }) {
            cancel.cancel();
        }
    };
    let stopping = Context { emit: &emit, cancel: &cancel };
    for inside in [false, true] {
        let mut session = session(&fixture("tiny"), &parts, start, settings, &quiet);
        session.train(Some(2), &quiet).unwrap();
        if inside {
            session.train(None, &stopping).unwrap();
            cancel.reset();
            assert_eq!(session.step(), 2, "{name}");
        }
        let snapshot = session.snapshot().unwrap();
        session.train(Some(7), &quiet).unwrap();
        assert!(standing(&mut session, &parts, &quiet) == expected, "{name}: the first time");
        session.restore(&snapshot).unwrap();
        assert_eq!(session.step(), 2, "{name}");
        session.train(Some(7), &quiet).unwrap();
        assert_eq!(session.keep(&quiet).unwrap().len(), 1, "{name}: what is on the disk is of the first time");
        assert!(standing(&mut session, &parts, &quiet) == expected, "{name}: the second time");
        drop(session);
        std::fs::remove_dir_all(&parts).unwrap();
    }
}

#[test]
fn a_lora_with_dropout_trains_the_same_steps_again() {
    check("LoRA", LORA, &[("lora_dropout", "0.2"), ("neftune_noise_alpha", "5")]);
}

#[test]
fn a_dora_trains_the_same_steps_again() {
    check("DoRA", LORA, &[("use_dora", "true"), ("additional_target", "lm_head")]);
}

#[test]
fn parameters_of_the_model_itself_train_the_same_steps_again() {
    check("freeze", FREEZE, &[("freeze_trainable_layers", "1")]);
    check("full", FULL, &[]);
}
