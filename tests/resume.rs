//! A training that was stopped, killed and gone on with in another process ends with the very bits that it would have
//! ended with.

use std::path::Path;
use std::time::Duration;

use candle_core::DType;
use candle_core::Device;
use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::report::TrainEnd;

use crate::binary::tunebook;
use crate::fixtures::fixture;
use crate::fixtures::tiny_with;

pub(crate) type Start = fn(&mut Session, &Context);

pub(crate) const LORA: Start = |session, cx| drop(session.lora(None, cx).unwrap());
pub(crate) const FREEZE: Start = |session, _| drop(session.freeze(None).unwrap());
pub(crate) const FULL: Start = |session, _| drop(session.full(None).unwrap());

/// 12 samples in micro-batches of 2 and windows of 4: an epoch is a window of 4 micro-batches and one of 2.
const COMMON: [(&str, &str); 11] = [
    ("cutoff_len", "512"),
    ("max_samples", "12"),
    ("per_device_train_batch_size", "2"),
    ("gradient_accumulation_steps", "4"),
    ("learning_rate", "0.001"),
    ("num_train_epochs", "3"),
    ("warmup_steps", "2"),
    ("weight_decay", "0.1"),
    ("logging_steps", "2"),
    ("save_steps", "2"),
    ("lora_rank", "4"),
];

/// A session on a model with the data, some settings, and something to train.
pub(crate) fn session(model: &Path, output: &Path, start: Start, settings: &[(&str, &str)], cx: &Context) -> Session {
    let mut session = Session::default();
    let mut chosen = session.settings().clone();
    let places = [("dataset_dir", fixture("train")), ("output_dir", output.to_path_buf())];
    for (key, place) in &places {
        chosen.set(key, place.to_str().unwrap()).unwrap();
    }
    COMMON.iter().chain(settings).for_each(|(key, value)| chosen.set(key, value).unwrap());
    session.set(chosen);
    session.load(model, cx).unwrap();
    session.data(&["creatures".to_string()], cx).unwrap();
    start(&mut session, cx);
    session
}

/// A session that goes on in another process, which knows nothing but the model and the folder.
fn resumed(model: &Path, output: &Path, cx: &Context) -> Session {
    let mut session = Session::default();
    session.load(model, cx).unwrap();
    session.resume(Some(output), &|_| false, cx).unwrap();
    session
}

pub(crate) fn files(folder: &Path, names: &[&str]) -> Vec<Vec<u8>> {
    let there = names.iter().map(|name| folder.join(name)).filter(|path| path.exists());
    there.map(|path| std::fs::read(path).unwrap()).collect()
}

/// The log without what depends on the clock.
pub(crate) fn log(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("trainer_log.jsonl")).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &mut lines {
        line.as_object_mut()
            .unwrap()
            .retain(|key, _| !["elapsed_time", "remaining_time", "throughput"].contains(&key.as_str()));
    }
    lines
}

/// Trains to the end, once without a stop, and once with a stop after the second of four micro-batches of step 3.
fn check(name: &str, model: &Path, start: Start, settings: &[(&str, &str)]) {
    // Not enough for the micro-batches of a step to go through the model together.
    let little = [("memory", "0.105")];
    let settings = &[settings, &little].concat();
    let place = tempfile::tempdir().unwrap();
    let (whole, parts) = (place.path().join("whole"), place.path().join("parts"));
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let report = session(model, &whole, start, settings, &quiet).train(None, &quiet).unwrap();
    assert_eq!((report.end, report.step), (TrainEnd::Finished, 6), "{name}");

    let emit = |event| {
        if matches!(event, Event::MicroBatch { step: 3, done: 2.0, .. }) {
            cancel.cancel();
        }
    };
    let cx = Context { emit: &emit, cancel: &cancel };
    let report = session(model, &parts, start, settings, &quiet).train(None, &cx).unwrap();
    assert_eq!((report.end, report.step), (TrainEnd::Interrupted, 2), "{name}");
    cancel.reset();
    let mut session = resumed(model, &parts, &quiet);
    // It belongs to the machine, and a checkpoint does not tell.
    let mut chosen = session.settings().clone();
    little.iter().for_each(|(key, value)| chosen.set(key, value).unwrap());
    session.set(chosen);
    let status = session.status();
    assert_eq!((status.step, status.total_steps), (2, 6), "{name}");
    assert_eq!(session.train(None, &quiet).unwrap().steps, 4);

    let learned = ["adapter_model.safetensors", "adapter_config.json", "trained_weights.safetensors"];
    let found = files(&parts, &learned);
    assert!(!found.is_empty() && found == files(&whole, &learned), "{name}: what was learned differs");
    let last = |folder: &Path| files(&folder.join("checkpoint-6"), &["optimizer.safetensors"]);
    assert!(last(&parts).len() == 1 && last(&parts) == last(&whole), "{name}: the optimizer's state differs");
    assert_eq!(log(&parts), log(&whole), "{name}");
}

/// The micro-batches of a step go through the model together, forwards and backwards.
#[test]
fn what_is_stopped_on_its_way_through_the_model_is_made_again() {
    // All micro-batches of a step go through the model together, or where there is dropout, each by itself.
    stopped_on_its_way("0", [(3, 0.5), (3, 2.0), (5, 1.0)]);
    stopped_on_its_way("0.3", [(3, 0.3), (3, 0.9), (5, 0.6)]);
}

/// Stops in steps, each after so much of its micro-batches.
fn stopped_on_its_way(dropout: &str, stops: [(usize, f64); 3]) {
    let place = tempfile::tempdir().unwrap();
    let (whole, parts) = (place.path().join("whole"), place.path().join("parts"));
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let settings = [("lora_dropout", dropout), ("save_strategy", "no")];
    session(&fixture("tiny"), &whole, LORA, &settings, &quiet).train(None, &quiet).unwrap();

    let mut session = session(&fixture("tiny"), &parts, LORA, &settings, &quiet);
    for (stop_at, through) in stops {
        let emit = |event| {
            if let Event::MicroBatch { step, done, .. } = event {
                assert!(!cancel.is_cancelled(), "step {step} went on to {done} micro-batches");
                if step == stop_at && done > through {
                    cancel.cancel();
                }
            }
        };
        let report = session.train(None, &Context { emit: &emit, cancel: &cancel }).unwrap();
        assert_eq!((report.end, report.step), (TrainEnd::Interrupted, stop_at - 1), "{through}");
        cancel.reset();
    }
    assert_eq!(session.train(None, &quiet).unwrap().end, TrainEnd::Finished);
    let learned = ["adapter_model.safetensors"];
    let found = files(&parts, &learned);
    assert!(found.len() == 1 && found == files(&whole, &learned), "what was learned differs");
}

#[test]
fn lora_with_dropout_and_noise() {
    check("lora", &fixture("tiny"), LORA, &[("lora_dropout", "0.3"), ("neftune_noise_alpha", "5")]);
}

#[test]
fn loraplus_and_a_module_to_save() {
    let settings = [("loraplus_lr_ratio", "16"), ("additional_target", "norm"), ("lr_scheduler_type", "polynomial")];
    check("loraplus", &fixture("tiny"), LORA, &settings);
}

#[test]
fn dora() {
    check("dora", &fixture("tiny"), LORA, &[("use_dora", "true"), ("lora_dropout", "0.1")]);
}

/// The file of a PiSSA adapter has another alpha, which is no short number with rsLoRA.
#[test]
fn pissa_with_rslora() {
    let settings = [("pissa_init", "true"), ("use_rslora", "true"), ("lora_alpha", "7"), ("learning_rate", "1e-4")];
    check("pissa", &fixture("tiny"), LORA, &settings);
}

#[test]
fn a_vision_tower_that_trains() {
    check("vision", &fixture("tiny"), LORA, &[("freeze_vision_tower", "false")]);
}

#[test]
fn packs() {
    let settings = [
        ("packing", "true"),
        ("max_samples", "21"),
        ("cutoff_len", "300"),
        ("per_device_train_batch_size", "1"),
        ("lora_dropout", "0.1"),
        ("max_steps", "6"),
    ];
    check("packs", &fixture("tiny"), LORA, &settings);
}

#[test]
fn a_plateau_that_follows_evaluations() {
    let settings = [
        ("val_size", "3"),
        ("max_samples", "15"),
        ("eval_steps", "1"),
        ("lr_scheduler_type", "reduce_lr_on_plateau"),
        ("lr_scheduler_kwargs", "patience:0,factor:0.5,threshold:0.5"),
    ];
    check("plateau", &fixture("tiny"), LORA, &settings);
}

#[test]
fn freeze() {
    check("freeze", &fixture("tiny"), FREEZE, &[("freeze_trainable_layers", "1"), ("learning_rate", "1e-4")]);
}

/// The weights of a bfloat16 model are trained in float32: checkpoints hold these, and the export is rounded from them
/// once.
#[test]
fn full_on_bfloat16_keeps_float32() {
    let place = tempfile::tempdir().unwrap();
    let model = place.path().join("bf16");
    round_model(&fixture("tiny"), &model);
    let settings = [("learning_rate", "1e-6"), ("warmup_steps", "0")];
    check("full", &model, FULL, &settings);

    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let output = place.path().join("out");
    let mut session = session(&model, &output, FULL, &settings, &cx);
    session.train(Some(2), &cx).unwrap();
    let checkpoint = output.join("checkpoint-2/trained_weights.safetensors");
    let trained = candle_core::safetensors::load(checkpoint, &Device::Cpu).unwrap();
    let exported = place.path().join("exported");
    session.export(&exported, None, &cx).unwrap();
    let exported = candle_core::safetensors::load(exported.join("model.safetensors"), &Device::Cpu).unwrap();
    let bits = |tensor: &candle_core::Tensor| -> Vec<f32> {
        tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    let mut finer = 0;
    for (name, master) in &trained {
        let short = name.replace("model.language_model.", "model.");
        let rounded = bits(&master.to_dtype(DType::BF16).unwrap());
        assert_eq!(bits(&exported[&short]), rounded, "{name}");
        finer += bits(master).iter().zip(&rounded).filter(|(master, rounded)| master != rounded).count();
    }
    assert!(finer > 10_000, "only {finer} weights moved by less than bfloat16 can tell");

    // What was trained is an adapter to load, too.
    session.adapter_load(&output.join("checkpoint-2"), Some("again")).unwrap();
    let loss = |session: &mut Session, name| session.evaluate(&[], Some(2), Some(name), &cx).unwrap().loss;
    assert_eq!(loss(&mut session, "again"), loss(&mut session, "default"));
    assert_ne!(loss(&mut session, "again"), loss(&mut session, "base"));
}

/// A copy of a model with its weights in bfloat16.
fn round_model(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    let mut tensors = std::collections::HashMap::new();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("safetensors") => tensors.extend(candle_core::safetensors::load(&path, &Device::Cpu).unwrap()),
            _ if path.to_str().unwrap().ends_with("index.json") => {}
            _ => drop(std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap()),
        }
    }
    tensors.values_mut().for_each(|tensor| *tensor = tensor.to_dtype(DType::BF16).unwrap());
    candle_core::safetensors::save(&tensors, to.join("model.safetensors")).unwrap();
}

#[test]
fn settings_are_taken_over_and_what_differs_is_said() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("out");
    let cancel = Cancel::default();
    let cx = Context { emit: &|_| {}, cancel: &cancel };
    let mut first = session(&fixture("tiny"), &output, LORA, &[("seed", "7"), ("save_strategy", "no")], &cx);
    first.train(Some(1), &cx).unwrap();
    assert!(resume_error(&mut first, &output, &cx).contains("contains no checkpoint"));
    let checkpoint = first.checkpoint(&cx).unwrap();
    assert_eq!(checkpoint, output.join("checkpoint-1"));

    let mut fresh = Session::default();
    let error = resume_error(&mut fresh, &output, &cx);
    assert!(error.starts_with("no model is loaded"), "{error}");
    fresh.load(&fixture("tiny"), &cx).unwrap();
    let report = fresh.resume(Some(&checkpoint), &|key| key == "learning_rate", &cx).unwrap();
    assert!(report.taken.contains(&"seed=7".to_string()), "{:?}", report.taken);
    let differing: Vec<_> =
        report.differing.iter().map(|d| (d.key.as_str(), d.then.as_str(), d.now.as_str())).collect();
    assert_eq!(differing, [("learning_rate", "0.001", "5e-5")]);
    assert_eq!((fresh.settings().seed, fresh.settings().learning_rate), (7, 5e-5));
    assert_eq!(fresh.settings().output_dir.as_deref(), Some(output.as_path()));
    assert_eq!((report.step, report.adapter.as_str(), report.data.unwrap().samples), (1, "default", 12));
    // Again, beside the first.
    assert_eq!(fresh.resume(None, &|_| false, &cx).unwrap().adapter, "default-2");

    // Other data, and another model.
    let mut settings = fresh.settings().clone();
    settings.set("max_samples", "9").unwrap();
    fresh.set(settings);
    fresh.data(&["creatures".to_string()], &cx).unwrap();
    let error = resume_error(&mut fresh, &output, &cx);
    assert!(error.contains("made with other data: 12 to train") && error.contains("max_samples=12 then"), "{error}");
    fresh.load(&fixture("tiny-nested"), &cx).unwrap();
    let error = resume_error(&mut fresh, &output, &cx);
    assert!(error.contains("made with another model"), "{error}");
    // Of the same shapes.
    let other = tiny_with(|weights| {
        let norm = weights.get_mut("model.norm.weight").unwrap();
        *norm = (&*norm * 1.01).unwrap();
    });
    fresh.load(other.path(), &cx).unwrap();
    let error = resume_error(&mut fresh, &output, &cx);
    assert!(error.contains("made with another model") && error.contains("the hash of its weights"), "{error}");
    // As it was, in other files.
    fresh.load(tiny_with(|_| {}).path(), &cx).unwrap();
    fresh.resume(Some(&output), &|_| false, &cx).unwrap();

    // An adapter alone, and a damaged file.
    first.save(&place.path().join("saved")).unwrap();
    let error = resume_error(&mut first, &place.path().join("saved"), &cx);
    assert!(error.contains("without its training state"), "{error}");
    let tensors = checkpoint.join("optimizer.safetensors");
    let bytes = std::fs::read(&tensors).unwrap();
    std::fs::write(&tensors, &bytes[..bytes.len() / 2]).unwrap();
    let error = resume_error(&mut first, &output, &cx);
    assert!(error.contains("optimizer.safetensors is corrupted"), "{error}");
    assert_eq!(first.adapters().len(), 1);
}

fn resume_error(session: &mut Session, folder: &Path, cx: &Context) -> String {
    session.resume(Some(folder), &|_| false, cx).unwrap_err().to_string()
}

/// Kills the program again and again while it writes a checkpoint, and starts it again.
#[test]
fn a_killed_training_goes_on_where_it_was() {
    let place = tempfile::tempdir().unwrap();
    let command = |output: &Path| {
        let mut command = tunebook();
        command.current_dir(fixture("")).args(["train", "train/cosine/recipe.yaml", "overwrite_output_dir=false"]);
        command.args(["save_steps=1", "save_total_limit=3", "logging_steps=1", "lora_dropout=0.1"]);
        command.arg(format!("output_dir={}", output.display())).stdout(std::process::Stdio::null());
        command
    };
    let (whole, killed) = (place.path().join("whole"), place.path().join("killed"));
    assert!(command(&whole).status().unwrap().success());

    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    };
    let last = |folder: &Path| {
        let steps =
            names(folder).into_iter().filter_map(|name| name.strip_prefix("checkpoint-")?.parse::<usize>().ok());
        steps.max().unwrap_or(0)
    };
    let (mut kills, mut unfinished) = (0, 0);
    loop {
        let before = last(&killed);
        let mut child = command(&killed).spawn().unwrap();
        // When another checkpoint is there, the next one that is being written.
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if last(&killed) > before && names(&killed).iter().any(|name| name.starts_with(".checkpoint-")) {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_micros(100));
        };
        match status {
            Some(status) => {
                assert!(status.success());
                break;
            }
            None => kills += 1,
        }
        unfinished += usize::from(names(&killed).iter().any(|name| name.ends_with(".part")));
        assert!(kills < 50, "no progress");
    }
    println!("{kills} kills, {unfinished} of them left an unfinished checkpoint");
    assert!(kills > 0);
    let learned = ["adapter_model.safetensors", "checkpoint-12/optimizer.safetensors"];
    assert!(files(&killed, &learned).len() == 2 && files(&killed, &learned) == files(&whole, &learned));
    assert_eq!(log(&killed), log(&whole));
    assert!(names(&killed).iter().all(|name| !name.ends_with(".part")), "{:?}", names(&killed));
    assert_eq!(names(&killed).iter().filter(|name| name.starts_with("checkpoint-")).count(), 3);
}
