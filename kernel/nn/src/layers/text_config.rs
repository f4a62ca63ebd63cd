//! Sizes of a language model.

use serde::Deserialize;

/// The language model, with the defaults of transformers' `Qwen2_5_VLTextConfig`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[serde(skip)]
    pub rope_theta: f64,
    /// How many of the `head_dim / 2` frequencies follow the temporal, height and width position.
    #[serde(skip)]
    pub mrope_section: [usize; 3],
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 152_064,
            hidden_size: 8192,
            intermediate_size: 29_568,
            num_hidden_layers: 80,
            num_attention_heads: 64,
            num_key_value_heads: 8,
            rms_norm_eps: 1e-5,
            rope_theta: 1e6,
            mrope_section: [16, 24, 24],
        }
    }
}

impl TextConfig {
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }
}
