//! Sizes of a language model.

/// A decoder of grouped-query attention, SwiGLU and RMSNorm.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub rms_norm_eps: f64,
    /// How many tokens it was made for, which other programs are told.
    pub max_position_embeddings: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How many of the `head_dim / 2` frequencies follow the temporal, height and width position.
    pub mrope_section: [usize; 3],
    /// Whether the axes take turns, frequency by frequency, instead of lying in sections one after the other.
    pub mrope_interleaved: bool,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Whether the output of attention has one.
    pub o_bias: bool,
    /// Whether each head's query and key go through an RMSNorm before they are rotated.
    pub qk_norm: bool,
}

impl TextConfig {
    /// The defaults of transformers' `Qwen2VLTextConfig` and `Qwen2_5_VLTextConfig`.
    pub const QWEN2: Self = Self {
        vocab_size: 152_064,
        hidden_size: 8192,
        intermediate_size: 29_568,
        num_hidden_layers: 80,
        num_attention_heads: 64,
        num_key_value_heads: 8,
        head_dim: 128,
        rms_norm_eps: 1e-5,
        max_position_embeddings: 32_768,
        rope_theta: 1e6,
        mrope_section: [16, 24, 24],
        mrope_interleaved: false,
        qkv_bias: true,
        o_bias: false,
        qk_norm: false,
    };

    /// Those of `Qwen3VLTextConfig`.
    pub const QWEN3: Self = Self {
        vocab_size: 151_936,
        hidden_size: 4096,
        intermediate_size: 22_016,
        num_hidden_layers: 32,
        num_attention_heads: 32,
        num_key_value_heads: 32,
        head_dim: 128,
        rms_norm_eps: 1e-6,
        max_position_embeddings: 128_000,
        rope_theta: 5e5,
        mrope_section: [24, 20, 20],
        mrope_interleaved: true,
        qkv_bias: false,
        o_bias: false,
        qk_norm: true,
    };
}
