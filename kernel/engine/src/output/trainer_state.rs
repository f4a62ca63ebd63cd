//! `trainer_state.json`, as the `TrainerState` of transformers reads and writes it.

use std::path::Path;

use serde_json::Value;
use serde_json::json;

use super::log::Entry;
use super::results;
use super::results::Results;
use crate::checkpoint::folder;
use crate::run_state::RunState;
use crate::settings::Settings;

/// The text of the file. `entries` are what was logged; `results` of a training that has ended become its last entry, as
/// transformers has it. `output` is the folder in which the checkpoints lie.
///
/// Optimizer and schedule are not in it, and `total_flos` is left out since nothing counts it.
pub(super) fn to_json(
    run: &RunState,
    entries: &[Entry],
    results: Option<Results>,
    output: &Path,
    settings: &Settings,
) -> String {
    let last = run.records.last();
    let step = run.step();
    let mut log_history: Vec<Value> = entries.iter().map(|entry| json!(metrics(entry))).collect();
    if let Some(mut results) = results {
        results.insert("step".to_string(), json!(step));
        log_history.push(json!(results));
    }
    let best = run.best();
    let checkpoint = best.map(|best| folder::place(output, best.step)).filter(|place| place.is_dir());
    let state = json!({
        "best_global_step": best.map(|best| best.step),
        "best_metric": best.map(|best| best.loss),
        "best_model_checkpoint": checkpoint,
        "epoch": last.map_or(0.0, |record| record.epoch),
        "eval_steps": settings.steps_between_evaluations(),
        "global_step": step,
        "is_hyper_param_search": false,
        "is_local_process_zero": true,
        "is_world_process_zero": true,
        "log_history": log_history,
        "logging_steps": settings.logging_steps,
        "max_steps": last.map_or(0, |record| record.total_steps),
        "num_input_tokens_seen": last.map_or(0, |record| record.tokens),
        "num_train_epochs": settings.num_train_epochs.ceil() as usize,
        "save_steps": settings.save_steps,
        "stateful_callbacks": {},
        "train_batch_size": settings.per_device_train_batch_size,
        "trial_name": null,
        "trial_params": null,
    });
    format!("{state:#}\n")
}

/// What is logged of an entry, by the names of transformers.
pub(super) fn metrics(entry: &Entry) -> Results {
    match entry {
        Entry::Step(record) => {
            let mut metrics = Results::from([
                ("epoch".to_string(), json!(record.epoch)),
                ("grad_norm".to_string(), json!(record.grad_norm)),
                ("learning_rate".to_string(), json!(record.learning_rate)),
                ("num_input_tokens_seen".to_string(), json!(record.tokens)),
                ("step".to_string(), json!(record.step)),
            ]);
            metrics.extend(record.metrics.iter().map(|(name, value)| (name.to_string(), json!(value))));
            metrics
        }
        Entry::Evaluation(record) => {
            let mut metrics = Results::from([
                ("epoch".to_string(), json!(record.epoch)),
                ("eval_loss".to_string(), json!(record.loss)),
                ("num_input_tokens_seen".to_string(), json!(record.tokens)),
                ("step".to_string(), json!(record.step)),
            ]);
            results::add_speed(&mut metrics, "eval", record.seconds, record.samples as f64, record.batches as f64);
            metrics
        }
    }
}
