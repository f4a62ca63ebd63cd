//! What can be wrong with a `config.json`.

use tunebook_quote::REMEDY;

/// A part of the file, or what is wrong with it.
pub type Parsed<T> = std::result::Result<T, ConfigError>;

/// A value that cannot be worked with, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "it describes {}, but tunebook trains {expected}{REMEDY}choose the folder of such a model",
        .found.as_deref().unwrap_or("no model")
    )]
    Architecture { found: Option<String>, expected: String },
    #[error(
        "its weights are stored quantized ({method}{}), and cannot be trained in this form{REMEDY}load the original model \
         with quantization_bit=4 or quantization_bit=8",
        .bits.map(|bits| format!(", {bits} bits")).unwrap_or_default()
    )]
    Quantized { method: String, bits: Option<u64> },
    #[error("{key} is {value}, which has the wrong type")]
    Value { key: String, value: String },
    #[error("{key} is {value}, which is not a token id")]
    TokenId { key: &'static str, value: String },
    #[error("{key} is {found}{REMEDY}only {supported} is supported")]
    Activation { key: &'static str, found: String, supported: &'static str },
    #[error("use_sliding_window is true, but sliding window attention is not supported")]
    SlidingWindow,
    #[error(
        "the rope type `{found}` is not supported, only mrope{REMEDY}if you change it to `mrope`, the model can read texts \
         as long as those it was trained with"
    )]
    RopeType { found: String },
    #[error("hidden_size {hidden_size} is not divisible by {heads} attention heads")]
    Heads { hidden_size: usize, heads: usize },
    #[error("{heads} attention heads cannot share {kv_heads} key/value heads")]
    KeyValueHeads { heads: usize, kv_heads: usize },
    #[error("mrope_section {section:?} does not add up to half the head dimension {head_dim}")]
    MropeSection { section: [usize; 3], head_dim: usize },
    #[error("vision hidden_size {hidden_size} is not divisible by {heads} heads")]
    VisionHeads { hidden_size: usize, heads: usize },
    #[error("vision patch_size, spatial_merge_size and window_size must be positive")]
    PatchSizes,
    #[error("num_position_embeddings is {found}, which is not the square of a number")]
    PositionEmbeddings { found: usize },
    #[error(
        "deepstack_visual_indexes is {indexes}, but the vision tower has {depth} blocks, and the language model needs more \
         layers than there are indexes"
    )]
    DeepStack { indexes: String, depth: usize },
    #[error("vision out_hidden_size {out_hidden_size} differs from the text hidden_size {hidden_size}")]
    Widths { out_hidden_size: usize, hidden_size: usize },
}
