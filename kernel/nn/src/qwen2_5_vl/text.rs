//! The language model: grouped-query attention, SwiGLU, RMSNorm, and M-RoPE.

use std::sync::Arc;

use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;
use candle_nn::kv_cache;

use crate::checkpoint::Checkpoint;
use crate::frozen::FrozenMatrix;
use crate::ops::Rotary;
use crate::ops::Segments;
use crate::ops::attention;
use crate::ops::frozen_linear;
use crate::ops::rms_norm;
use crate::ops::rope;
use crate::ops::swiglu;

use super::config::Config;
use super::config::TextConfig;
use super::linear::Linear;
use super::linear::Linears;
use super::linear::Pass;

/// `model.language_model` and the head.
pub struct TextModel {
    embed_tokens: FrozenMatrix,
    pub layers: Vec<DecoderLayer>,
    norm: Arc<[f32]>,
    lm_head: FrozenMatrix,
    eps: f64,
    precision: tunebook_gemm::Precision,
}

/// The keys and values of the tokens a model has read, a pair a layer.
#[derive(Clone)]
pub struct KvCache {
    layers: Vec<kv_cache::KvCache>,
}

impl KvCache {
    /// An empty cache that grows by `step` tokens at a time.
    pub fn new(layers: usize, step: usize) -> Self {
        Self { layers: vec![kv_cache::KvCache::new(0, step); layers] }
    }
}

impl TextModel {
    pub(super) fn load(config: &Config, linears: &mut Linears) -> crate::Result<Self> {
        let text = &config.text;
        let checkpoint = linears.checkpoint;
        let prefix = "model.language_model";
        let embed_tokens =
            checkpoint.matrix(&format!("{prefix}.embed_tokens.weight"), text.vocab_size, text.hidden_size)?;
        let lm_head = if config.tie_word_embeddings {
            embed_tokens.clone()
        } else {
            checkpoint.matrix("lm_head.weight", text.vocab_size, text.hidden_size)?
        };
        let layers = (0..text.num_hidden_layers)
            .map(|i| DecoderLayer::load(&format!("{prefix}.layers.{i}"), text, linears))
            .collect::<crate::Result<_>>()?;
        let norm = checkpoint.vector(&format!("{prefix}.norm.weight"), text.hidden_size)?;
        Ok(Self { embed_tokens, layers, norm, lm_head, eps: text.rms_norm_eps, precision: linears.precision })
    }

    /// The embeddings of `input_ids`, `[T, hidden]`; the caller puts picture features over the placeholders.
    ///
    /// # Errors
    /// An id is outside the vocabulary.
    pub fn embed(&self, input_ids: &[u32]) -> crate::Result<Vec<f32>> {
        let hidden = self.embed_tokens.cols;
        let mut values = vec![0f32; input_ids.len() * hidden];
        for (&id, row) in input_ids.iter().zip(values.chunks_exact_mut(hidden)) {
            if id as usize >= self.embed_tokens.rows {
                return Err(crate::Error::Input(format!(
                    "token {id} is outside the model's vocabulary of {}: tokenizer.json belongs to another model",
                    self.embed_tokens.rows
                )));
            }
            self.embed_tokens.read_row(id as usize, row);
        }
        Ok(values)
    }

    /// The final norm, before the head.
    pub fn norm(&self, x: &Tensor) -> Result<Tensor> {
        rms_norm(x, &self.norm, self.eps as f32)
    }

    /// Logits `[T, vocabulary]` of normed hidden states.
    pub fn logits(&self, normed: &Tensor) -> Result<Tensor> {
        frozen_linear(normed, &self.lm_head, None, self.precision)
    }

    /// The head's matrix, `[vocabulary, hidden]`.
    pub fn lm_head(&self) -> &FrozenMatrix {
        &self.lm_head
    }
}

/// One layer: `x += attention(norm(x))`, then `x += mlp(norm(x))`.
pub struct DecoderLayer {
    input_layernorm: Arc<[f32]>,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    post_attention_layernorm: Arc<[f32]>,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    heads: usize,
    kv_heads: usize,
    eps: f32,
}

impl DecoderLayer {
    fn load(prefix: &str, config: &TextConfig, linears: &mut Linears) -> crate::Result<Self> {
        let (hidden, ffn) = (config.hidden_size, config.intermediate_size);
        let kv = config.num_key_value_heads * config.head_dim();
        let checkpoint: &Checkpoint = linears.checkpoint;
        let norm = |name: &str| checkpoint.vector(&format!("{prefix}.{name}.weight"), hidden);
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            q_proj: linears.take(format!("{prefix}.self_attn.q_proj"), hidden, hidden, true)?,
            k_proj: linears.take(format!("{prefix}.self_attn.k_proj"), kv, hidden, true)?,
            v_proj: linears.take(format!("{prefix}.self_attn.v_proj"), kv, hidden, true)?,
            o_proj: linears.take(format!("{prefix}.self_attn.o_proj"), hidden, hidden, false)?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            gate_proj: linears.take(format!("{prefix}.mlp.gate_proj"), ffn, hidden, false)?,
            up_proj: linears.take(format!("{prefix}.mlp.up_proj"), ffn, hidden, false)?,
            down_proj: linears.take(format!("{prefix}.mlp.down_proj"), hidden, ffn, false)?,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            eps: config.rms_norm_eps as f32,
        })
    }

    /// `x` is `[T, hidden]`: the tokens of all `segments`, one after another, rotated by `rotary`.
    pub fn forward(&self, x: &Tensor, rotary: &Rotary, segments: &Segments, pass: Pass) -> Result<Tensor> {
        let (q, k, v) = self.qkv(x, rotary, pass)?;
        self.rest(x, &attention(&q, &k, &v, segments, self.heads, self.kv_heads)?, pass)
    }

    /// The same for one sequence whose earlier tokens are in `cache`; `x` holds the new ones.
    fn forward_cached(&self, x: &Tensor, rotary: &Rotary, cache: &mut kv_cache::KvCache, pass: Pass) -> Result<Tensor> {
        let (q, k, v) = self.qkv(x, rotary, pass)?;
        let (k, v) = cache.append(&k, &v)?;
        let segments = Segments { q: [0, x.dim(0)?].into(), k: [0, k.dim(0)?].into(), causal: true };
        self.rest(x, &attention(&q, &k, &v, &segments, self.heads, self.kv_heads)?, pass)
    }

    fn qkv(&self, x: &Tensor, rotary: &Rotary, pass: Pass) -> Result<(Tensor, Tensor, Tensor)> {
        let normed = rms_norm(x, &self.input_layernorm, self.eps)?;
        let q = rope(&self.q_proj.forward(&normed, pass)?, rotary)?;
        let k = rope(&self.k_proj.forward(&normed, pass)?, rotary)?;
        Ok((q, k, self.v_proj.forward(&normed, pass)?))
    }

    fn rest(&self, x: &Tensor, attended: &Tensor, pass: Pass) -> Result<Tensor> {
        let x = (x + self.o_proj.forward(attended, pass)?)?;
        let normed = rms_norm(&x, &self.post_attention_layernorm, self.eps)?;
        let (gate, up) = (self.gate_proj.forward(&normed, pass)?, self.up_proj.forward(&normed, pass)?);
        x + self.down_proj.forward(&swiglu(&gate, &up)?, pass)?
    }
}

impl TextModel {
    /// Reads the new tokens `x` (`[T, hidden]`, embedded) of one sequence into `cache` and gives their hidden
    /// states before the final norm.
    pub fn read(&self, x: Vec<f32>, rotary: &Rotary, cache: &mut KvCache, pass: Pass) -> Result<Tensor> {
        let tokens = x.len() / self.embed_tokens.cols;
        let mut x = Tensor::from_vec(x, (tokens, self.embed_tokens.cols), &Device::Cpu)?;
        for (layer, cache) in self.layers.iter().zip(&mut cache.layers) {
            x = layer.forward_cached(&x, rotary, cache, pass)?;
        }
        Ok(x)
    }
}
