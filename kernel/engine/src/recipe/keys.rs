//! The keys of LLaMA-Factory and of transformers' `TrainingArguments` that are not settings here.

use crate::lang::Localized;
use crate::lang::localized;

/// What a key does to a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    /// Nothing, whatever its value: it steers Python, the machine, or a kind of training that is not asked for.
    None,
    /// Nothing either, but with this value it would do nothing in LLaMA-Factory as well.
    Unused(&'static str),
    /// Nothing as long as it has one of these values; else it would change the result, and this is why it cannot.
    NoneIf(&'static [&'static str], Localized),
}

/// The effect of `key`; `None` if it is no such key.
pub(super) fn effect(key: &str) -> Option<Effect> {
    let unused = REPORTS.iter().find(|(name, _)| *name == key).map(|(_, off)| Effect::Unused(off));
    let neutral = NEUTRAL.iter().find(|(name, ..)| *name == key).map(|(_, values, why)| Effect::NoneIf(values, *why));
    let is_detail = || WITHOUT_EFFECT.contains(&key) || DETAILS.iter().any(|beginning| key.starts_with(beginning));
    unused.or(neutral).or_else(|| is_detail().then_some(Effect::None))
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let reports = REPORTS.iter().map(|(name, _)| *name);
    WITHOUT_EFFECT.iter().copied().chain(NEUTRAL.iter().map(|(name, ..)| *name)).chain(reports)
}

const OFF: &[&str] = &["false"];
const ZERO: &[&str] = &["0", "false"];
/// No value but none.
const UNSET: &[&str] = &["none"];

const METRIC: Localized =
    localized("the only evaluation metric is eval_loss; remove this key", "评估指标只有 eval_loss；请去掉这一项");
const OPTIMIZERS: Localized =
    localized("the only optimizer is AdamW; write optim: adamw_torch", "只有 AdamW 优化器；请写 optim: adamw_torch");
const LOSSES: Localized = localized("the only loss is cross-entropy; remove this key", "只有交叉熵损失；请去掉这一项");
const ELSEWHERE: Localized =
    localized("training with another library is not supported; remove this key", "不支持用其他库训练；请去掉这一项");
const NEW_TOKENS: Localized =
    localized("adding tokens is not supported yet; remove this key", "尚不支持新增 token；请去掉这一项");

const TRUE_OR_FALSE: Localized = localized("it must be true or false", "只能是 true 或 false");

/// Name, values that change nothing, why others cannot be followed.
const NEUTRAL: &[(&str, &[&str], Localized)] = &[
    (
        "stage",
        &["sft"],
        localized("the only stage is supervised fine-tuning; write stage: sft", "只有监督微调阶段；请写 stage: sft"),
    ),
    ("do_train", &["true", "false"], TRUE_OR_FALSE),
    ("do_eval", &["true", "false"], TRUE_OR_FALSE),
    ("do_predict", &["true", "false"], TRUE_OR_FALSE),
    ("predict_with_generate", &["true", "false"], TRUE_OR_FALSE),
    (
        "evaluation_strategy",
        &["no", "false"],
        localized(
            "it is now called eval_strategy; write eval_strategy",
            "这一项现在叫 eval_strategy；请写 eval_strategy",
        ),
    ),
    (
        "eval_on_start",
        OFF,
        localized(
            "the first evaluation follows eval_steps; remove this key",
            "首次评估由 eval_steps 决定；请去掉这一项",
        ),
    ),
    ("eval_delay", ZERO, localized("evaluations are not delayed; remove this key", "评估从一开始就进行；请去掉这一项")),
    ("compute_accuracy", OFF, METRIC),
    ("metric_for_best_model", &["loss", "eval_loss"], METRIC),
    ("greater_is_better", OFF, METRIC),
    (
        "logging_strategy",
        &["steps"],
        localized(
            "the log is written every logging_steps; write logging_strategy: steps",
            "日志按 logging_steps 输出；请写 logging_strategy: steps",
        ),
    ),
    (
        "logging_first_step",
        OFF,
        localized(
            "the log is written every logging_steps; to log every step, write logging_steps: 1",
            "日志按 logging_steps 输出；要每步都输出，请写 logging_steps: 1",
        ),
    ),
    (
        "fp16",
        OFF,
        localized(
            "matrix products are computed in float32 or bfloat16; write bf16: true, or remove this key",
            "矩阵乘法用 float32 或 bfloat16 计算；请写 bf16: true 或去掉这一项",
        ),
    ),
    ("bf16", OFF, TRUE_OR_FALSE),
    ("pure_bf16", OFF, TRUE_OR_FALSE),
    (
        "fp8",
        OFF,
        localized(
            "matrix products are computed in float32 or bfloat16; remove this key",
            "矩阵乘法用 float32 或 bfloat16 计算；请去掉这一项",
        ),
    ),
    ("optim", &["adamw_torch", "adamw_torch_fused", "adamw_hf"], OPTIMIZERS),
    ("adafactor", OFF, OPTIMIZERS),
    ("use_galore", OFF, OPTIMIZERS),
    ("use_apollo", OFF, OPTIMIZERS),
    ("use_badam", OFF, OPTIMIZERS),
    ("use_adam_mini", OFF, OPTIMIZERS),
    ("use_muon", OFF, OPTIMIZERS),
    (
        "use_llama_pro",
        OFF,
        localized("block expansion is not supported; remove this key", "不支持块扩展；请去掉这一项"),
    ),
    (
        "create_new_adapter",
        OFF,
        localized(
            "creating a new adapter on top of a merged one is not supported yet; remove this key",
            "尚不支持合并后再新建适配器；请去掉这一项",
        ),
    ),
    (
        "quantization_method",
        &["bnb", "bitsandbytes"],
        localized(
            "models are quantized like bitsandbytes; write quantization_method: bnb",
            "量化方式与 bitsandbytes 相同；请写 quantization_method: bnb",
        ),
    ),
    (
        "quantization_type",
        &["nf4"],
        localized(
            "4-bit quantization is NF4; write quantization_type: nf4",
            "4 比特量化即 NF4；请写 quantization_type: nf4",
        ),
    ),
    (
        "double_quantization",
        &["true"],
        localized(
            "4-bit quantization always uses double quantization; write double_quantization: true",
            "4 比特量化总是使用双重量化；请写 double_quantization: true",
        ),
    ),
    (
        "rope_scaling",
        UNSET,
        localized("RoPE scaling is not supported yet; remove this key", "尚不支持 RoPE 插值；请去掉这一项"),
    ),
    (
        "shift_attn",
        OFF,
        localized("shifted sparse attention is not supported; remove this key", "不支持 S^2-Attn；请去掉这一项"),
    ),
    (
        "mixture_of_depths",
        UNSET,
        localized("mixture of depths is not supported; remove this key", "不支持深度混合；请去掉这一项"),
    ),
    (
        "resize_vocab",
        OFF,
        localized("resizing the vocabulary is not supported yet; remove this key", "尚不支持扩大词表；请去掉这一项"),
    ),
    ("new_special_tokens", UNSET, NEW_TOKENS),
    ("add_tokens", UNSET, NEW_TOKENS),
    ("add_special_tokens", UNSET, NEW_TOKENS),
    (
        "split_special_tokens",
        OFF,
        localized("special tokens are never split; remove this key", "特殊 token 从不拆分；请去掉这一项"),
    ),
    ("streaming", OFF, localized("datasets are read as a whole; remove this key", "数据集总是整体读入；请去掉这一项")),
    (
        "tokenized_path",
        UNSET,
        localized("datasets are encoded each time; remove this key", "数据集每次都重新编码；请去掉这一项"),
    ),
    (
        "tool_format",
        &["qwen"],
        localized(
            "tools are described in Qwen's format; write tool_format: qwen",
            "工具按 Qwen 的格式描述；请写 tool_format: qwen",
        ),
    ),
    (
        "image_do_pan_and_scan",
        OFF,
        localized("images are not split into parts; remove this key", "不切分图片；请去掉这一项"),
    ),
    ("label_smoothing_factor", ZERO, LOSSES),
    ("use_dft_loss", OFF, LOSSES),
    ("use_asft_loss", OFF, LOSSES),
    ("use_eaft_loss", OFF, LOSSES),
    (
        "group_by_length",
        OFF,
        localized("samples are not grouped by length; remove this key", "样本不按长度分组；请去掉这一项"),
    ),
    (
        "dataloader_drop_last",
        OFF,
        localized(
            "the last, smaller batch is used as well; remove this key",
            "最后一个较小的批次也参与训练；请去掉这一项",
        ),
    ),
    ("push_to_hub", OFF, localized("uploading is not supported; remove this key", "不支持上传；请去掉这一项")),
    (
        "auto_find_batch_size",
        OFF,
        localized(
            "the batch size is not searched for; write per_device_train_batch_size",
            "不自动寻找批处理大小；请写 per_device_train_batch_size",
        ),
    ),
    ("optim_args", UNSET, OPTIMIZERS),
    ("optim_target_modules", UNSET, OPTIMIZERS),
    (
        "train_from_scratch",
        OFF,
        localized("training starts from the model's weights; remove this key", "训练从已有的权重开始；请去掉这一项"),
    ),
    (
        "train_sampling_strategy",
        &["random"],
        localized(
            "samples are shuffled; to keep their order, write disable_shuffling: true",
            "样本会打乱；要保持顺序请写 disable_shuffling: true",
        ),
    ),
    (
        "adapter_folder",
        UNSET,
        localized("give the whole path in adapter_name_or_path", "请把完整路径写到 adapter_name_or_path"),
    ),
    (
        "eval_on_each_dataset",
        OFF,
        localized("all datasets are evaluated together; remove this key", "所有数据集一起评估；请去掉这一项"),
    ),
    ("new_special_tokens_config", UNSET, NEW_TOKENS),
    ("num_beams", &["1"], localized("beam search is not supported; remove this key", "不支持束搜索；请去掉这一项")),
    (
        "generation_config",
        UNSET,
        localized(
            "the model's own generation_config.json is used; remove this key",
            "使用模型自带的 generation_config.json；请去掉这一项",
        ),
    ),
    ("use_hyper_parallel", OFF, ELSEWHERE),
    ("use_kt", OFF, ELSEWHERE),
    ("use_mca", OFF, ELSEWHERE),
];

/// Services that are told how a training goes, and the value with which they are not.
const REPORTS: &[(&str, &str)] = &[("use_swanlab", "false")];

/// The setting, which names such services in recipes.
pub(super) const REPORT_TO: &str = "report_to";

/// Those of transformers. Nothing is sent to any.
pub(super) const SERVICES: &[&str] = &[
    "azure_ml",
    "clearml",
    "codecarbon",
    "comet_ml",
    "dagshub",
    "dvclive",
    "flyte",
    "kubeflow",
    "mlflow",
    "neptune",
    "swanlab",
    "trackio",
    "wandb",
];

const WITHOUT_EFFECT: &[&str] = &[
    // An adapter that began as PiSSA is always saved as a LoRA of the unchanged model.
    "pissa_convert",
    // Python, its libraries and the machine.
    "accelerator_config",
    "average_tokens_across_devices",
    "data_shared_file_system",
    "dataloader_num_workers",
    "dataloader_persistent_workers",
    "dataloader_pin_memory",
    "dataloader_prefetch_factor",
    "debug",
    "deepspeed",
    "disable_gradient_checkpointing",
    "disable_tqdm",
    "enable_jit_checkpoint",
    "enable_liger_kernel",
    "enable_torch_profiler",
    "flash_attn",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "hf_hub_token",
    "hyper_parallel_args",
    "infer_backend",
    "infer_dtype",
    "label_names",
    "liger_kernel_config",
    "local_rank",
    "low_cpu_mem_usage",
    "master_addr",
    "master_port",
    "ms_hub_token",
    "offload_folder",
    "om_hub_token",
    "overwrite_cache",
    "parallelism_config",
    "preprocessing_batch_size",
    "preprocessing_num_workers",
    "print_param_status",
    "push_to_hub_model_id",
    "remove_unused_columns",
    "restore_callback_states_from_checkpoint",
    "save_on_each_node",
    "skip_memory_metrics",
    "tf32",
    "torch_empty_cache_steps",
    "trust_remote_code",
    "upcast_layernorm",
    "upcast_lmhead_output",
    "use_cache",
    "use_cpu",
    "use_fast_tokenizer",
    "use_kv_cache",
    "use_legacy_prediction_loop",
    "use_liger_kernel",
    "use_reentrant_gc",
    "use_unsloth",
    "use_unsloth_gc",
    "use_v1_kernels",
    // What is logged beside the loss.
    "include_effective_tokens_per_second",
    "include_for_metrics",
    "include_num_input_tokens_seen",
    "include_tokens_per_second",
    "log_level",
    "log_level_replica",
    "log_on_each_node",
    "logging_dir",
    "logging_nan_inf_filter",
    "project",
    "run_name",
    "save_safetensors",
    // How an evaluation is computed.
    "batch_eval_metrics",
    "bf16_full_eval",
    "eval_accumulation_steps",
    "eval_do_concat_batches",
    "eval_num_beams",
    "eval_use_gather_object",
    "fp16_full_eval",
    "generation_max_length",
    "generation_num_beams",
    "length_penalty",
    "max_length",
    "prediction_loss_only",
    "skip_special_tokens",
    "sortish_sampler",
    // Quantization, whose other kinds are refused.
    "quantization_device_map",
    // Other kinds of training, which are refused where they are asked for.
    "asft_alpha",
    "buffer_size",
    "crop_to_patches",
    "eaft_alpha",
    "init_special_tokens",
    "ld_alpha",
    "length_column_name",
    "loraplus_lr_embedding",
    "module_dropout",
    "moe_aux_loss_coef",
    "simpo_gamma",
    // Videos and sounds, which samples of pictures have not.
    "audio_sampling_rate",
    "use_audio_in_video",
    // A batch has no padding, so none is counted and none is added.
    "ignore_data_skip",
    "ignore_pad_token_for_loss",
    "pad_to_multiple_of",
];

/// How details begin of what is refused where it is switched on, or has no effect.
const DETAILS: &[&str] = &[
    "apollo_",
    "badam_",
    "ddp_",
    "dpo_",
    "export_",
    "fp8_",
    "fsdp",
    "galore_",
    "hub_",
    "kt_",
    "kto_",
    "oft_",
    "ppo_",
    "pref_",
    "profile",
    "ray_",
    "ref_model",
    "reward_model",
    "sglang_",
    "swanlab_",
    "torch_compile",
    "trackio_",
    "video_",
    "vllm_",
];

/// How LLaMA-Factory makes the answers of a prediction unless it is told otherwise.
pub(super) const GENERATION: &[(&str, &str)] = &[
    ("do_sample", "true"),
    ("temperature", "0.95"),
    ("top_p", "0.7"),
    ("top_k", "50"),
    ("repetition_penalty", "1"),
    ("max_new_tokens", "1024"),
];

/// Settings of ours that LLaMA-Factory has not.
pub(super) const OWN: &[&str] =
    &["boxes", "device", "dtype", "hub", "memory", "on_bad_sample", "probe_steps", "world_size"];

/// Settings that are written as whole numbers where they are some: LLaMA-Factory takes nothing else, or writes them so.
pub(super) const WHOLE: &[&str] = &["export_size", "lora_alpha", "lora_dropout"];

/// What would make another model of an export, or send it somewhere: name, values that change nothing, why others cannot be
/// followed.
pub(super) const EXPORT: &[(&str, &[&str], Localized)] = &[
    (
        "export_quantization_bit",
        UNSET,
        localized(
            "the model is exported in the dtype of its checkpoint; remove this key",
            "模型按检查点的精度导出；请去掉这一项",
        ),
    ),
    (
        "export_legacy_format",
        OFF,
        localized("weights are written as safetensors; remove this key", "权重写成 safetensors；请去掉这一项"),
    ),
    (
        "export_hub_model_id",
        UNSET,
        localized("uploading is not supported; remove this key", "不支持上传；请去掉这一项"),
    ),
    (
        "infer_dtype",
        &["auto"],
        localized(
            "the model is exported in the dtype of its checkpoint; write infer_dtype: auto",
            "模型按检查点的精度导出；请写 infer_dtype: auto",
        ),
    ),
];
