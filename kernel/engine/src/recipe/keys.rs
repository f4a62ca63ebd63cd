//! The keys of LLaMA-Factory and of transformers' `TrainingArguments` that are no settings of ours.

/// What a key does to a run.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Nothing, whatever its value: it steers Python, the machine, or a kind of training that is not asked for.
    None,
    /// Nothing as long as it has one of these values; else it would change the result, and this is why it cannot.
    NoneIf(&'static [&'static str], &'static str),
}

/// The effect of `key`; `None` if it is no such key.
pub fn effect(key: &str) -> Option<Effect> {
    if WITHOUT_EFFECT.contains(&key) {
        return Some(Effect::None);
    }
    NEUTRAL.iter().find(|(name, ..)| *name == key).map(|(_, values, why)| Effect::NoneIf(values, why))
}

pub fn names() -> impl Iterator<Item = &'static str> {
    WITHOUT_EFFECT.iter().copied().chain(NEUTRAL.iter().map(|(name, ..)| *name))
}

const OFF: &[&str] = &["false"];
const ZERO: &[&str] = &["0", "false"];
/// No value but none.
const UNSET: &[&str] = &["none"];

const EVALUATION: &str = "evaluation during training is not built yet; leave it out";
const OPTIMIZERS: &str = "the only optimizer is AdamW; write optim: adamw_torch";
const LOSSES: &str = "the only loss is cross-entropy; leave it out";
const INITIAL: &str = "this kind of LoRA is not built yet; leave it out for plain LoRA";
const TOWER: &str = "only the language model is trained so far; the vision tower and the projector stay frozen";
const QUANTIZED: &str = "quantized training is not built yet; leave it out";
const SELECTION: &str = "choosing among checkpoints is not built yet; leave it out";

/// Name, values that change nothing, why others cannot be followed.
const NEUTRAL: &[(&str, &[&str], &str)] = &[
    ("stage", &["sft"], "the only stage is supervised fine-tuning; write stage: sft"),
    ("finetuning_type", &["lora"], "only LoRA is trained so far; write finetuning_type: lora"),
    ("do_train", &["true"], "`tunebook train` trains; write do_train: true"),
    ("do_eval", OFF, EVALUATION),
    ("do_predict", OFF, "predictions are not built yet; leave it out"),
    ("predict_with_generate", OFF, "predictions are not built yet; leave it out"),
    ("eval_strategy", &["no", "false"], EVALUATION),
    ("evaluation_strategy", &["no", "false"], EVALUATION),
    ("eval_on_start", OFF, EVALUATION),
    ("compute_accuracy", OFF, EVALUATION),
    ("early_stopping_steps", UNSET, SELECTION),
    ("load_best_model_at_end", OFF, SELECTION),
    ("save_total_limit", UNSET, "every checkpoint is kept; leave it out"),
    ("save_strategy", &["steps"], "checkpoints come every save_steps; write save_strategy: steps"),
    ("logging_strategy", &["steps"], "the log comes every logging_steps; write logging_strategy: steps"),
    ("logging_first_step", OFF, "the log comes every logging_steps; write logging_steps: 1 for every step"),
    ("resume_from_checkpoint", OFF, "going on from a checkpoint is not built yet; name it in adapter_name_or_path"),
    ("fp16", OFF, "products are formed in float32 or bfloat16; write bf16: true, or leave it out"),
    ("bf16", OFF, ""),
    ("pure_bf16", OFF, ""),
    ("fp8", OFF, "products are formed in float32 or bfloat16; leave it out"),
    ("optim", &["adamw_torch", "adamw_torch_fused", "adamw_hf"], OPTIMIZERS),
    ("adafactor", OFF, OPTIMIZERS),
    ("use_galore", OFF, OPTIMIZERS),
    ("use_apollo", OFF, OPTIMIZERS),
    ("use_badam", OFF, OPTIMIZERS),
    ("use_adam_mini", OFF, OPTIMIZERS),
    ("use_muon", OFF, OPTIMIZERS),
    ("loraplus_lr_ratio", ZERO, "LoRA+ is not built yet; leave it out"),
    ("use_rslora", OFF, INITIAL),
    ("use_dora", OFF, INITIAL),
    ("pissa_init", OFF, INITIAL),
    ("pissa_convert", OFF, INITIAL),
    ("use_llama_pro", OFF, "block expansion is not built; leave it out"),
    ("additional_target", UNSET, "only LoRA layers are trained so far; leave it out"),
    ("create_new_adapter", OFF, "merging an adapter under a new one is not built yet; leave it out"),
    ("freeze_vision_tower", &["true"], TOWER),
    ("freeze_multi_modal_projector", &["true"], TOWER),
    ("freeze_language_model", OFF, TOWER),
    ("quantization_bit", UNSET, QUANTIZED),
    ("rope_scaling", UNSET, "longer contexts by rope scaling are not built yet; leave it out"),
    ("shift_attn", OFF, "shifted attention is not built; leave it out"),
    ("mixture_of_depths", UNSET, "mixture of depths is not built; leave it out"),
    ("neftune_noise_alpha", ZERO, "noise on embeddings (NEFTune) is not built yet; leave it out"),
    ("resize_vocab", OFF, "a larger vocabulary is not built yet; leave it out"),
    ("new_special_tokens", UNSET, "new tokens are not built yet; leave it out"),
    ("add_tokens", UNSET, "new tokens are not built yet; leave it out"),
    ("add_special_tokens", UNSET, "new tokens are not built yet; leave it out"),
    ("split_special_tokens", OFF, "special tokens are never split; leave it out"),
    ("streaming", OFF, "data sets are read as a whole; leave it out"),
    ("tokenized_path", UNSET, "data sets are encoded anew each time; leave it out"),
    ("default_system", UNSET, "another system prompt is not built yet; give it in the data"),
    ("tool_format", &["qwen"], "tools are described as Qwen2.5 reads them; write tool_format: qwen"),
    ("image_do_pan_and_scan", OFF, "Qwen2.5-VL does not cut pictures into parts; leave it out"),
    ("label_smoothing_factor", ZERO, LOSSES),
    ("use_dft_loss", OFF, LOSSES),
    ("use_asft_loss", OFF, LOSSES),
    ("use_eaft_loss", OFF, LOSSES),
    ("lr_scheduler_kwargs", UNSET, "schedules take no further values; leave it out"),
    ("group_by_length", OFF, "samples are not grouped by length; leave it out"),
    ("dataloader_drop_last", OFF, "the last, smaller batch is trained on; leave it out"),
    ("data_seed", UNSET, "`seed` fixes the order of the data; leave it out"),
    ("model_revision", &["main"], "a model is a folder; download the revision you mean"),
    ("report_to", &["none"], "a report to a service is not built; write report_to: none"),
    ("use_swanlab", OFF, "a report to a service is not built; leave it out"),
    ("push_to_hub", OFF, "uploads are not built; leave it out"),
];

const WITHOUT_EFFECT: &[&str] = &[
    // Python, its libraries and the machine.
    "average_tokens_across_devices",
    "cache_dir",
    "data_shared_file_system",
    "dataloader_num_workers",
    "dataloader_persistent_workers",
    "dataloader_pin_memory",
    "dataloader_prefetch_factor",
    "ddp_backend",
    "ddp_find_unused_parameters",
    "ddp_timeout",
    "deepspeed",
    "disable_gradient_checkpointing",
    "disable_tqdm",
    "enable_liger_kernel",
    "flash_attn",
    "fsdp",
    "fsdp_config",
    "full_determinism",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "hf_hub_token",
    "local_rank",
    "low_cpu_mem_usage",
    "ms_hub_token",
    "om_hub_token",
    "offload_folder",
    "overwrite_cache",
    "preprocessing_batch_size",
    "preprocessing_num_workers",
    "print_param_status",
    "ray_run_name",
    "ray_storage_path",
    "remove_unused_columns",
    "tf32",
    "torch_compile",
    "torch_empty_cache_steps",
    "trust_remote_code",
    "upcast_layernorm",
    "upcast_lmhead_output",
    "use_cpu",
    "use_fast_tokenizer",
    "use_kv_cache",
    "use_reentrant_gc",
    "use_unsloth",
    "use_unsloth_gc",
    // What is logged beside the loss.
    "include_num_input_tokens_seen",
    "include_tokens_per_second",
    "log_level",
    "logging_dir",
    "logging_nan_inf_filter",
    "run_name",
    // A checkpoint holds no optimizer yet.
    "save_only_model",
    "save_safetensors",
    // Evaluation, which is refused where it is asked for.
    "eval_accumulation_steps",
    "eval_num_beams",
    "eval_steps",
    "per_device_eval_batch_size",
    // Quantization, which is refused where it is asked for.
    "double_quantization",
    "quantization_device_map",
    "quantization_method",
    "quantization_type",
    // Other kinds of training, which are refused where they are asked for.
    "freeze_extra_modules",
    "freeze_trainable_layers",
    "freeze_trainable_modules",
    "loraplus_lr_embedding",
    "pissa_iter",
    "pref_beta",
    "pref_ftx",
    "pref_loss",
    // Videos, sounds and reasoning, which Qwen2.5-VL samples of pictures have not.
    "audio_sampling_rate",
    "enable_thinking",
    "use_audio_in_video",
    "video_fps",
    "video_max_pixels",
    "video_maxlen",
    "video_min_pixels",
    // The loss never counts padding, since there is none.
    "ignore_data_skip",
    "ignore_pad_token_for_loss",
];
