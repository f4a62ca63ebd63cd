//! Events and outputs as JSON, as a page reads them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tunebook_commands::Event;
use tunebook_commands::Host;
use tunebook_commands::Lang;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_engine::Note;
use tunebook_engine::Task;
use tunebook_engine::advice::Advice;

use crate::fixtures::fixture;

#[test]
fn a_session_is_told_in_json() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let host = Host::start(Lang::En).unwrap();
    let mut told = Told::default();
    let picture = fixture("pictures/creature_0.png").display().to_string();
    for line in [
        format!("load {}", fixture("tiny").display()),
        format!("data creatures dataset_dir={} cutoff_len=512 val_size=0.2", fixture("train").display()),
        "sample 1".to_string(),
        "lora rank=4".to_string(),
        "set lr=1e-3 batch=2 accum=2 logging_steps=1 eval_steps=2 save_steps=2 max_new_tokens=3".to_string(),
        format!("set output_dir={}", place("run")),
        "probe probe_steps=4 Who is it?".to_string(),
        "train 4".to_string(),
        "probe show".to_string(),
        format!("plot save={}", place("loss.png")),
        "evaluate".to_string(),
        "predict".to_string(),
        format!("chat image={picture} What is it?"),
        format!("compare image={picture} What is it?"),
        "chat".to_string(),
        "adapter".to_string(),
        format!("save {}", place("adapter")),
        format!("export {}", place("merged")),
        "status".to_string(),
        "help".to_string(),
        "print said".to_string(),
        "clear".to_string(),
        format!("resume {}", place("run/checkpoint-4")),
        String::new(),
        "quit".to_string(),
    ] {
        told.carry_out(&host, &line);
    }

    let step = told.last("event", "Step");
    assert_eq!((&step["step"], &step["total_steps"]), (&json!(4), &told.last("output", "Trained")["total_steps"]));
    for number in ["loss", "grad_norm", "learning_rate", "epoch", "elapsed"] {
        assert!(step[number].is_f64(), "{number}: {step}");
    }
    let micro_batch = told.last("event", "MicroBatch");
    assert_eq!(
        (&micro_batch["step"], &micro_batch["last_step"], &micro_batch["total"]),
        (&json!(4), &json!(4), &json!(2))
    );
    assert!(micro_batch["done"].is_f64(), "{micro_batch}");
    assert_eq!(told.all("event", "Step").len(), 4);
    assert_eq!(told.all("event", "Evaluated").len(), 2);
    assert_eq!(told.last("event", "Probed")["answers"][0]["probe"]["question"], json!("Who is it?"));
    assert_eq!(told.last("output", "Probes")["records"][1]["step"], json!(4));
    assert!(told.last("event", "Evaluated")["loss"].is_f64() && told.last("event", "MemoryEstimate")["least"].is_f64());
    assert_eq!(told.all("event", "Answering"), [json!("base"), json!("default")]);
    assert!(told.last("event", "Text").is_string());
    assert!(told.last("event", "Progress")["task"].is_string());

    let trained = told.last("output", "Trained");
    assert_eq!(trained["end"], "Paused");
    assert!(trained["elapsed"].is_f64() && trained["best"]["eval_loss"].is_f64(), "{trained}");
    let loaded = told.last("output", "Loaded");
    assert_eq!((&loaded["path"], &loaded["quantized"]), (&json!(fixture("tiny")), &Value::Null));
    assert_eq!(told.last("output", "Picture"), &json!(picture));
    assert_eq!(told.last("output", "Compared")["images"], json!([picture]));
    assert!(told.last("output", "Compared")["answers"][0]["report"]["elapsed"].is_f64());
    let plot = told.last("output", "Plot");
    assert_eq!((&plot["name"], &plot["steps"]), (&json!("loss"), &json!([1.0, 2.0, 3.0, 4.0])));
    assert_eq!((&plot["file"], &plot["evaluations"][1][0]), (&json!(place("loss.png")), &json!(4.0)));
    assert_eq!(told.last("output", "Saved")["folder"], place("adapter"));
    assert_eq!(told.last("output", "Exported")["folder"], place("merged"));
    assert_eq!(told.last("output", "Resumed")["checkpoint"], place("run/checkpoint-4"));
    assert!(told.last("output", "Prediction")["scores"]["rouge_l"].is_f64());
    assert!(told.last("output", "Predicted")["elapsed"].is_f64());
    assert!(told.last("output", "Evaluated")["perplexity"].is_f64());
    assert!(told.last("output", "Answer")["first_token"].is_f64());
    assert!(told.last("output", "Sample")["tokens"][0]["supervised"].is_boolean());
    assert!(told.last("output", "Data")["tokens"]["median"].is_u64());
    assert_eq!(told.last("output", "Adapter")["lora"]["rank"], 4);
    assert_eq!(told.last("output", "Status")["last"]["step"], 4);
    assert_eq!(told.last("output", "Text"), "said");
    for name in ["Step", "Evaluation", "Adapters", "Table", "Nothing", "Conversation", "Quit"] {
        told.last("output", name);
    }
}

#[test]
fn rare_ones_are_serialised_too() {
    let time = Duration::from_millis(1500);
    let swapped = Advice::Swapped { gigabytes: 0.5 };
    for (event, expected) in [
        (Event::Estimate { steps: 2, time }, json!({"Estimate": {"steps": 2, "time": 1.5}})),
        (Event::Advice(swapped), json!({"Advice": {"Swapped": {"gigabytes": 0.5}}})),
        (
            Event::Download { file: "a.json".into(), done: 1, size: 2, all_done: 3, all: 4 },
            json!({"Download": {"file": "a.json", "done": 1, "size": 2, "all_done": 3, "all": 4}}),
        ),
        (Event::Note(Note::OtherBits), json!({"Note": "OtherBits"})),
        (
            Event::Note(Note::Kept { checkpoint: PathBuf::from("a/b") }),
            json!({"Note": {"Kept": {"checkpoint": "a/b"}}}),
        ),
        (
            Event::Progress { task: Task::EncodingEval, done: 1, total: 2 },
            json!({"Progress": {"task": "EncodingEval", "done": 1, "total": 2}}),
        ),
    ] {
        assert_eq!(serde_json::to_value(&event).unwrap(), expected);
    }
    let media = vec![("text/html".to_string(), "<b>x</b>".to_string())];
    for (output, expected) in [
        (Output::Clear, json!("Clear")),
        (Output::Stderr("x".to_string()), json!({"Stderr": "x"})),
        (Output::Display(media), json!({"Display": [["text/html", "<b>x</b>"]]})),
    ] {
        assert_eq!(serde_json::to_value(&output).unwrap(), expected);
    }
}

#[test]
#[cfg(unix)]
fn a_path_that_is_no_unicode_is_serialised_all_the_same() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let path = PathBuf::from(OsStr::from_bytes(b"a\xff.png"));
    assert_eq!(serde_json::to_value(Output::Picture(path)).unwrap(), json!({"Picture": "a\u{fffd}.png"}));
}

/// What came, by `event` or `output` and its variant.
#[derive(Default)]
struct Told(HashMap<(&'static str, String), Vec<Value>>);

impl Told {
    fn carry_out(&mut self, host: &Host, line: &str) {
        for message in host.line(line) {
            match message {
                Message::Event(event) => self.add("event", serde_json::to_value(event).unwrap()),
                Message::Output(output) => self.add("output", serde_json::to_value(output).unwrap()),
                Message::Job(_) | Message::Ask(_) | Message::Call(_) => {}
                Message::Done(result) => result.unwrap_or_else(|error| panic!("{line}: {error}")),
            }
        }
    }

    /// A variant without fields is its name, another one an object with its name as the only key.
    fn add(&mut self, kind: &'static str, value: Value) {
        let (name, value) = match value {
            Value::String(name) => (name, Value::Null),
            Value::Object(fields) => fields.into_iter().next().unwrap(),
            value => panic!("{value}"),
        };
        self.0.entry((kind, name)).or_default().push(value);
    }

    fn all(&self, kind: &'static str, name: &str) -> &[Value] {
        self.0.get(&(kind, name.to_string())).unwrap_or_else(|| panic!("no {kind} {name} in {:?}", self.0.keys()))
    }

    fn last(&self, kind: &'static str, name: &str) -> &Value {
        self.all(kind, name).last().unwrap()
    }
}
