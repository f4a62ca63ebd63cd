//! A weight file that another program writes to, or cuts off, while the model is in use: nothing is computed with other
//! weights without a word, the process lives on, and what has been trained is kept.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Note;
use tunebook_engine::Result;
use tunebook_engine::Session;
use tunebook_engine::report::TrainReport;

use crate::fixtures::fixture;
use crate::fixtures::tiny_with;

const WEIGHTS: &str = "model.safetensors";

/// What a program does to a weight file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    CutOff,
    WriteOver,
    RenameOver,
}

impl Change {
    fn apply(self, file: &Path) {
        match self {
            Self::CutOff => drop(File::create(file).unwrap()),
            Self::WriteOver => {
                let mut bytes = fs::read(file).unwrap();
                let half = bytes.len() / 2;
                bytes[half..].fill(0);
                // In place, and of the same length.
                let mut file = File::options().write(true).open(file).unwrap();
                std::io::Write::write_all(&mut file, &bytes).unwrap();
            }
            Self::RenameOver => {
                let other = file.with_extension("new");
                fs::write(&other, b"other").unwrap();
                fs::rename(other, file).unwrap();
            }
        }
    }
}

fn session(model: &Path, output: &Path, cx: &Context) -> Session {
    let mut session = Session::default();
    let mut settings = session.settings().clone();
    let output = output.to_str().unwrap();
    for (key, value) in [
        ("dataset_dir", fixture("train").to_str().unwrap()),
        ("output_dir", output),
        ("per_device_train_batch_size", "2"),
        ("gradient_accumulation_steps", "1"),
        ("learning_rate", "0.01"),
        ("max_steps", "5"),
        ("lora_rank", "2"),
        ("save_strategy", "steps"),
    ] {
        settings.set(key, value).unwrap();
    }
    session.set(settings);
    session.load(model, cx).unwrap();
    session.data(&["creatures".to_string()], cx).unwrap();
    session.lora(None, cx).unwrap();
    session
}

/// Trains five steps; behind the second, `change` comes to the weights. Gives the checkpoints that were told of, too.
fn train(model: &Path, output: &Path, change: Option<Change>) -> (Session, Result<TrainReport>, usize) {
    let kept = AtomicUsize::new(0);
    let emit = |event| match event {
        Event::Step(record) if record.step == 2 => {
            if let Some(change) = change {
                change.apply(&model.join(WEIGHTS));
            }
        }
        Event::Note(Note::Kept { .. }) => drop(kept.fetch_add(1, Ordering::Relaxed)),
        _ => {}
    };
    let cancel = Cancel::default();
    let cx = Context { emit: &emit, cancel: &cancel };
    let mut session = session(model, output, &cx);
    let report = session.train(None, &cx);
    (session, report, kept.into_inner())
}

fn losses(session: &Session) -> Vec<f64> {
    session.history().iter().map(|record| record.loss()).collect()
}

#[test]
fn weights_that_change_in_training_end_it_with_a_checkpoint_from_which_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_with(|_| {});
    let whole = fs::read(model.path().join(WEIGHTS)).unwrap();
    let (undisturbed, report, _) = train(model.path(), &folder.path().join("undisturbed"), None);
    report.unwrap();
    let (emit, cancel) = (|_| {}, Cancel::default());
    let cx = Context { emit: &emit, cancel: &cancel };
    for change in [Change::CutOff, Change::WriteOver] {
        let output = folder.path().join(format!("{change:?}"));
        let (mut session, report, kept) = train(model.path(), &output, Some(change));
        let error = report.unwrap_err().to_string();
        assert!(error.contains("was modified or truncated") && error.contains(WEIGHTS), "{change:?}: {error}");
        assert_eq!((losses(&session), kept), (losses(&undisturbed)[..2].to_vec(), 1), "{change:?}");
        // Whatever else asks this model hears the same, also when the file is whole again.
        fs::write(model.path().join(WEIGHTS), &whole).unwrap();
        assert_eq!(session.chat("Hello", &[], &cx).unwrap_err().to_string(), error, "{change:?}");
        assert_eq!(session.evaluate(&["creatures".to_string()], None, None, &cx).unwrap_err().to_string(), error);
        assert_eq!(session.export(&folder.path().join("exported"), None, &cx).unwrap_err().to_string(), error);
        assert!(!folder.path().join("exported").exists());

        session.load(model.path(), &cx).unwrap();
        session.resume(Some(&output), &|_| false, &cx).unwrap();
        session.train(None, &cx).unwrap();
        assert_eq!(losses(&session), losses(&undisturbed), "{change:?}");
    }
}

#[test]
fn weights_that_are_replaced_are_read_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let model = tiny_with(|_| {});
    let (undisturbed, report, _) = train(model.path(), &folder.path().join("undisturbed"), None);
    report.unwrap();
    let (session, report, _) = train(model.path(), &folder.path().join("replaced"), Some(Change::RenameOver));
    report.unwrap();
    assert_eq!(losses(&session), losses(&undisturbed));
}
