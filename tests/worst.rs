//! The loss of each sample by itself: what a training computes of it, and what makes wrong labels float up.

use std::fs;
use std::path::Path;

use serde_json::Value;
use serde_json::json;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Session;
use tunebook_engine::Split;

use crate::binary::tunebook;
use crate::fixtures::fixture;
use crate::resume::FULL;
use crate::resume::LORA;
use crate::resume::Start;
use crate::resume::files;
use crate::resume::session;

fn set(session: &mut Session, changes: &[(&str, &str)]) {
    let mut settings = session.settings().clone();
    changes.iter().for_each(|(key, value)| settings.set(key, value).unwrap());
    session.set(settings);
}

fn check(start: Start) {
    let place = tempfile::tempdir().unwrap();
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let settings = [("val_size", "0.25"), ("max_steps", "60"), ("save_strategy", "no")];
    let mut session = session(&fixture("tiny"), &place.path().join("out"), start, &settings, &quiet);
    session.train(Some(3), &quiet).unwrap();

    // The mean over samples is the loss of an evaluation whose batches are single samples.
    set(&mut session, &[("per_device_eval_batch_size", "1"), ("output_dir", "none")]);
    let held_out = session.worst(Split::Eval, 100, None, &quiet).unwrap();
    let evaluated = session.evaluate(&[], None, None, &quiet).unwrap();
    assert_eq!((held_out.worst.len(), held_out.looked_at), (3, 3));
    assert!((held_out.loss - evaluated.loss).abs() < 2e-6, "{} {}", held_out.loss, evaluated.loss);
    let base = session.evaluate(&[], None, Some("base"), &quiet).unwrap();
    assert!((held_out.base_loss - base.loss).abs() < 2e-6, "{} {}", held_out.base_loss, base.loss);
    assert!((held_out.loss - held_out.base_loss).abs() > 1e-3, "the adapter has learned nothing");

    // The worst first, each once, and no more than are asked for.
    let all = session.worst(Split::Train, 100, None, &quiet).unwrap();
    let mut numbers: Vec<_> = all.worst.iter().map(|sample| sample.index).collect();
    assert!(all.worst.is_sorted_by(|a, b| a.loss >= b.loss) && numbers.len() == 9);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..9).collect::<Vec<_>>());
    let two = session.worst(Split::Train, 2, None, &quiet).unwrap();
    assert_eq!(two.worst.iter().map(|sample| sample.loss).collect::<Vec<_>>(), [all.worst[0].loss, all.worst[1].loss]);
    let of_base = session.worst(Split::Train, 100, Some("base"), &quiet).unwrap();
    assert_eq!(of_base.loss, of_base.base_loss);
    // Labels and pictures are the sample's.
    for sample in &all.worst {
        let shown = session.sample(Split::Train, sample.index).unwrap();
        let learned: String =
            shown.tokens.iter().filter(|token| token.supervised).map(|token| token.text.as_str()).collect();
        assert!(learned.replace("<|im_end|>", "").starts_with(&sample.expected), "{learned:?} {:?}", sample.expected);
        assert_eq!(
            shown.pictures.iter().map(|picture| &picture.path).collect::<Vec<_>>(),
            sample.images.iter().collect::<Vec<_>>()
        );
    }

    // What a step computes of a sample that is a micro-batch of its own.
    let order =
        [("per_device_train_batch_size", "1"), ("gradient_accumulation_steps", "1"), ("disable_shuffling", "true")];
    set(&mut session, &order);
    session.data(&["creatures".to_string()], &quiet).unwrap();
    let all = session.worst(Split::Train, 100, None, &quiet).unwrap();
    session.train(Some(1), &quiet).unwrap();
    let first = all.worst.iter().find(|sample| sample.index == 0).unwrap();
    let step = session.history()[0].loss();
    assert!((first.loss - step).abs() < 2e-6, "{} {step}", first.loss);
}

#[test]
fn a_samples_loss_is_what_a_lora_trains_on() {
    check(LORA);
}

#[test]
fn a_samples_loss_is_what_full_tuning_trains_on() {
    check(FULL);
}

#[test]
fn dropped_samples_are_left_out_until_they_are_taken_back() {
    let place = tempfile::tempdir().unwrap();
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let settings = [
        ("per_device_train_batch_size", "1"),
        ("gradient_accumulation_steps", "1"),
        ("disable_shuffling", "true"),
        ("save_steps", "1"),
        ("max_steps", "8"),
        ("logging_steps", "1"),
    ];
    let begin = |name: &str| session(&fixture("tiny"), &place.path().join(name), LORA, &settings, &quiet);
    let mut whole = begin("whole");
    let losses = whole.worst(Split::Train, 100, None, &quiet).unwrap();
    let loss = |number: usize| losses.worst.iter().find(|sample| sample.index == number).unwrap().loss;
    whole.train(None, &quiet).unwrap();

    // The first two are not there: the first step is that of the third, and there is none in their place.
    let mut dropping = begin("dropping");
    dropping.data_drop(&[1, 0]).unwrap();
    assert_eq!(dropping.worst(Split::Train, 100, None, &quiet).unwrap().looked_at, 10);
    dropping.train(Some(1), &quiet).unwrap();
    let step = dropping.history()[0].loss();
    assert!((step - loss(2)).abs() < 2e-6 && (step - loss(0)).abs() > 1e-4, "{step} {} {}", loss(2), loss(0));
    // From the next step on, and gone on with by another session.
    dropping.data_drop(&[4]).unwrap();
    dropping.train(Some(1), &quiet).unwrap();
    let mut resumed = Session::default();
    resumed.load(&fixture("tiny"), &quiet).unwrap();
    resumed.resume(Some(&place.path().join("dropping/checkpoint-2")), &|_| false, &quiet).unwrap();
    assert_eq!(resumed.dropped().iter().copied().collect::<Vec<_>>(), [0, 1, 4]);
    let said = resumed.recipe().left_out;
    assert!(said.contains(&"data drop 0,1,4".to_string()), "LLaMA-Factory has nothing of the kind: {said:?}");
    set(&mut resumed, &[("output_dir", place.path().join("resumed").to_str().unwrap())]);
    dropping.train(None, &quiet).unwrap();
    resumed.train(None, &quiet).unwrap();
    let adapter = |name: &str| files(&place.path().join(name), &["adapter_model.safetensors"]);
    assert!(adapter("dropping").len() == 1 && adapter("dropping") == adapter("resumed"));
    assert!(adapter("dropping") != adapter("whole"));

    // Taken back before anything was trained, nothing has happened.
    let mut taken_back = begin("back");
    taken_back.data_drop(&[0, 3, 5]).unwrap();
    taken_back.data_undrop(Some(&[3])).unwrap();
    assert_eq!(taken_back.dropped().len(), 2);
    taken_back.data_undrop(None).unwrap();
    taken_back.train(None, &quiet).unwrap();
    assert!(adapter("back") == adapter("whole"));
    for refused in [taken_back.data_drop(&[1, 12]), taken_back.data_undrop(Some(&[1]))] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("no sample 12") || error.contains("sample 1 is not dropped"), "{error}");
    }
    assert!(taken_back.dropped().is_empty(), "what fails changes nothing");
    // Other data has other numbers.
    taken_back.data_drop(&[2]).unwrap();
    taken_back.data(&["creatures".to_string()], &quiet).unwrap();
    assert!(taken_back.dropped().is_empty());
}

/// The demo's samples, of which 24 of 480 have each other's answers.
fn exchange(data: &Path, folder: &Path) -> Vec<usize> {
    let read = |name: &str| -> Value { serde_json::from_slice(&fs::read(data.join(name)).unwrap()).unwrap() };
    let mut samples = read("creatures.json");
    let samples = samples.as_array_mut().unwrap();
    let exchanged: Vec<usize> = (0..24).map(|k| 20 * k + 7 * k % 20).collect();
    let before = samples.clone();
    for (place, &index) in exchanged.iter().enumerate() {
        let other = before[exchanged[(place + 1) % exchanged.len()]]["messages"].as_array().unwrap();
        let messages = samples[index]["messages"].as_array_mut().unwrap();
        // Where the other has fewer turns, its last answer.
        for turn in (1..messages.len()).step_by(2) {
            messages[turn]["value"] = other[turn.min(other.len() - 1)]["value"].clone();
        }
    }
    for sample in samples.iter_mut() {
        sample["images"] = json!([data.join(sample["images"][0].as_str().unwrap())]);
    }
    let mut info = json!({"exchanged": read("dataset_info.json")["creatures"]});
    info["exchanged"]["file_name"] = json!("exchanged.json");
    fs::write(folder.join("exchanged.json"), json!(samples).to_string()).unwrap();
    fs::write(folder.join("dataset_info.json"), info.to_string()).unwrap();
    exchanged
}

#[test]
fn wrong_labels_float_up() {
    let place = tempfile::tempdir().unwrap();
    let run = |script: &str| {
        let file = place.path().join("script.tune");
        fs::write(&file, script).unwrap();
        let mut command = tunebook();
        command.current_dir(&place).env("HOME", place.path()).env("XDG_CACHE_HOME", place.path().join("cache"));
        let output = command.env("LC_ALL", "C").arg("run").arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run("demo\n");
    let cache = fs::read_dir(place.path().join("cache/tunebook")).unwrap();
    let data = cache.map(|entry| entry.unwrap().path().join("creatures")).find(|path| path.is_dir()).unwrap();
    let exchanged = exchange(&data, place.path());
    let shown = run("demo\ndata exchanged dataset_dir=.\nlora\ntrain epochs=1 batch=4\nworst 30\n");
    let table = shown.split("with the highest loss under default").nth(1).unwrap();
    let number = |line: &str| {
        let mut words = line.split_whitespace();
        let index = words.next()?.parse::<usize>().ok()?;
        words.next()?.parse::<f64>().ok().map(|_| index)
    };
    let worst: Vec<usize> = table.lines().filter_map(number).collect();
    assert_eq!(worst.len(), 30, "{table}");
    let found = exchanged.iter().filter(|index| worst.contains(index)).count();
    println!("{found} of {} exchanged labels are among the worst 30 of 480", exchanged.len());
    assert!(found >= 20, "{found} of {}\n{table}", exchanged.len());
}
