//! What can be wrong with an adapter, and what to do about it.

use std::path::PathBuf;

/// An error that names the file, the key or the tensor.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error("`{value}` is not a value for {key}: {expected}")]
    Value { key: &'static str, value: String, expected: &'static str },
    #[error("lora_target `{target}` names no linear layer; it can be `all`, or some of {names}")]
    UnknownTarget { target: String, names: String },
    #[error(
        "lora_target `{target}` only names layers of the vision tower, which is frozen; \
         it can be `all`, or some of {names}"
    )]
    FrozenTarget { target: String, names: String },
    #[error("there is no adapter in {path}: it needs the files adapter_config.json and adapter_model.safetensors")]
    NoAdapter { path: PathBuf },
    #[error(
        "{path} holds an adapter as adapter_model.bin only, which is not read; \
         load it with PEFT and save it again, with safe_serialization=True"
    )]
    Pickle { path: PathBuf },
    #[error("{path}: {key} = {value} is not supported; only plain LoRA adapters can be loaded")]
    Unsupported { path: PathBuf, key: String, value: String },
    #[error("{path}: {key} is {value}, but must be {expected}")]
    Key { path: PathBuf, key: &'static str, value: String, expected: &'static str },
    #[error("{path} is not a whole safetensors file ({problem}); copy or download it again")]
    Safetensors { path: PathBuf, problem: String },
    #[error("{path} holds no LoRA tensor")]
    Empty { path: PathBuf },
    #[error("tensor `{name}` in {path} is not supported; only lora_A.weight and lora_B.weight of linear layers are")]
    UnknownTensor { path: PathBuf, name: String },
    #[error("tensor `{name}` in {path} occurs under two names")]
    Twice { path: PathBuf, name: String },
    #[error(
        "tensor `{name}` in {path} belongs to `{module}`, and the loaded model has no such linear layer; \
         the adapter was made for another model"
    )]
    UnknownModule { path: PathBuf, name: String, module: String },
    #[error(
        "tensor `{name}` in {path} has shape {found:?}, but r in adapter_config.json and the loaded model \
         ask for {expected:?}; the adapter was made for another model, or its config does not belong to it"
    )]
    Shape { path: PathBuf, name: String, expected: [usize; 2], found: Vec<usize> },
    #[error("tensor `{name}` in {path} is stored as {dtype}; only float32, float16 and bfloat16 can be read")]
    DType { path: PathBuf, name: String, dtype: String },
    #[error("{path} has no tensor `{name}`, though it has its other half; the file is incomplete")]
    MissingHalf { path: PathBuf, name: String },
}
