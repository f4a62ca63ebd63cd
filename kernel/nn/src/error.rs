//! What can go wrong in loading and running a model, each with what to do about it.

use std::path::PathBuf;

use tunebook_quote::REMEDY;
use tunebook_quote::message;

use crate::adapter::AdapterError;
use crate::gguf::LlamaCppError;
use crate::models::ConfigError;

/// The result of an operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error that names what was wrong and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{path} is not valid JSON: {}", message(&source.to_string()))]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{path}: {problem}")]
    Config { path: PathBuf, problem: ConfigError },
    #[error("{path} is not a complete safetensors file ({problem}){REMEDY}download it again")]
    Safetensors { path: PathBuf, problem: String },
    #[error("{place} needs files that are missing: {}{REMEDY}download or copy them as well", .files.join(", "))]
    MissingShards { place: PathBuf, files: Vec<String> },
    #[error("{place} has no weights: neither model.safetensors nor model.safetensors.index.json with its files")]
    NoWeights { place: PathBuf },
    #[error(
        "{place} has its weights in {file}, a format that can run code when it is read{REMEDY}save the model as safetensors \
         with transformers: python -c \"from transformers import AutoModelForImageTextToText as M; d = '{place}'; \
         M.from_pretrained(d, dtype='auto').save_pretrained(d)\""
    )]
    PickledWeights { place: PathBuf, file: String },
    #[error(
        "{path} is quantized for inference (GGUF) and cannot be trained{REMEDY}load the original model with \
         quantization_bit=4"
    )]
    Gguf { path: PathBuf },
    #[error("{path} is corrupted ({problem}){REMEDY}resume from an earlier checkpoint, or copy the file again")]
    Damaged { path: PathBuf, problem: Damage },
    #[error(
        "{path} was modified or truncated after the model was loaded, so its weights are no longer the same{REMEDY}`load` \
         the model again once the file is complete"
    )]
    WeightsChanged { path: PathBuf },
    /// Both in short, see [`fold_layers`](crate::fold_layers::fold_layers); `others` are tensors of the files
    /// that the model does not have.
    #[error(
        "{place} lacks {count} of the model's tensors: {}{}{REMEDY}the checkpoint is incomplete or has another architecture",
        few(names),
        match others.is_empty() {
            true => String::new(),
            false => format!(" (it has others instead: {})", few(others)),
        }
    )]
    MissingTensors { place: PathBuf, count: usize, names: Vec<String>, others: Vec<String> },
    #[error("tensor `{name}` in {path} has shape {found:?}, but config.json requires {expected:?}")]
    Shape { path: PathBuf, name: String, expected: Vec<usize>, found: Vec<usize> },
    #[error(
        "tensor `{name}` in {path} is stored as {dtype}{REMEDY}only float32, float16 and bfloat16 can be read: save the \
         model in one of them with transformers"
    )]
    DType { path: PathBuf, name: String, dtype: String },
    #[error(
        "`{name}` of the model in {place} contains NaN or infinity: the file is corrupted, or the training that wrote \
         it had failed{REMEDY}use another copy of the model"
    )]
    NotFinite { place: PathBuf, name: String },
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error(transparent)]
    LlamaCpp(LlamaCppError),
    #[error("{0}")]
    Input(String),
    #[error(
        "the device is out of memory{REMEDY}load the model with quantization_bit=4, or train with a lower \
         per_device_train_batch_size, cutoff_len or image_max_pixels, or load it with device=cpu"
    )]
    DeviceMemory,
    /// [`ForwardContext::stop`](crate::layers::ForwardContext::stop) said so.
    #[error("stopped")]
    Cancelled,
    #[error(transparent)]
    Tensor(candle_core::Error),
}

/// What is wrong with a file of tensors that tunebook wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// As safetensors says it.
    #[error("{0}")]
    Safetensors(String),
    #[error("tensor `{name}` is stored as {dtype}, not F32")]
    DType { name: String, dtype: String },
}

/// The first of some names.
pub fn few(names: &[String]) -> String {
    const MOST: usize = 6;
    let (shown, more) = names.split_at(names.len().min(MOST));
    shown.join(", ") + if more.is_empty() { "" } else { ", …" }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        // candle has no kind of its own for it.
        match format!("{error:?}").contains("CUDA_ERROR_OUT_OF_MEMORY") {
            true => Self::DeviceMemory,
            false => Self::Tensor(error),
        }
    }
}
