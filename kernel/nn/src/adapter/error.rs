//! What can be wrong with an adapter, and what to do about it.

use std::path::PathBuf;

use tunebook_quote::REMEDY;

/// An error that names the file, the key or the tensor.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error("`{value}` is not a value for {key}, which must be {expected}")]
    Value { key: &'static str, value: String, expected: Expected },
    #[error("lora_target `{target}` matches no linear layer{REMEDY}it can be `all`, or some of {names}")]
    UnknownTarget { target: String, names: String },
    #[error(
        "lora_target `{target}` matches only frozen layers (freeze_vision_tower, freeze_multi_modal_projector, \
         freeze_language_model){REMEDY}it can be `all`, or some of {names}"
    )]
    FrozenTarget { target: String, names: String },
    #[error(
        "nothing is left to train: set freeze_vision_tower, freeze_multi_modal_projector or freeze_language_model to false"
    )]
    AllFrozen,
    #[error("{key} `{module}` is not a module of the model{REMEDY}it can be some of {names}")]
    UnknownTrainable { key: &'static str, module: String, names: String },
    #[error("{what} needs the full weights, but the model is loaded quantized{REMEDY}load it without quantization_bit")]
    Quantized { what: NeedsFullWeights },
    #[error("tensor `{name}` in {path} does not belong to the loaded model{REMEDY}the file was made for another model")]
    UnknownWeight { path: PathBuf, name: String },
    #[error(
        "tensor `{name}` in {path} has shape {found:?}, but the loaded model has {expected:?}{REMEDY}the file was made for \
         another model"
    )]
    WeightShape { path: PathBuf, name: String, expected: Vec<usize>, found: Vec<usize> },
    #[error("the two adapters do not train the same tensors{REMEDY}load the other one with `adapter load`")]
    Other,
    #[error("adapter `{name}` cannot be blended: {what}{REMEDY}blend LoRA, rsLoRA or PiSSA adapters")]
    CannotBlend { name: String, what: Unblendable },
    #[error(
        "the adapters have ranks {} and {} in `{module}`, but this combination_type adds up factors of one rank{REMEDY}\
         combination_type=cat or svd takes any ranks",
        .ranks[0], .ranks[1]
    )]
    BlendRanks { module: String, ranks: [usize; 2] },
    #[error("{path} contains no tensors")]
    NoWeights { path: PathBuf },
    #[error("there is no adapter in {path}: it needs the files adapter_config.json and adapter_model.safetensors")]
    NoAdapter { path: PathBuf },
    #[error("{path} contains a whole model, not an adapter{REMEDY}load it with `load {path}`")]
    WholeModel { path: PathBuf },
    #[error(
        "the adapter in {path} is only available as adapter_model.bin, which is not supported{REMEDY}load it with PEFT and \
         save it again with safe_serialization=True"
    )]
    Pickle { path: PathBuf },
    #[error("{path}: {key} = {value} is not supported{REMEDY}only LoRA, rsLoRA and DoRA adapters can be loaded")]
    Unsupported { path: PathBuf, key: String, value: String },
    #[error("{path}: {key} is {value}, but must be {expected}")]
    Key { path: PathBuf, key: &'static str, value: String, expected: Expected },
    #[error("{path}: `{pattern}` in {key} is not a regular expression: {problem}")]
    Pattern { path: PathBuf, key: &'static str, pattern: String, problem: String },
    #[error("{path} is not a complete safetensors file ({problem}){REMEDY}copy or download it again")]
    Safetensors { path: PathBuf, problem: String },
    #[error("{path} contains no LoRA tensors")]
    Empty { path: PathBuf },
    #[error(
        "tensor `{name}` in {path} is not supported{REMEDY}supported are lora_A.weight, lora_B.weight and \
         lora_magnitude_vector of linear layers, and the modules listed in modules_to_save in adapter_config.json"
    )]
    UnknownTensor { path: PathBuf, name: String },
    #[error("tensor `{name}` in {path} occurs under two names")]
    Twice { path: PathBuf, name: String },
    #[error(
        "tensor `{name}` in {path} belongs to `{module}`, but the loaded model has no such linear layer{REMEDY}the adapter \
         was made for another model"
    )]
    UnknownModule { path: PathBuf, name: String, module: String },
    #[error(
        "tensor `{name}` in {path} has shape {found:?}, but r in adapter_config.json and the loaded model require \
         {expected:?}{REMEDY}the adapter was made for another model, or its config does not belong to it"
    )]
    Shape { path: PathBuf, name: String, expected: Vec<usize>, found: Vec<usize> },
    #[error("tensor `{name}` in {path} is stored as {dtype}{REMEDY}only float32, float16 and bfloat16 can be read")]
    DType { path: PathBuf, name: String, dtype: String },
    #[error("{path} has no tensor `{name}`, but other tensors of the same layer{REMEDY}the file is incomplete")]
    MissingHalf { path: PathBuf, name: String },
}

/// What the value of a key should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Expected {
    #[error("an integer of at least 1")]
    PositiveInteger,
    #[error("integers of at least 1")]
    PositiveIntegers,
    #[error("a number above 0")]
    PositiveNumber,
    #[error("numbers above 0")]
    PositiveNumbers,
    #[error("a number of at least 0 and below 1")]
    Probability,
    #[error("false if use_dora is true")]
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

/// Why an adapter cannot be blended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unblendable {
    /// Freeze and full tuning.
    #[error("it consists of weights of the model, not of LoRA factors")]
    OwnWeights,
    #[error(
        "beside its LoRA factors it has trained copies of whole modules (additional_target), which have no weighted sum"
    )]
    ModulesToSave,
    #[error("it is a DoRA, and magnitudes have no weighted sum")]
    Dora,
}
