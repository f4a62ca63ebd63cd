//! Going back in a training and forward again: whatever was undone, what follows has the bits of a training that was not.

use std::collections::HashMap;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Error;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::report::TrainEnd;

use crate::fixtures::fixture;
use crate::resume::FREEZE;
use crate::resume::FULL;
use crate::resume::LORA;
use crate::resume::Start;
use crate::resume::files;
use crate::resume::log;
use crate::resume::session;

/// 12 epochs of 2 steps; too little memory for the micro-batches of a step to go together.
const COMMON: [(&str, &str); 7] = [
    ("num_train_epochs", "12"),
    ("memory", "0.105"),
    ("eval_strategy", "steps"),
    ("eval_steps", "5"),
    ("save_steps", "5"),
    ("val_size", "0.25"),
    ("plot_loss", "true"),
];

/// What was learned, the moments, the steps, the log and the plot, as the output folder has them after the last step.
#[derive(PartialEq)]
struct Left {
    learned: Vec<Vec<u8>>,
    moments: Vec<Vec<u8>>,
    records: Vec<[u64; 4]>,
    log: Vec<Value>,
    plots: Vec<Vec<u8>>,
    checkpoints: Vec<String>,
}

impl Left {
    fn of(session: &Session, output: &Path) -> Self {
        let learned = ["adapter_model.safetensors", "trained_weights.safetensors"];
        let step = session.step();
        let moments = files(&output.join(format!("checkpoint-{step}")), &["optimizer.safetensors"]);
        let numbers = |record: &tunebook_engine::report::StepRecord| {
            [record.loss(), record.grad_norm, record.learning_rate, record.epoch].map(f64::to_bits)
        };
        Self {
            learned: files(output, &learned),
            moments,
            records: session.history().iter().map(numbers).collect(),
            log: log(output),
            plots: files(output, &["training_loss.png", "training_eval_loss.png"]),
            checkpoints: checkpoints(output),
        }
    }
}

fn checkpoints(output: &Path) -> Vec<String> {
    let names = std::fs::read_dir(output).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("checkpoint-")).collect();
    names.sort();
    names
}

/// Trains to the end without a stop, and again with steps undone on the way: after whole steps, within a window, and after
/// a resume.
fn check(name: &str, start: Start, settings: &[(&str, &str)]) {
    let settings = &[settings, &COMMON].concat();
    let place = tempfile::tempdir().unwrap();
    // In one place after the other: plots have it in their titles.
    let output = place.path().join("out");
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let mut undisturbed = session(&fixture("tiny"), &output, start, settings, &quiet);
    let report = undisturbed.train(None, &quiet).unwrap();
    assert_eq!((report.end, report.step), (TrainEnd::Finished, 24), "{name}");
    let expected = Left::of(&undisturbed, &output);
    assert!(expected.moments.len() == 1 && !expected.learned.is_empty() && !expected.plots.is_empty(), "{name}");
    drop(undisturbed);
    std::fs::remove_dir_all(&output).unwrap();

    let mut session = session(&fixture("tiny"), &output, start, settings, &quiet);
    session.train(Some(20), &quiet).unwrap();
    let undone = session.undo(Some(13), &quiet).unwrap();
    assert_eq!((undone.from, undone.step, session.step()), (20, 7, 7), "{name}");
    assert!(undone.replayed < 10 && undone.can_redo && undone.differing.is_empty(), "{name}");
    assert_eq!(checkpoints(&output), ["checkpoint-5"], "{name}: the future is set aside");
    assert!(log(&output).iter().all(|line| line["current_steps"].as_u64() <= Some(7)), "{name}");
    session.train(Some(13), &quiet).unwrap();

    // Within a window: a micro-batch of step 21 is made.
    let emit = |event| {
        if matches!(event, Event::MicroBatch { step: 21, done: 1.0, .. }) {
            cancel.cancel();
        }
    };
    session.train(None, &Context { emit: &emit, cancel: &cancel }).unwrap();
    cancel.reset();
    assert_eq!(session.step(), 20, "{name}");
    session.train(None, &quiet).unwrap();
    assert!(Left::of(&session, &output) == expected, "{name}: steps were undone");
    let undone = session.undo(None, &quiet).unwrap();
    assert_eq!((undone.step, undone.open_micro_batches), (20, 1), "{name}: back into the window");
    assert!(!output.join("training_loss.png").exists(), "{name}: the results are of a later step");
    session.train(None, &quiet).unwrap();
    assert!(Left::of(&session, &output) == expected, "{name}: back in a window");

    session.undo(Some(24), &quiet).unwrap();
    assert_eq!((session.step(), checkpoints(&output).len()), (0, 0), "{name}");
    session.redo().unwrap();
    assert!(Left::of(&session, &output) == expected, "{name}: forward again");
    drop(session);

    let mut session = Session::default();
    session.load(&fixture("tiny"), &quiet).unwrap();
    session.resume(Some(&output.join("checkpoint-10")), &|_| false, &quiet).unwrap();
    let mut chosen = session.settings().clone();
    chosen.set("memory", "0.105").unwrap();
    session.set(chosen);
    session.train(Some(12), &quiet).unwrap();
    assert!(matches!(session.undo(Some(13), &quiet), Err(Error::StepNotKept { step: 9, first: 10 })), "{name}");
    session.undo(Some(9), &quiet).unwrap();
    session.train(None, &quiet).unwrap();
    assert!(Left::of(&session, &output) == expected, "{name}: after a resume");
}

#[test]
fn a_lora_with_dropout_makes_the_same_steps_again() {
    check("LoRA", LORA, &[("lora_dropout", "0.2"), ("neftune_noise_alpha", "5")]);
}

#[test]
fn a_dora_makes_the_same_steps_again() {
    check("DoRA", LORA, &[("use_dora", "true"), ("additional_target", "lm_head")]);
}

#[test]
fn a_pissa_makes_the_same_steps_again() {
    check("PiSSA", LORA, &[("pissa_init", "true"), ("pissa_iter", "-1")]);
}

#[test]
fn parameters_of_the_model_itself_make_the_same_steps_again() {
    check("freeze", FREEZE, &[("freeze_trainable_layers", "1")]);
    check("full", FULL, &[]);
}

#[test]
fn a_schedule_that_follows_evaluations_makes_the_same_steps_again() {
    check("plateau", LORA, &[("lr_scheduler_type", "reduce_lr_on_plateau"), ("eval_steps", "2")]);
}

#[test]
fn packed_samples_are_trained_on_again() {
    let place = tempfile::tempdir().unwrap();
    let quiet = Context { emit: &|_| {}, cancel: &Cancel::default() };
    let settings = [("packing", "true"), ("num_train_epochs", "24"), ("memory", "0.2")];
    let [whole, output] = ["whole", "output"].map(|name| place.path().join(name));
    let mut undisturbed = session(&fixture("tiny"), &whole, LORA, &settings, &quiet);
    undisturbed.train(Some(20), &quiet).unwrap();
    let mut session = session(&fixture("tiny"), &output, LORA, &settings, &quiet);
    session.train(Some(20), &quiet).unwrap();
    session.undo(Some(13), &quiet).unwrap();
    session.train(Some(13), &quiet).unwrap();
    assert_eq!(learned(&session), learned(&undisturbed));
}

#[test]
fn a_stop_leaves_the_training_where_it_was() {
    let place = tempfile::tempdir().unwrap();
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = session(&fixture("tiny"), place.path(), LORA, &COMMON, &quiet);
    session.train(Some(9), &quiet).unwrap();
    let before = learned(&session);
    let emit = |event| {
        if matches!(event, Event::Progress { done: 1, .. }) {
            cancel.cancel();
        }
    };
    let stopped = session.undo(Some(3), &Context { emit: &emit, cancel: &cancel });
    assert!(matches!(stopped, Err(Error::Cancelled)));
    cancel.reset();
    assert_eq!((session.step(), learned(&session)), (9, before));
    assert!(matches!(session.redo(), Err(Error::NothingToRedo)));
    assert!(matches!(session.undo(Some(10), &quiet), Err(Error::NotSoManySteps { made: 9 })));
}

/// The bits of the active adapter and of its records.
fn learned(session: &Session) -> (Vec<u32>, Vec<u64>) {
    let values = session.tensors(None).unwrap().into_iter().flat_map(|tensor| tensor.values);
    let records = session.history().iter().flat_map(|record| [record.loss(), record.grad_norm, record.learning_rate]);
    (values.map(f32::to_bits).collect(), records.map(f64::to_bits).collect())
}

/// The learning rates of a training's steps, in ten-thousandths, which are all that its bits depend on here.
type Past = Vec<u32>;

fn set_rate(session: &mut Session, rate: u32) {
    let mut settings = session.settings().clone();
    settings.learning_rate = f64::from(rate) * 1e-4;
    session.set(settings);
}

/// Random sequences of `train`, `undo`, `redo`, `branch`, `adapter use` and `set`: the adapter is always what its past makes
/// of it, however the session came there.
#[test]
fn whatever_is_undone_an_adapter_is_what_its_steps_have_made_of_it() {
    let place = tempfile::tempdir().unwrap();
    let quiet = Context { emit: &|_| {}, cancel: &Cancel::default() };
    let settings = [
        ("lora_dropout", "0.2"),
        ("gradient_accumulation_steps", "1"),
        ("max_samples", "6"),
        ("num_train_epochs", "1000"),
        ("lr_scheduler_type", "constant"),
        ("save_strategy", "no"),
    ];
    for seed in 0..2 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut choose = |of: usize| random.next_u32() as usize % of;
        let new = || {
            let mut session = session(&fixture("tiny"), &place.path().join("out"), LORA, &settings, &quiet);
            let mut settings = session.settings().clone();
            settings.output_dir = None;
            session.set(settings);
            session
        };
        let mut session = new();
        let mut rate = 10;
        set_rate(&mut session, rate);
        // Each with its name, its past, and what `redo` goes forward to.
        let mut adapters: Vec<(String, Past, Vec<Past>)> = vec![("default".to_string(), Vec::new(), Vec::new())];
        let mut active = 0;
        let mut seen: HashMap<Past, (Vec<u32>, Vec<u64>)> = HashMap::new();
        for turn in 0..200 {
            let count = adapters.len();
            let (_, past, undone) = &mut adapters[active];
            match choose(8) {
                0..=2 if past.len() < 25 => {
                    let steps = 1 + choose(4);
                    session.train(Some(steps), &quiet).unwrap();
                    past.extend(std::iter::repeat_n(rate, steps));
                    undone.clear();
                }
                3 | 4 if !past.is_empty() => {
                    let steps = 1 + choose(past.len().min(12));
                    match session.undo(Some(steps), &quiet) {
                        Ok(report) => {
                            assert_eq!(report.step, past.len() - steps);
                            undone.push(past.clone());
                            past.truncate(report.step);
                        }
                        Err(error) => panic!("seed {seed}, turn {turn}: {error}"),
                    }
                }
                5 => match (undone.pop(), session.redo()) {
                    (Some(before), Ok(_)) => *past = before,
                    (None, Err(Error::NothingToRedo)) => {}
                    (expected, found) => panic!("seed {seed}, turn {turn}: {expected:?} {:?}", found.map(|_| ())),
                },
                6 if count < 5 => {
                    let at = choose(past.len() + 1);
                    let (name, past) = (format!("branch-{turn}"), past[..at].to_vec());
                    session.branch(&name, Some(at), &quiet).unwrap();
                    active = count;
                    adapters.push((name, past, Vec::new()));
                }
                6 => {
                    active = choose(count);
                    session.adapter_use(&adapters[active].0).unwrap();
                }
                _ => {
                    rate = 1 + choose(20) as u32;
                    set_rate(&mut session, rate);
                }
            }
            let past = &adapters[active].1;
            assert_eq!(session.step(), past.len(), "seed {seed}, turn {turn}");
            let now = learned(&session);
            assert!(*seen.entry(past.clone()).or_insert_with(|| now.clone()) == now, "seed {seed}, turn {turn}");
        }
        // What nobody has disturbed.
        for (_, past, _) in &adapters {
            let mut undisturbed = new();
            for rate in past {
                set_rate(&mut undisturbed, *rate);
                undisturbed.train(Some(1), &quiet).unwrap();
            }
            assert!(learned(&undisturbed) == seen[past], "seed {seed}: {past:?}");
        }
    }
}

#[test]
fn a_branch_goes_on_by_itself_and_its_parent_stays() {
    let place = tempfile::tempdir().unwrap();
    let quiet = Context { emit: &|_| {}, cancel: &Cancel::default() };
    let output = place.path().join("out");
    let mut session = session(&fixture("tiny"), &output, LORA, &COMMON, &quiet);
    session.train(Some(10), &quiet).unwrap();
    let parent = learned(&session);
    let branch = session.branch("other", Some(6), &quiet).unwrap();
    let from = branch.parent.unwrap();
    assert_eq!((branch.step, from.adapter.as_str(), from.step), (6, "default", 6));
    session.train(Some(4), &quiet).unwrap();
    assert!(learned(&session) == parent, "the same settings make the same steps");
    assert_eq!(checkpoints(&output.join("other")), ["checkpoint-10"]);
    set_rate(&mut session, 1);
    session.train(Some(4), &quiet).unwrap();
    session.adapter_use("default").unwrap();
    assert!(learned(&session) == parent, "its branch has moved it");
    assert_eq!(checkpoints(&output), ["checkpoint-10", "checkpoint-5"]);
    assert!(matches!(session.branch("other", None, &quiet), Err(Error::AdapterExists { .. })));
    assert!(matches!(session.branch("late", Some(11), &quiet), Err(Error::NotSoManySteps { made: 10 })));
    // A branch of a branch is one of its parent, where that is dropped.
    session.adapter_use("other").unwrap();
    session.branch("third", None, &quiet).unwrap();
    session.adapter_drop("other").unwrap();
    let third = session.adapters().into_iter().find(|adapter| adapter.name == "third").unwrap();
    assert_eq!(third.parent.map(|parent| (parent.adapter, parent.step)), Some(("default".to_string(), 6)));
}
