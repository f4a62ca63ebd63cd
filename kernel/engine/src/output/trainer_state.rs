//! `trainer_state.json`, as the `TrainerState` of transformers reads and writes it.

use serde_json::Value;
use serde_json::json;

use super::results::Results;
use crate::report::StepRecord;
use crate::settings::Settings;

/// The text of the file. `history` is what was logged; `results` of a training that has ended become its last entry,
/// as transformers has it.
///
/// Optimizer and schedule are not in it, and `total_flos` is left out since nothing counts it.
pub(super) fn to_json(
    records: &[StepRecord],
    history: &[StepRecord],
    results: Option<Results>,
    settings: &Settings,
) -> String {
    let last = records.last();
    let step = last.map_or(0, |record| record.step);
    let mut log_history: Vec<Value> = history.iter().map(entry).collect();
    if let Some(mut results) = results {
        results.insert("step".to_string(), json!(step));
        log_history.push(json!(results));
    }
    let state = json!({
        "best_global_step": null,
        "best_metric": null,
        "best_model_checkpoint": null,
        "epoch": last.map_or(0.0, |record| record.epoch),
        // The value of transformers for a training without evaluation.
        "eval_steps": 500,
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

fn entry(record: &StepRecord) -> Value {
    json!({
        "epoch": record.epoch,
        "grad_norm": record.grad_norm,
        "learning_rate": record.learning_rate,
        "loss": record.loss,
        "num_input_tokens_seen": record.tokens,
        "step": record.step,
    })
}
