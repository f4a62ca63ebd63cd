//! How the training was done: the lines of transformers' card, then those of the adapter, then every other setting that is
//! not at its default.

use super::Facts;
use crate::markdown::code;
use crate::recipe::notation::float;
use crate::resume::settings_to_keep;
use crate::settings::Group;
use crate::settings::Settings;
use crate::settings::declarations;

/// Settings that the other lines tell of, or that are no part of the training.
const TOLD: [&str; 26] = [
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "cutoff_len",
    "dataset",
    "eval_dataset",
    "gradient_accumulation_steps",
    "image_max_pixels",
    "learning_rate",
    "logging_steps",
    "lora_alpha",
    "lora_dropout",
    "lora_rank",
    "lora_target",
    "lr_scheduler_type",
    "max_steps",
    "num_train_epochs",
    "per_device_eval_batch_size",
    "per_device_train_batch_size",
    "plot_loss",
    "probe_steps",
    "seed",
    "use_dora",
    "use_rslora",
    "warmup_steps",
    "world_size",
];

pub(super) fn text(facts: Facts) -> String {
    if facts.run.step() == 0 {
        return String::new();
    }
    let lines = [hyperparameters(facts.settings), adapter(facts), others(facts)].concat();
    let lines: Vec<_> = lines.iter().map(|(name, value)| format!("- {name}: {value}")).collect();
    format!(
        "## Training procedure\n\n### Training hyperparameters\n\nThe following hyperparameters were used during \
         training:\n{}\n",
        lines.join("\n")
    )
}

type Lines = Vec<(String, String)>;

/// Those that transformers' `extract_hyperparameters_from_trainer` lists, in its words.
pub(super) fn hyperparameters(settings: &Settings) -> Lines {
    let Settings { gradient_accumulation_steps: accumulation, world_size, .. } = *settings;
    let batch = settings.per_device_train_batch_size;
    let eval_batch = settings.per_device_eval_batch_size.unwrap_or(crate::evaluate::BATCH);
    let mut lines = Lines::new();
    let mut add = |name: &str, value: String| lines.push((name.to_string(), value));
    add("learning_rate", float(settings.learning_rate));
    add("train_batch_size", batch.to_string());
    add("eval_batch_size", eval_batch.to_string());
    add("seed", settings.seed.to_string());
    if world_size > 1 {
        add("distributed_type", "multi-CPU".to_string());
        add("num_devices", world_size.to_string());
    }
    if accumulation > 1 {
        add("gradient_accumulation_steps", accumulation.to_string());
    }
    if accumulation * world_size > 1 {
        add("total_train_batch_size", (batch * accumulation * world_size).to_string());
    }
    if world_size > 1 {
        add("total_eval_batch_size", (eval_batch * world_size).to_string());
    }
    let [beta1, beta2, epsilon] = [settings.adam_beta1, settings.adam_beta2, settings.adam_epsilon].map(float);
    add(
        "optimizer",
        format!(
            "Use adamw_torch with betas=({beta1},{beta2}) and epsilon={epsilon} and optimizer_args=No additional \
             optimizer arguments"
        ),
    );
    add("lr_scheduler_type", settings.get("lr_scheduler_type").unwrap_or_default());
    if settings.warmup_steps > 0 {
        add("lr_scheduler_warmup_steps", settings.warmup_steps.to_string());
    }
    match settings.max_steps {
        steps @ 1.. => add("training_steps", steps.to_string()),
        _ => add("num_epochs", float(settings.num_train_epochs)),
    }
    lines
}

/// What the adapter is made with, by LLaMA-Factory's names.
fn adapter(facts: Facts) -> Lines {
    let Some(config) = &facts.adapter.config else { return Lines::new() };
    let mut lines = vec![
        ("lora_rank", config.r.to_string()),
        ("lora_alpha", config.lora_alpha.to_string()),
        ("lora_dropout", config.lora_dropout.to_string()),
        ("lora_target", code(&config.target.to_string())),
    ];
    let switches = [("use_rslora", config.use_rslora), ("use_dora", config.use_dora)];
    lines.extend(switches.into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| (name, "true".to_string())));
    lines.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// What a checkpoint keeps and is not at its default; how samples are read and computed with is always told.
fn others(facts: Facts) -> Lines {
    let of_data = facts.data.map_or(facts.settings, |data| &data.settings);
    let kept = settings_to_keep(facts.settings, of_data);
    let mut lines = vec![
        ("cutoff_len".to_string(), of_data.cutoff_len.to_string()),
        ("image_max_pixels".to_string(), of_data.image_max_pixels.to_string()),
        ("dtype".to_string(), facts.model.dtype.clone()),
    ];
    if facts.model.quantized.is_some() {
        lines.push(("quantization_bit".to_string(), facts.settings.get("quantization_bit").unwrap_or_default()));
    }
    let is_of_training = |group: Group| {
        matches!(
            group,
            Group::Pictures
                | Group::Data
                | Group::Prompt
                | Group::Lora
                | Group::Freeze
                | Group::Method
                | Group::Training
        )
    };
    for setting in declarations().iter().filter(|setting| is_of_training(setting.group) && !setting.flags.location) {
        match kept.get(setting.name) {
            Some(value) if *value != setting.default() && !TOLD.contains(&setting.name) => {
                lines.push((setting.name.to_string(), code(value)));
            }
            _ => {}
        }
    }
    lines
}
