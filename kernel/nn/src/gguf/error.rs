//! What llama.cpp cannot run.

use tunebook_quote::REMEDY;

/// Why a model or an adapter cannot be written for llama.cpp.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LlamaCppError {
    #[error("llama.cpp runs this family's vision tower only with {key}={needed}, but config.json says {found}")]
    Vision { key: &'static str, needed: String, found: String },
    #[error(
        "llama.cpp runs this family's language model only without biases, but config.json says attention_bias=true"
    )]
    AttentionBias,
    #[error(
        "the adapter is not a LoRA but a copy of some of the model's tensors{REMEDY}export the whole model, without \
         adapter_only"
    )]
    NoLora,
    #[error(
        "the adapter has a trained copy of `{name}`, which a LoRA in GGUF cannot contain{REMEDY}export the merged model, \
         without adapter_only"
    )]
    Copy { name: String },
    #[error("llama.cpp does not know DoRA{REMEDY}export the merged model, without adapter_only")]
    Dora,
    #[error(
        "{count} of the adapter's layers belong to the vision tower or the projector (such as `{first}`), to which \
         llama.cpp cannot apply a LoRA{REMEDY}export the merged model, without adapter_only"
    )]
    Pictures { count: usize, first: String },
}
