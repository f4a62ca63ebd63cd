//! What a session makes of data sets: which samples it holds back, what it packs, and the positions of their tokens
//! (`reference/encode_collator.py`: LLaMA-Factory's own collator).

use std::path::Path;

use candle_core::Device;
use serde_json::Value;
use serde_json::json;
use tunebook_data::DatasetInfo;
use tunebook_data::DatasetReader;
use tunebook_data::EncodeOptions;
use tunebook_data::Encoded;
use tunebook_data::Encoder;
use tunebook_data::Template;
use tunebook_data::pack;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Session;
use tunebook_engine::Split;
use tunebook_engine::model::Model;
use tunebook_engine::report::DataReport;
use tunebook_engine::settings::Dtype;

use crate::fixtures::fixture;

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(path)).unwrap()).unwrap()
}

/// The samples of a data set in `fixtures/train` as the tiny model learns them.
fn encoded(model: &Model, name: &str, cutoff_len: usize) -> Vec<Encoded> {
    let folder = fixture("train");
    let entry = DatasetInfo::read(&folder).unwrap().entry(name).unwrap();
    let rows = DatasetReader::new(&folder, &folder, None, 42).read(&entry).unwrap();
    let encoder = Encoder {
        tokenizer: &model.tokenizer,
        template: Template::qwen2_vl(),
        processor: &model.processor,
        options: EncodeOptions { cutoff_len, ..EncodeOptions::default() },
    };
    rows.into_iter().map(|row| encoder.encode(&row.unwrap()).unwrap().unwrap()).collect()
}

#[test]
fn tokens_and_positions_are_those_of_llamafactorys_collator() {
    let model = Model::load(&fixture("tiny"), Dtype::Float32, Device::Cpu).unwrap();
    let reference = json("encode/positions.json");
    let (packed, alone): (Vec<_>, Vec<_>) =
        reference["batches"].as_array().unwrap().iter().partition(|batch| batch["packed"] == true);
    let check = |expected: &[&Value], samples: &[Encoded]| {
        let expected: Vec<_> = expected.iter().flat_map(|batch| batch["samples"].as_array().unwrap()).collect();
        assert_eq!(expected.len(), samples.len());
        for (expected, sample) in expected.iter().zip(samples) {
            assert_eq!(json!(sample.input_ids), expected["input_ids"]);
            let grids: Vec<_> = sample.grids().map(|grid| [grid.t, grid.h, grid.w]).collect();
            let positions = model.net.positions(&sample.input_ids, &grids).unwrap().thw;
            assert_eq!(json!(positions), expected["positions"]);
        }
    };
    check(&alone, &encoded(&model, "creatures", 2048));

    let cutoff_len = reference["cutoff_len"].as_u64().unwrap() as usize;
    let samples = encoded(&model, "creatures", cutoff_len - 1);
    let packs = pack(&samples.iter().map(|sample| sample.input_ids.len()).collect::<Vec<_>>(), cutoff_len - 1);
    assert!(packs.iter().filter(|pack| pack.len() > 1).count() > 5);
    // LLaMA-Factory fails on a pack without any picture, so that the reference has none.
    let with_pictures = packs.iter().filter(|pack| pack.iter().any(|index| !samples[*index].images.is_empty()));
    let in_order: Vec<_> = with_pictures.flatten().map(|index| samples[*index].clone()).collect();
    check(&packed, &in_order);
}

/// A session on the tiny model.
fn session(settings: &[(&str, &str)]) -> Session {
    let mut session = Session::default();
    set(&mut session, settings);
    with_context(|cx| session.load(&fixture("tiny"), cx)).unwrap();
    session
}

fn set(session: &mut Session, settings: &[(&str, &str)]) {
    let mut chosen = session.settings().clone();
    settings.iter().for_each(|(key, value)| chosen.set(key, value).unwrap());
    session.set(chosen);
}

fn with_context<T>(run: impl FnOnce(&Context) -> T) -> T {
    run(&Context { emit: &|_| {}, cancel: &Cancel::default() })
}

fn choose(session: &mut Session, names: &str) -> tunebook_engine::Result<DataReport> {
    let names: Vec<_> = names.split(',').map(str::to_string).collect();
    with_context(|cx| session.data(&names, cx))
}

/// Data sets `a` and `b` of so many records that count.
fn write_counting(folder: &Path, a: usize, b: usize) {
    for (name, len) in [("a", a), ("b", b)] {
        let records: Vec<_> = (0..len).map(|i| json!({"instruction": i.to_string(), "output": "yes"})).collect();
        std::fs::write(folder.join(format!("{name}.json")), json!(records).to_string()).unwrap();
    }
    let info = json!({"a": {"file_name": "a.json"}, "b": {"file_name": "b.json"}});
    std::fs::write(folder.join("dataset_info.json"), info.to_string()).unwrap();
}

fn origins(session: &Session, split: Split, count: usize) -> Vec<String> {
    (0..count).map(|index| session.sample(split, index).unwrap().origin).collect()
}

#[test]
fn the_samples_that_llamafactory_holds_back_are_held_back() {
    let folder = tempfile::tempdir().unwrap();
    write_counting(folder.path(), 33, 10);
    let mut session = session(&[("dataset_dir", folder.path().to_str().unwrap()), ("val_size", "0.25")]);
    let report = choose(&mut session, "a").unwrap();
    assert_eq!((report.samples, report.eval_samples, report.tokens.count), (24, 9, 33));
    let splits = json("encode/choices.json")["splits"].clone();
    let split =
        splits.as_array().unwrap().iter().find(|split| split["len"] == 33 && split["val_size"] == 0.25).unwrap();
    let expected = |key: &str| -> Vec<_> {
        split[key].as_array().unwrap().iter().map(|index| format!("a.json[{index}]")).collect()
    };
    assert_eq!(origins(&session, Split::Train, 24), expected("train"));
    assert_eq!(origins(&session, Split::Eval, 9), expected("eval"));
    let error = session.sample(Split::Eval, 9).unwrap_err().to_string();
    assert!(error.contains("has 9"), "{error}");

    // Data of its own to evaluate on, and two data sets by turns.
    set(&mut session, &[("val_size", "0"), ("eval_dataset", "b"), ("mix_strategy", "interleave_under")]);
    let report = choose(&mut session, "a,b").unwrap();
    assert_eq!((report.samples, report.eval_samples), (20, 10));
    assert_eq!(origins(&session, Split::Train, 4), ["a.json[0]", "b.json[0]", "a.json[1]", "b.json[1]"]);
    assert_eq!(origins(&session, Split::Eval, 2), ["b.json[0]", "b.json[1]"]);

    // What excludes itself is refused, and the data in use stays.
    for (settings, part) in [
        (vec![("val_size", "0.5")], "eval_dataset"),
        (vec![("eval_dataset", "none"), ("val_size", "43")], "val_size 43 of 20 samples"),
        (vec![("val_size", "0"), ("interleave_probs", "0.5,0.6")], "add up to 1"),
        (vec![("interleave_probs", "1")], "1 numbers for 2 datasets"),
        (vec![("mix_strategy", "concat"), ("interleave_probs", "0.5,0.5")], "mix_strategy"),
    ] {
        set(&mut session, &settings);
        let error = choose(&mut session, "a,b").unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(origins(&session, Split::Train, 1), ["a.json[0]"]);
}

/// Samples in a pack do not see each other: a step on one pack is a step on its samples side by side.
#[test]
fn a_pack_is_learned_as_its_samples_are() {
    let train = |settings: &[(&str, &str)]| {
        let mut session = session(&[
            ("dataset_dir", fixture("train").to_str().unwrap()),
            ("max_samples", "4"),
            ("gradient_accumulation_steps", "1"),
            ("disable_shuffling", "true"),
            ("learning_rate", "0.001"),
        ]);
        set(&mut session, settings);
        let report = choose(&mut session, "creatures").unwrap();
        with_context(|cx| session.lora(None, cx)).unwrap();
        with_context(|cx| session.train(Some(3), cx)).unwrap();
        let steps: Vec<_> = session.history().iter().map(|step| (step.loss(), step.grad_norm)).collect();
        (report, steps)
    };
    let (packed, found) = train(&[("packing", "true"), ("per_device_train_batch_size", "1")]);
    let (alone, expected) = train(&[("per_device_train_batch_size", "4")]);
    assert_eq!((packed.samples, packed.packs, packed.steps_per_epoch), (4, Some(1), 1));
    assert_eq!((alone.samples, alone.packs, alone.steps_per_epoch), (4, None, 1));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found.0 - expected.0).abs() < 1e-5 * expected.0, "{found:?} {expected:?}");
        assert!((found.1 - expected.1).abs() < 1e-5 * expected.1, "{found:?} {expected:?}");
    }

    let (_, also) = train(&[("neat_packing", "true"), ("per_device_train_batch_size", "1")]);
    assert_eq!(also, found);
}

/// A training says in its folder what was left out of its data.
#[test]
fn a_training_writes_what_was_left_out() {
    let folder = tempfile::tempdir().unwrap();
    write_counting(folder.path(), 3, 4);
    let place = |name: &str| folder.path().join(name);
    std::fs::write(place("b.json"), json!([{"instruction": "Q"}, {"instruction": "Q", "output": "A"}, 7]).to_string())
        .unwrap();
    let output = place("out");
    let mut session = session(&[
        ("dataset_dir", folder.path().to_str().unwrap()),
        ("output_dir", output.to_str().unwrap()),
        ("overwrite_output_dir", "true"),
        ("gradient_accumulation_steps", "1"),
    ]);
    choose(&mut session, "a,b").unwrap();
    let skipped: Vec<_> = session.skipped().iter().map(|skipped| skipped.origin.to_string()).collect();
    assert_eq!(skipped, ["b.json[0]", "b.json[2]"]);
    assert!(!output.exists());
    with_context(|cx| session.lora(None, cx)).unwrap();
    with_context(|cx| session.train(Some(1), cx)).unwrap();
    let text = std::fs::read_to_string(output.join("skipped_samples.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |index: usize, reason: &str| {
        let file = place("b.json");
        json!({"dataset": "b", "file": file, "index": index, "kind": "format", "reason": reason})
    };
    let missing = "the key `output` is missing; check columns and tags in dataset_info.json";
    assert_eq!(lines, [line(0, missing), line(2, "a record and each of its messages must be a JSON object")]);

    // Data of which nothing is left out has no such file.
    choose(&mut session, "a").unwrap();
    assert!(session.skipped().is_empty());
    with_context(|cx| session.train(Some(1), cx)).unwrap();
    assert!(!output.join("skipped_samples.jsonl").exists());
}
