//! What `report_to` has a training write, read by the real TensorBoard; and model cards, read by the hub's own library.

use std::collections::BTreeMap;
use std::fs;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Session;

use crate::binary::tunebook;
use crate::fixtures::fixture;
use crate::fixtures::tests_folder;
use crate::resume::LORA;
use crate::resume::files;
use crate::resume::session;
use crate::venv::venv;

const QUESTION: &str = "图中是什么/哪里？";
/// 6 steps, with evaluations and probes.
const SETTINGS: [(&str, &str); 8] = [
    ("report_to", "tensorboard,csv"),
    ("logging_steps", "1"),
    ("val_size", "0.2"),
    ("eval_strategy", "steps"),
    ("eval_steps", "2"),
    ("probe_steps", "3"),
    ("max_new_tokens", "8"),
    ("per_device_train_batch_size", "1"),
];

/// What a script prints about a folder.
fn ask(script: &str, folder: &Path) -> Value {
    let scripts = tests_folder().join("loggers");
    let python = venv("logger-tests", &scripts.join("requirements.txt")).join("bin/python");
    let output = Command::new(python).arg(scripts.join(script)).arg(folder).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The runs below a folder.
fn runs(folder: &Path) -> Vec<PathBuf> {
    let runs = fs::read_dir(folder.join("runs")).into_iter().flatten();
    runs.map(|entry| entry.unwrap().path()).collect()
}

/// What TensorBoard reads of the only run of an output folder.
fn read(output: &Path) -> Value {
    let runs = runs(output);
    assert_eq!(runs.len(), 1, "{runs:?}");
    ask("events.py", &runs[0])
}

/// Steps and values by their tags.
type Scalars = BTreeMap<String, Vec<(u64, Option<f32>)>>;

fn scalars(read: &Value) -> Scalars {
    let points = |points: &Value| {
        let points = points.as_array().unwrap().iter();
        points.map(|point| (point[0].as_u64().unwrap(), point[1].as_f64().map(|value| value as f32))).collect()
    };
    read["scalars"].as_object().unwrap().iter().map(|(tag, values)| (tag.clone(), points(values))).collect()
}

/// What transformers would have told TensorBoard of the log of an output folder.
fn expected(output: &Path) -> Scalars {
    let state: Value = serde_json::from_slice(&fs::read(output.join("trainer_state.json")).unwrap()).unwrap();
    let mut scalars = Scalars::new();
    for entry in state["log_history"].as_array().unwrap() {
        let entry = entry.as_object().unwrap();
        let step = entry["step"].as_u64().unwrap();
        for (key, value) in entry.iter().filter(|(key, _)| *key != "step") {
            let tag = key.strip_prefix("eval_").map_or(format!("train/{key}"), |key| format!("eval/{key}"));
            scalars.entry(tag).or_default().push((step, value.as_f64().map(|value| value as f32)));
        }
    }
    scalars
}

/// Without what depends on the clock.
fn without_speed(mut scalars: Scalars) -> Scalars {
    scalars.retain(|tag, _| !tag.contains("runtime") && !tag.contains("per_second"));
    scalars
}

/// With a probe.
fn begin(output: &Path, cx: &Context) -> Session {
    let mut session = session(&fixture("tiny"), output, LORA, &SETTINGS, cx);
    session.probe(QUESTION, &[fixture("pictures/creature_0.png")]).unwrap();
    session
}

fn texts(read: &Value) -> (String, Vec<(u64, String)>) {
    let texts = read["texts"].as_object().unwrap();
    let (tag, answers) = texts.iter().find(|(tag, _)| tag.starts_with("probes/")).unwrap();
    let answers = answers.as_array().unwrap().iter();
    (
        tag.clone(),
        answers.map(|answer| (answer[0].as_u64().unwrap(), answer[1].as_str().unwrap().to_string())).collect(),
    )
}

#[test]
fn tensorboard_reads_numbers_answers_pictures_and_settings() {
    let place = tempfile::tempdir().unwrap();
    let (with, without) = (place.path().join("with"), place.path().join("without"));
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = begin(&with, &quiet);
    session.train(None, &quiet).unwrap();
    let read = read(&with);
    assert_eq!(scalars(&read), expected(&with));
    assert!(
        ["train/loss", "train/grad_norm", "train/learning_rate", "train/train_loss", "eval/loss"]
            .iter()
            .all(|tag| scalars(&read).contains_key(*tag))
    );

    let (tag, answers) = texts(&read);
    assert_eq!(tag, "probes/图中是什么∕哪里？ (creature_0.png)/text_summary");
    let steps: Vec<_> = session.probe_records().iter().map(|record| record.step as u64).collect();
    assert_eq!(answers.iter().map(|(step, _)| *step).collect::<Vec<_>>(), steps);
    assert!(steps.len() > 2);
    let images = read["images"]["probes/图中是什么∕哪里？ (creature_0.png)/picture 1"].as_array().unwrap();
    assert_eq!((images.len(), &images[0][0]), (1, &0.into()), "{images:?}");
    let settings = read["texts"]["args/text_summary"][0][1].as_str().unwrap();
    assert!(settings.contains("| learning&#95;rate | 0.001 |\n"), "{settings}");

    // The same in CSV.
    let csv = fs::read_to_string(with.join("trainer_log.csv")).unwrap();
    let mut rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let names = rows.next().unwrap();
    let mut found = Scalars::new();
    for row in rows {
        assert_eq!(row.len(), names.len());
        let step = row[0].parse().unwrap();
        for (name, cell) in names.iter().zip(&row).skip(1).filter(|(_, cell)| !cell.is_empty()) {
            let tag = name.strip_prefix("eval_").map_or(format!("train/{name}"), |name| format!("eval/{name}"));
            found.entry(tag).or_default().push((step, cell.parse().ok()));
        }
    }
    let mut logged = expected(&with);
    logged.retain(|tag, points| {
        // The last entry of the log is no step.
        if matches!(tag.as_str(), "train/epoch" | "train/num_input_tokens_seen") {
            points.pop();
        }
        !tag.starts_with("train/train_")
    });
    assert_eq!(found, logged);

    // And what is learned are the same bits.
    let quiet_settings: Vec<_> = SETTINGS.iter().filter(|(key, _)| *key != "report_to").copied().collect();
    crate::resume::session(&fixture("tiny"), &without, LORA, &quiet_settings, &quiet).train(None, &quiet).unwrap();
    assert!(runs(&without).is_empty() && !without.join("trainer_log.csv").exists());
    let learned = ["adapter_model.safetensors"];
    assert!(files(&with, &learned) == files(&without, &learned));
}

#[test]
fn undone_steps_are_gone_and_a_resumed_training_is_one_run() {
    let place = tempfile::tempdir().unwrap();
    let (straight, crooked) = (place.path().join("straight"), place.path().join("crooked"));
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    begin(&straight, &quiet).train(None, &quiet).unwrap();
    let whole = read(&straight);

    let mut first = begin(&crooked, &quiet);
    first.train(Some(5), &quiet).unwrap();
    first.undo(Some(4), &quiet).unwrap();
    let undone = scalars(&read(&crooked));
    assert_eq!(undone["train/loss"].iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1]);
    assert!(!undone.contains_key("eval/loss") || undone["eval/loss"].is_empty());
    first.redo().unwrap();
    let again = scalars(&read(&crooked));
    assert_eq!(again["train/loss"], scalars(&whole)["train/loss"][..5]);
    first.undo(Some(1), &quiet).unwrap();
    // A step behind the checkpoint of step 4, which is the last that is left of this session: its file ends in the middle
    // of a record.
    first.train(Some(1), &quiet).unwrap();
    drop(first);
    let run = runs(&crooked).remove(0);
    let events = fs::read_dir(&run).unwrap().next().unwrap().unwrap().path();
    OpenOptions::new().append(true).open(events).unwrap().write_all(b"cut off").unwrap();

    let mut second = Session::default();
    second.load(&fixture("tiny"), &quiet).unwrap();
    second.resume(Some(&crooked.join("checkpoint-4")), &|_| false, &quiet).unwrap();
    let mut settings = second.settings().clone();
    settings.max_new_tokens = 8;
    second.set(settings);
    second.train(None, &quiet).unwrap();
    let found = read(&crooked);
    assert_eq!(fs::read_dir(&run).unwrap().count(), 2);
    assert_eq!(without_speed(scalars(&found)), without_speed(scalars(&whole)));
    assert_eq!(scalars(&found), expected(&crooked));
    assert_eq!(texts(&found), texts(&whole));
    assert_eq!(found["images"], whole["images"]);
    let csv = |output: &Path| {
        let text = fs::read_to_string(output.join("trainer_log.csv")).unwrap();
        text.lines().map(|line| line.split(',').take(5).collect::<Vec<_>>().join(",")).collect::<Vec<_>>()
    };
    assert_eq!(csv(&crooked), csv(&straight));
}

#[test]
fn what_the_disk_refuses_ends_the_call_and_is_written_by_the_next() {
    let place = tempfile::tempdir().unwrap();
    let output = place.path().join("run");
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = begin(&output, &quiet);
    fs::create_dir(&output).unwrap();
    fs::write(output.join("runs"), "in the way").unwrap();
    let error = session.train(Some(1), &quiet).unwrap_err().to_string();
    assert!(error.starts_with("cannot write ") && error.contains("runs"), "{error}");
    fs::remove_file(output.join("runs")).unwrap();
    session.train(None, &quiet).unwrap();
    assert_eq!(scalars(&read(&output)), expected(&output));
}

#[test]
fn a_folder_that_the_environment_names_is_taken() {
    let place = tempfile::tempdir().unwrap();
    let (logs, output) = (place.path().join("logs"), place.path().join("run"));
    let script = place.path().join("script.tune");
    let lines = format!(
        "load {}\ndata creatures dataset_dir={} cutoff_len=512 max_samples=4\nlora rank=2\n\
         set batch=1 accum=1 logging_steps=1 report_to=tensorboard output_dir={}\ntrain 1\nbranch b\ntrain 1\n",
        fixture("tiny").display(),
        fixture("train").display(),
        output.display()
    );
    fs::write(&script, lines).unwrap();
    let train = || {
        let mut command = tunebook();
        let output = command.arg("run").arg(&script).env("TENSORBOARD_LOGGING_DIR", &logs).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    train();
    let steps =
        |run: &Path| scalars(&ask("events.py", run))["train/loss"].iter().map(|(step, _)| *step).collect::<Vec<_>>();
    assert_eq!((steps(&logs), steps(&logs.join("b"))), (vec![1], vec![1, 2]));
    assert!(!output.join("runs").exists());
    // Another training takes its place in TensorBoard.
    fs::remove_dir_all(&output).unwrap();
    train();
    assert_eq!(steps(&logs), [1]);
}

#[test]
fn the_hubs_library_reads_the_model_card() {
    let place = tempfile::tempdir().unwrap();
    let (output, saved, merged) = (place.path().join("run"), place.path().join("精灵"), place.path().join("merged"));
    let cancel = Cancel::default();
    let quiet = Context { emit: &|_| {}, cancel: &cancel };
    let mut session = begin(&output, &quiet);
    session.train(None, &quiet).unwrap();
    session.predict(&[], Some(2), None, &mut |_| {}, &quiet).unwrap();
    let report = session.save(&saved).unwrap();
    assert!(report.files.contains(&"README.md".to_string()), "{:?}", report.files);
    session.export(&merged, None, &quiet).unwrap();

    let card = ask("card.py", &saved);
    let metadata = &card["metadata"];
    assert_eq!(metadata["library_name"], "peft");
    assert_eq!((&metadata["base_model"], &metadata["license"]), (&"tiny".into(), &"other".into()));
    assert_eq!(metadata["tags"], serde_json::json!(["base_model:adapter:tiny", "lora", "transformers", "tunebook"]));
    assert_eq!(
        (&metadata["pipeline_tag"], &metadata["model-index"][0]["name"]),
        (&"image-text-to-text".into(), &"精灵".into())
    );
    let results = card["results"].as_array().unwrap();
    let kinds: Vec<_> = results.iter().map(|result| result["metric_type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["loss", "bleu", "rouge", "rouge", "rouge"]);
    let loss = session.evaluations().last().unwrap().loss;
    assert!((results[0]["metric_value"].as_f64().unwrap() - loss).abs() < 1e-4);
    let text = card["text"].as_str().unwrap();
    for part in
        ["# 精灵", "图中是什么/哪里？ (creature&#95;0.png)", "![Training loss](training_loss.png)", "### Scores"]
    {
        assert!(text.contains(part), "no {part} in {text}");
    }
    // Of this machine's folders it says nothing.
    for folder in [place.path(), &fixture("tiny"), &fixture("train")] {
        assert!(!text.contains(folder.to_str().unwrap()), "{text}");
    }
    // Scores of a training that has ended are added to its card.
    let card = ask("card.py", &output);
    assert!(card["text"].as_str().unwrap().contains("### Scores"), "{card}");
    assert_eq!(
        (&card["metadata"]["library_name"], &card["metadata"]["model-index"][0]["name"]),
        (&"peft".into(), &"run".into())
    );
    let card = ask("card.py", &merged);
    assert_eq!(card["metadata"]["library_name"], "transformers");
    assert_eq!(card["metadata"]["base_model_relation"], "finetune");
}
