//! What can be wrong with an adapter, and what to do about it.

use std::path::PathBuf;

use tunebook_quote::REMEDY;

/// An error that names the file, the key or the tensor.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error("`{value}` is not a value for {key}: {expected}")]
    Value { key: &'static str, value: String, expected: Expected },
    #[error("lora_target `{target}` names no linear layer{REMEDY}it can be `all`, or some of {names}")]
    UnknownTarget { target: String, names: String },
    #[error(
        "lora_target `{target}` only names layers that are frozen (freeze_vision_tower, freeze_multi_modal_projector, \
         freeze_language_model){REMEDY}it can be `all`, or some of {names}"
    )]
    FrozenTarget { target: String, names: String },
    #[error(
        "nothing is left to train: set freeze_vision_tower, freeze_multi_modal_projector or freeze_language_model to false"
    )]
    AllFrozen,
    #[error("{key} `{module}` is no module of the model{REMEDY}it can be some of {names}")]
    UnknownTrainable { key: &'static str, module: String, names: String },
    #[error(
        "{what} needs the full weights, but the model is loaded in fewer bits{REMEDY}load it without quantization_bit"
    )]
    Quantized { what: NeedsFullWeights },
    #[error("tensor `{name}` in {path} is none of the loaded model's{REMEDY}the file was made for another model")]
    UnknownWeight { path: PathBuf, name: String },
    #[error(
        "tensor `{name}` in {path} has shape {found:?}, but the loaded model has {expected:?}{REMEDY}the file was made for \
         another model"
    )]
    WeightShape { path: PathBuf, name: String, expected: Vec<usize>, found: Vec<usize> },
    #[error("the two adapters do not train the same tensors{REMEDY}load the other one with `adapter load`")]
    Other,
    #[error("{path} holds no tensor")]
    NoWeights { path: PathBuf },
    #[error("there is no adapter in {path}: it needs the files adapter_config.json and adapter_model.safetensors")]
    NoAdapter { path: PathBuf },
    #[error("{path} holds a whole model and no adapter{REMEDY}`load {path}` loads it")]
    WholeModel { path: PathBuf },
    #[error(
        "{path} holds an adapter as adapter_model.bin only, which is not read{REMEDY}\
         load it with PEFT and save it again, with safe_serialization=True"
    )]
    Pickle { path: PathBuf },
    #[error("{path}: {key} = {value} is not supported{REMEDY}only LoRA, rsLoRA and DoRA adapters can be loaded")]
    Unsupported { path: PathBuf, key: String, value: String },
    #[error("{path}: {key} is {value}, but must be {expected}")]
    Key { path: PathBuf, key: &'static str, value: String, expected: Expected },
    #[error("{path}: {key} has `{pattern}`, which is no regular expression: {problem}")]
    Pattern { path: PathBuf, key: &'static str, pattern: String, problem: String },
    #[error("{path} is not a whole safetensors file ({problem}){REMEDY}copy or download it again")]
    Safetensors { path: PathBuf, problem: String },
    #[error("{path} holds no LoRA tensor")]
    Empty { path: PathBuf },
    #[error(
        "tensor `{name}` in {path} is not supported{REMEDY}only lora_A.weight, lora_B.weight and lora_magnitude_vector of \
         linear layers are, and what modules_to_save in adapter_config.json names"
    )]
    UnknownTensor { path: PathBuf, name: String },
    #[error("tensor `{name}` in {path} occurs under two names")]
    Twice { path: PathBuf, name: String },
    #[error(
        "tensor `{name}` in {path} belongs to `{module}`, and the loaded model has no such linear layer{REMEDY}\
         the adapter was made for another model"
    )]
    UnknownModule { path: PathBuf, name: String, module: String },
    #[error(
        "tensor `{name}` in {path} has shape {found:?}, but r in adapter_config.json and the loaded model \
         ask for {expected:?}{REMEDY}the adapter was made for another model, or its config does not belong to it"
    )]
    Shape { path: PathBuf, name: String, expected: Vec<usize>, found: Vec<usize> },
    #[error("tensor `{name}` in {path} is stored as {dtype}{REMEDY}only float32, float16 and bfloat16 can be read")]
    DType { path: PathBuf, name: String, dtype: String },
    #[error("{path} has no tensor `{name}`, though it has others of that layer{REMEDY}the file is incomplete")]
    MissingHalf { path: PathBuf, name: String },
}

/// What the value of a key should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Expected {
    #[error("a whole number of at least 1")]
    PositiveInteger,
    #[error("whole numbers of at least 1")]
    PositiveIntegers,
    #[error("a number above 0")]
    PositiveNumber,
    #[error("numbers above 0")]
    PositiveNumbers,
    #[error("a number from 0 to below 1")]
    Probability,
    #[error("false together with use_dora")]
    FalseWithDora,
    #[error("true or false")]
    Bool,
}

/// What cannot be done with quantized weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeedsFullWeights {
    #[error("pissa_init")]
    Pissa,
    /// `freeze`, `full` and additional_target.
    #[error("training the model's own weights")]
    OwnWeights,
}
