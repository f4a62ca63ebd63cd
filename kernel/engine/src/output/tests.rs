use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use tunebook_nn::adapter::LinearShape;
use tunebook_nn::adapter::LoraConfig;
use tunebook_nn::models::FAMILIES;

use super::*;
use crate::event::Cancel;
use crate::report::EvaluationRecord;
use crate::report::StepRecord;
use crate::step_metrics::StepMetrics;

/// Nobody listens.
fn quiet() -> Context<'static> {
    static CANCEL: LazyLock<Cancel> = LazyLock::new(Cancel::default);
    Context { emit: &|_| {}, cancel: &CANCEL }
}

/// A training of 10 steps over 16 samples, logged every 4 and saved every 5.
struct Training {
    run: RunState,
    adapter: Adapter,
    shape: ModelShape,
    settings: Settings,
    model: LoadReport,
}

impl Training {
    fn new() -> Self {
        let name = "model.language_model.layers.0.self_attn.q_proj".to_string();
        let mut shape = ModelShape::new(&FAMILIES[0].names);
        shape.linears.push(LinearShape { name, rows: 6, cols: 4 });
        let config = LoraConfig { r: 2, lora_alpha: 4.0, ..LoraConfig::default() };
        Self {
            run: RunState { records: (1..=10).map(record).collect(), ..RunState::default() },
            adapter: Adapter::new(config, &shape, 42).unwrap(),
            shape,
            settings: Settings { logging_steps: 4, save_steps: 5, ..Settings::default() },
            model: base(),
        }
    }

    /// As it stood after some steps.
    fn after(&self, steps: usize) -> RunState {
        let evaluations = self.run.evaluations.iter().filter(|record| record.step <= steps).cloned().collect();
        RunState { records: self.run.records[..steps].to_vec(), evaluations, ..RunState::default() }
    }

    fn state<'a>(&'a self, run: &'a RunState) -> Trained<'a> {
        let Self { adapter, shape, settings, model, .. } = self;
        Trained { run, adapter, shape, samples: 16, settings, model, data: None, scores: None }
    }

    /// Trains step by step into a new folder.
    fn run(&self, folder: &Path) -> SaveReport {
        let mut output = OutputFolder::create(folder, false, "base", &quiet()).unwrap();
        for steps in 1..=self.run.step() {
            let run = self.after(steps);
            output.log(self.state(&run)).unwrap();
            if steps.is_multiple_of(self.settings.save_steps) {
                output.checkpoint(self.state(&run), None, |_, _| Ok(())).unwrap();
            }
        }
        output.finish(self.state(&self.run)).unwrap()
    }
}

fn base() -> LoadReport {
    LoadReport {
        name: "base".to_string(),
        path: "base".into(),
        architecture: "Qwen2_5_VLForConditionalGeneration".to_string(),
        parameters: 24,
        stored_dtype: "float32".to_string(),
        device: None,
        quantized: None,
        dtype: "float32".to_string(),
        text_layers: 1,
        vision_layers: 1,
        vocabulary: 10,
        own_head: false,
        unused: Vec::new(),
        elapsed: Duration::ZERO,
    }
}

/// 100 tokens and 400 s a step, 4 steps an epoch.
fn record(step: usize) -> StepRecord {
    StepRecord {
        step,
        total_steps: 10,
        metrics: StepMetrics::of_loss(2.0 - 0.125 * step as f64),
        grad_norm: 0.5,
        learning_rate: 1e-4,
        epoch: step as f64 / 4.0,
        tokens: 100 * step,
        elapsed: 400.0 * step as f64,
    }
}

/// It takes 10 s.
fn evaluation(step: usize, loss: f64) -> EvaluationRecord {
    EvaluationRecord {
        step,
        total_steps: 10,
        loss,
        epoch: step as f64 / 4.0,
        tokens: 100 * step,
        elapsed: 400.0 * step as f64 + 10.0,
        seconds: 10.0,
        samples: 5,
        batches: 3,
    }
}

fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn json(folder: &Path, name: &str) -> Value {
    serde_json::from_str(&text(folder, name)).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_folder_of_a_training_holds_what_the_report_says_and_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let training = Training::new();
    let report = training.run(folder.path());
    let mut files = report.files.clone();
    files.extend(["checkpoint-10".to_string(), "checkpoint-5".to_string()]);
    files.sort();
    assert_eq!(names(folder.path()), files);
    assert_eq!(
        names(&folder.path().join("checkpoint-5")),
        ["adapter_config.json", "adapter_model.safetensors", "trainer_state.json"]
    );
    for place in ["", "checkpoint-5"] {
        let loaded = Adapter::load(&folder.path().join(place), &training.shape).unwrap();
        assert_eq!(loaded.parameter_count(), training.adapter.parameter_count());
    }
    assert_eq!(json(folder.path(), "adapter_config.json")["base_model_name_or_path"], "base");
}

#[test]
fn a_line_is_logged_for_each_full_window_with_the_mean_of_its_losses() {
    let folder = tempfile::tempdir().unwrap();
    Training::new().run(folder.path());
    assert_eq!(
        text(folder.path(), "trainer_log.jsonl"),
        concat!(
            r#"{"current_steps":4,"total_steps":10,"loss":1.6875,"lr":0.0001,"epoch":1.0,"percentage":40.0,"#,
            r#""elapsed_time":"0:26:40","remaining_time":"0:40:00","throughput":0.25,"total_tokens":400}"#,
            "\n",
            r#"{"current_steps":8,"total_steps":10,"loss":1.1875,"lr":0.0001,"epoch":2.0,"percentage":80.0,"#,
            r#""elapsed_time":"0:53:20","remaining_time":"0:13:20","throughput":0.25,"total_tokens":800}"#,
            "\n",
        )
    );
}

#[test]
fn the_state_has_the_log_and_in_the_end_the_results() {
    let folder = tempfile::tempdir().unwrap();
    Training::new().run(folder.path());
    let middle = json(folder.path(), "checkpoint-5/trainer_state.json");
    assert_eq!((&middle["global_step"], &middle["max_steps"], &middle["epoch"]), (&5.into(), &10.into(), &1.25.into()));
    let logged = serde_json::json!({
        "epoch": 1.0, "grad_norm": 0.5, "learning_rate": 1e-4, "loss": 1.6875, "num_input_tokens_seen": 400, "step": 4
    });
    assert_eq!(middle["log_history"], serde_json::json!([logged]));

    let end = json(folder.path(), "trainer_state.json");
    assert_eq!((&end["global_step"], &end["num_train_epochs"]), (&10.into(), &3.into()));
    assert_eq!(
        (&end["logging_steps"], &end["save_steps"], &end["train_batch_size"]),
        (&4.into(), &5.into(), &2.into())
    );
    let history = end["log_history"].as_array().unwrap();
    assert_eq!((history.len(), &history[0], &history[2]["step"]), (3, &logged, &10.into()));
    assert_eq!(history[2]["train_loss"], json(folder.path(), "train_results.json")["train_loss"]);
    let keys: Vec<_> = end.as_object().unwrap().keys().collect();
    assert!(keys.is_sorted(), "{keys:?}");
}

#[test]
fn an_evaluation_is_logged_as_the_trainer_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut training = Training::new();
    training.run.evaluations = vec![evaluation(5, 1.5), evaluation(10, 1.75)];
    let report = training.run(folder.path());
    let log = text(folder.path(), "trainer_log.jsonl");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<_> = lines.iter().map(|line| line["current_steps"].as_u64().unwrap()).collect();
    assert_eq!(steps, [4, 5, 8, 10]);
    assert_eq!(
        log.lines().nth(1).unwrap(),
        concat!(
            r#"{"current_steps":5,"total_steps":10,"eval_loss":1.5,"epoch":1.25,"percentage":50.0,"#,
            r#""elapsed_time":"0:33:30","remaining_time":"0:33:30","throughput":0.25,"total_tokens":500}"#
        )
    );
    let state = json(folder.path(), "trainer_state.json");
    let expected = serde_json::json!({
        "epoch": 1.25, "eval_loss": 1.5, "eval_runtime": 10.0, "eval_samples_per_second": 0.5,
        "eval_steps_per_second": 0.3, "num_input_tokens_seen": 500, "step": 5
    });
    assert_eq!(state["log_history"][1], expected);
    assert_eq!((&state["best_global_step"], &state["best_metric"]), (&5.into(), &1.5.into()));
    let best = folder.path().join("checkpoint-5");
    assert_eq!(state["best_model_checkpoint"], best.to_str().unwrap());
    // The last evaluation is that of the adapter that is saved.
    assert_eq!(json(folder.path(), "eval_results.json")["eval_loss"], 1.75);
    assert!(report.files.contains(&"training_eval_loss.png".to_string()), "{:?}", report.files);

    // A training that is taken up again after step 5 goes on with the log of that time.
    let mut log = Log::default();
    let run = training.after(5);
    log.catch_up(&run.records, &run.evaluations, 4);
    OutputFolder::resume(folder.path(), "base", 10, log, &quiet()).unwrap();
    assert_eq!(text(folder.path(), "trainer_log.jsonl").lines().count(), 2);
}

#[test]
fn the_results_are_those_of_transformers() {
    let folder = tempfile::tempdir().unwrap();
    Training::new().run(folder.path());
    let expected = r#"{
    "epoch": 2.5,
    "num_input_tokens_seen": 1000,
    "train_loss": 1.3125,
    "train_runtime": 4000.0,
    "train_samples_per_second": 0.01,
    "train_steps_per_second": 0.003
}"#;
    assert_eq!(text(folder.path(), "train_results.json"), expected);
    assert_eq!(text(folder.path(), "all_results.json"), expected);
}

#[test]
fn saving_afterwards_writes_the_same_log_and_state() {
    let (live, later) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let training = Training::new();
    training.run(live.path());
    for _ in 0..2 {
        OutputFolder::to_save(later.path(), "base").unwrap().finish(training.state(&training.run)).unwrap();
        for name in [TRAINER_LOG, TRAINER_STATE] {
            assert_eq!(text(later.path(), name), text(live.path(), name));
        }
    }
}

#[test]
fn an_adapter_that_was_never_trained_is_saved_alone() {
    let folder = tempfile::tempdir().unwrap();
    let output = OutputFolder::create(&folder.path().join("new"), false, "base", &quiet()).unwrap();
    let report = { output }.finish(Training::new().state(&RunState::default())).unwrap();
    assert_eq!(report.files, ["adapter_model.safetensors", "adapter_config.json", "README.md"]);
    assert_eq!(names(&report.folder), ["README.md", "adapter_config.json", "adapter_model.safetensors"]);
}

#[test]
fn no_plot_is_drawn_where_none_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let mut training = Training::new();
    training.settings.plot_loss = false;
    let report = training.run(folder.path());
    assert!(!report.files.contains(&"training_loss.png".to_string()));
    assert!(!folder.path().join("training_loss.png").exists());
}

#[test]
fn a_folder_that_holds_a_training_is_only_overwritten_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    Training::new().run(folder.path());
    let message = OutputFolder::create(folder.path(), false, "base", &quiet()).unwrap_err().to_string();
    assert!(message.contains("already contains a training (adapter_config.json)"), "{message}");
    assert!(message.contains("overwrite_output_dir=true"), "{message}");
    assert!(folder.path().join(TRAINER_LOG).exists());
    drop(OutputFolder::create(folder.path(), true, "base", &quiet()).unwrap());
    assert_eq!(names(folder.path()), ["earlier", "notes.txt"]);
    assert!(folder.path().join("earlier").join(TRAINER_LOG).exists());
    assert_eq!(text(folder.path(), "notes.txt"), "mine");
}

#[test]
fn a_training_that_overwrites_a_longer_one_keeps_its_own_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let mut training = Training::new();
    training.run(folder.path());
    training.settings.save_total_limit = Some(1);
    training.run.records.truncate(5);
    let mut output = OutputFolder::create(folder.path(), true, "base", &quiet()).unwrap();
    output.log(training.state(&training.run)).unwrap();
    output.checkpoint(training.state(&training.run), None, |_, _| Ok(())).unwrap();
    assert!(folder.path().join("checkpoint-5").is_dir() && !folder.path().join("checkpoint-10").exists());
    assert!(folder.path().join("earlier/checkpoint-10").is_dir());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for place in [file.join("out"), file] {
        let message = OutputFolder::create(&place, true, "base", &quiet()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("cannot write {}", place.display())), "{message}");
    }
}

#[test]
fn the_log_is_also_written_as_csv() {
    let folder = tempfile::tempdir().unwrap();
    let mut training = Training::new();
    training.settings.report_to = vec![Reporter::Csv];
    training.run.evaluations = vec![evaluation(5, f64::NAN), evaluation(10, 1.75)];
    let report = training.run(folder.path());
    let expected = [
        "step,epoch,loss,grad_norm,learning_rate,num_input_tokens_seen,eval_loss,eval_runtime,\
         eval_samples_per_second,eval_steps_per_second",
        "4,1.0,1.6875,0.5,0.0001,400,,,,",
        "5,1.25,,,,500,nan,10.0,0.5,0.3",
        "8,2.0,1.1875,0.5,0.0001,800,,,,",
        "10,2.5,,,,1000,1.75,10.0,0.5,0.3",
        "",
    ];
    let csv = || text(folder.path(), TRAINER_CSV);
    assert_eq!(csv().split('\n').collect::<Vec<_>>(), expected);
    assert!(report.files.contains(&TRAINER_CSV.to_string()), "{:?}", report.files);

    // A training that goes on from an earlier step, and one of which steps are undone.
    let mut log = Log::default();
    let run = training.after(5);
    log.catch_up(&run.records, &run.evaluations, 4);
    let mut output = OutputFolder::resume(folder.path(), "base", 5, log, &quiet()).unwrap();
    assert_eq!(csv().split('\n').count(), 4);
    output.log(training.state(&training.run)).unwrap();
    assert_eq!(csv().split('\n').collect::<Vec<_>>(), expected);
    output.take_back(4, 0, false, false).unwrap();
    assert_eq!(csv().split('\n').collect::<Vec<_>>(), [expected[0], expected[1], ""]);
}

#[test]
fn a_card_of_ones_own_is_not_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    Training::new().run(folder.path());
    drop(OutputFolder::create(folder.path(), true, "base", &quiet()).unwrap());
    assert!(folder.path().join("earlier/README.md").exists() && !folder.path().join("README.md").exists());
    std::fs::write(folder.path().join("README.md"), "mine").unwrap();
    let report = Training::new().run(folder.path());
    assert!(!report.files.contains(&"README.md".to_string()));
    drop(OutputFolder::create(folder.path(), true, "base", &quiet()).unwrap());
    assert_eq!(text(folder.path(), "README.md"), "mine");
}
