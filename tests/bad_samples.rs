//! Samples that turn out to be unusable when their turn comes: left out, named and counted, or the end, as
//! `on_bad_sample` says; and a training that has diverged, which is something else.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;

use candle_core::Device;
use candle_core::Tensor;
use serde_json::Value;
use serde_json::json;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Error;
use tunebook_engine::Event;
use tunebook_engine::Note;
use tunebook_engine::Session;

use crate::fixtures::fixture;
use crate::fixtures::tiny_with;

/// A data set of 12 samples, of which those of `pictured` have a picture of their own; `without` are not in it.
struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    fn new(pictured: &[usize], without: &[usize]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sample = |index: usize| {
            let image = format!("{index}.png");
            let has_picture = pictured.contains(&index);
            if has_picture {
                let picture = fixture(&format!("pictures/creature_{}.png", index % 6));
                fs::copy(picture, folder.path().join(&image)).unwrap();
            }
            let question = format!("{}Question {index}?", if has_picture { "<image>" } else { "" });
            json!({
                "messages": [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": format!("Answer {}.", index * 7)},
                ],
                "images": if has_picture { vec![image] } else { Vec::new() },
            })
        };
        let samples: Vec<Value> = (0..12).filter(|index| !without.contains(index)).map(sample).collect();
        let info = json!({"set": {"file_name": "set.json", "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}}});
        fs::write(folder.path().join("set.json"), Value::from(samples).to_string()).unwrap();
        fs::write(folder.path().join("dataset_info.json"), info.to_string()).unwrap();
        Self { folder }
    }

    fn picture(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("{index}.png"))
    }

    /// A session with this data, a LoRA adapter and one micro-batch a step, if `settings` do not say otherwise.
    fn session(&self, model: &Path, settings: &[(&str, &str)], cx: &Context) -> Session {
        let mut session = Session::default();
        let mut chosen = session.settings().clone();
        let common = [
            ("per_device_train_batch_size", "1"),
            ("gradient_accumulation_steps", "1"),
            ("learning_rate", "0.001"),
            ("lr_scheduler_type", "constant"),
            ("num_train_epochs", "2"),
            ("disable_shuffling", "true"),
            ("lora_rank", "2"),
        ];
        chosen.set("dataset_dir", self.folder.path().to_str().unwrap()).unwrap();
        common.iter().chain(settings).for_each(|(key, value)| chosen.set(key, value).unwrap());
        session.set(chosen);
        session.load(model, cx).unwrap();
        session.data(&["set".to_string()], cx).unwrap();
        session.lora(None, cx).unwrap();
        session
    }
}

/// Calls `run` and gives the notes that it leaves.
fn notes<T>(run: impl FnOnce(&Context) -> T) -> (T, Vec<Note>) {
    let (notes, cancel) = (Mutex::new(Vec::new()), Cancel::default());
    let emit = |event| {
        if let Event::Note(note) = event {
            notes.lock().unwrap().push(note);
        }
    };
    let value = run(&Context { emit: &emit, cancel: &cancel });
    (value, notes.into_inner().unwrap())
}

/// Loss and gradient norm of every step.
fn steps(session: &Session) -> Vec<(f64, f64)> {
    session.history().iter().map(|record| (record.loss(), record.grad_norm)).collect()
}

/// The names of samples that were left out, once each.
fn left_out(notes: &[Note]) -> Vec<String> {
    let of = |note: &Note| match note {
        Note::LeftOut(skipped) => Some(skipped.to_string()),
        _ => None,
    };
    notes.iter().filter_map(of).collect()
}

/// The tiny model, in which the first row of one tensor is NaN.
fn spoiled(tensor: &str) -> tempfile::TempDir {
    tiny_with(|weights| {
        let values = &weights[tensor];
        let nan = Tensor::full(f32::NAN, values.narrow(0, 0, 1).unwrap().dims(), &Device::Cpu).unwrap();
        let rest = values.narrow(0, 1, values.dims()[0] - 1).unwrap();
        let spoiled = Tensor::cat(&[&nan.to_dtype(values.dtype()).unwrap(), &rest], 0).unwrap();
        weights.insert(tensor.to_string(), spoiled);
    })
}

#[test]
fn a_picture_that_is_gone_leaves_the_training_without_its_sample() {
    // Samples 4 and 5 make a micro-batch of which nothing is left, 8 leaves one of which half is left.
    for (batch, accumulation) in [("1", "1"), ("2", "1"), ("2", "3")] {
        let settings = [("per_device_train_batch_size", batch), ("gradient_accumulation_steps", accumulation)];
        let data = Data::new(&[3, 4, 5, 8], &[]);
        let ((session, report), notes) = notes(|cx| {
            let mut session = data.session(&fixture("tiny"), &settings, cx);
            [4, 5].iter().for_each(|index| fs::remove_file(data.picture(*index)).unwrap());
            let report = session.train(None, cx).unwrap();
            (session, report)
        });
        assert_eq!((report.left_out.len(), report.steps), (2, session.step()), "each counts once");
        let named = left_out(&notes);
        assert_eq!(named.len(), 2, "{named:?}");
        assert!(named[0].contains("4.png") && named[1].contains("5.png"), "{named:?}");
        assert!(named[0].contains("set.json"), "{named:?}");

        // One step a micro-batch: as on data that never had these samples.
        if accumulation == "1" {
            let whole = Data::new(&[3, 8], &[4, 5]);
            let (other, _) = self::notes(|cx| {
                let mut session = whole.session(&fixture("tiny"), &settings, cx);
                session.train(None, cx).unwrap();
                session
            });
            assert_eq!(steps(&session), steps(&other));
        } else {
            assert_eq!(session.step(), 4, "a step of which one of three micro-batches is empty is still a step");
        }
    }
}

#[test]
fn a_training_that_stops_at_a_bad_sample_is_kept_and_goes_on() {
    let data = Data::new(&[3, 7], &[]);
    let settings = [("on_bad_sample", "stop"), ("gradient_accumulation_steps", "3"), ("memory", "0.105")];
    let (whole, _) = notes(|cx| {
        let mut session = data.session(&fixture("tiny"), &settings, cx);
        session.train(None, cx).unwrap();
        session
    });

    let output = tempfile::tempdir().unwrap();
    let settings = [&settings[..], &[("output_dir", output.path().to_str().unwrap())]].concat();
    let aside = data.folder.path().join("aside");
    let (error, notes) = notes(|cx| {
        let mut session = data.session(&fixture("tiny"), &settings, cx);
        fs::rename(data.picture(7), &aside).unwrap();
        session.train(None, cx).unwrap_err()
    });
    assert!(matches!(&error, Error::BadSample(sample) if sample.to_string().contains("7.png")), "{error}");
    let kept = notes.iter().find_map(|note| match note {
        Note::Kept { checkpoint } => Some(checkpoint.clone()),
        _ => None,
    });
    assert_eq!(kept, Some(output.path().join("checkpoint-2")));

    fs::rename(&aside, data.picture(7)).unwrap();
    let (resumed, _) = self::notes(|cx| {
        let mut session = Session::default();
        session.load(&fixture("tiny"), cx).unwrap();
        session.resume(Some(output.path()), &|_| false, cx).unwrap();
        session.train(None, cx).unwrap();
        session
    });
    assert_eq!(steps(&resumed), steps(&whole));
}

#[test]
fn what_is_left_out_in_training_is_listed_beside_what_was_left_out_before() {
    let output = tempfile::tempdir().unwrap();
    let folder = output.path().to_str().unwrap();
    let data = Data::new(&[3, 4, 5], &[]);
    let list = || {
        let text = fs::read_to_string(output.path().join("skipped_samples.jsonl")).unwrap();
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap();
        text.lines().map(line).collect::<Vec<_>>()
    };
    fs::remove_file(data.picture(3)).unwrap();
    notes(|cx| {
        let mut session = data.session(&fixture("tiny"), &[("output_dir", folder)], cx);
        fs::remove_file(data.picture(4)).unwrap();
        session.train(Some(6), cx).unwrap();
        assert_eq!(list(), [3, 4]);
        fs::remove_file(data.picture(5)).unwrap();
        session.train(None, cx).unwrap();
        assert_eq!(session.skipped().iter().map(|skipped| skipped.origin.index).collect::<Vec<_>>(), [3, 4, 5]);
    });
    assert_eq!(list(), [3, 4, 5], "once each");
}

#[test]
fn samples_whose_loss_is_not_finite_are_told_from_the_others() {
    let model = spoiled("visual.blocks.0.attn.qkv.weight");
    let data = Data::new(&[2, 7], &[]);
    let settings = [("per_device_train_batch_size", "2"), ("gradient_accumulation_steps", "2")];
    let ((session, report), notes) = notes(|cx| {
        let mut session = data.session(model.path(), &settings, cx);
        let report = session.train(None, cx).unwrap();
        (session, report)
    });
    let named = left_out(&notes);
    assert_eq!((report.left_out.len(), named.len()), (2, 2), "{named:?}");
    assert!(named.iter().all(|name| name.contains("the model's loss on it is not finite")), "{named:?}");
    assert_eq!(session.step(), 6);
    assert!(session.tensors(None).unwrap().iter().all(|tensor| tensor.values.iter().all(|value| value.is_finite())));
}

#[test]
fn a_training_that_has_diverged_is_no_matter_of_samples() {
    let data = Data::new(&[], &[]);
    let (output, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (error, notes) = notes(|cx| {
        let mut session = data.session(&fixture("tiny"), &[("output_dir", output.path().to_str().unwrap())], cx);
        session.train(Some(3), cx).unwrap();
        session.save(folder.path()).unwrap();
        // Values that are numbers, but too large to compute with.
        let file = folder.path().join("adapter_model.safetensors");
        let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
        let of_b = tensors.iter_mut().filter(|(name, _)| name.contains("lora_B"));
        of_b.for_each(|(_, tensor)| *tensor = Tensor::full(3e38f32, tensor.dims(), &Device::Cpu).unwrap());
        candle_core::safetensors::save(&tensors, &file).unwrap();
        session.adapter_load(folder.path(), Some("spoiled")).unwrap();
        session.train(None, cx).unwrap_err()
    });
    assert!(matches!(error, Error::Diverged { step: 1, checkpoint: None, .. }), "{error}");
    assert!(error.to_string().contains("`lora`"), "{error}");
    assert!(left_out(&notes).is_empty() && !notes.iter().any(|note| matches!(note, Note::Kept { .. })));
}

#[test]
fn many_bad_samples_in_a_row_are_an_error() {
    let data = Data::new(&(0..12).collect::<Vec<_>>(), &[]);
    let (error, notes) = notes(|cx| {
        let mut session = data.session(&fixture("tiny"), &[], cx);
        (1..12).for_each(|index| fs::write(data.picture(index), "gone").unwrap());
        session.train(None, cx).unwrap_err()
    });
    assert!(matches!(error, Error::BadSamplesInARow { count: 10, .. }), "{error}");
    assert_eq!(left_out(&notes).len(), 9);
}

#[test]
fn evaluation_and_prediction_leave_bad_samples_out_as_well() {
    let data = Data::new(&[1, 2, 3], &[]);
    let names = ["set".to_string()];
    let whole = Data::new(&[1, 3], &[2]);
    let (expected, _) = notes(|cx| {
        let mut session = whole.session(&fixture("tiny"), &[("per_device_eval_batch_size", "1")], cx);
        session.evaluate(&names, None, None, cx).unwrap()
    });
    let (_, notes) = notes(|cx| {
        let settings = [("per_device_eval_batch_size", "1"), ("max_new_tokens", "2")];
        let mut session = data.session(&fixture("tiny"), &settings, cx);
        fs::remove_file(data.picture(2)).unwrap();
        let found = session.evaluate(&[], None, None, cx).unwrap();
        assert_eq!((found.left_out.len(), found.done, found.total, found.loss), (1, 11, 12, expected.loss));
        let predicted = session.predict(&[], Some(3), None, &mut |_| {}, cx).unwrap();
        assert_eq!((predicted.left_out.len(), predicted.done, predicted.total), (1, 2, 3));
        assert_eq!(session.skipped(), predicted.left_out, "once");
        let mut stops = session.settings().clone();
        stops.set("on_bad_sample", "stop").unwrap();
        session.set(stops);
        assert!(matches!(session.evaluate(&[], None, None, cx), Err(Error::BadSample(_))));
        assert!(matches!(session.predict(&[], Some(3), None, &mut |_| {}, cx), Err(Error::BadSample(_))));
    });
    assert_eq!(left_out(&notes).len(), 2, "{notes:?}");
}
