//! The language model: grouped-query attention, SwiGLU, RMSNorm, and M-RoPE.

use std::sync::Arc;

use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::checkpoint::Checkpoint;
use crate::frozen::FrozenMatrix;
use crate::gradients::Gradients;
use crate::ops::Rotary;
use crate::ops::Segments;
use crate::ops::add;
use crate::ops::attention;
use crate::ops::attention_backward;
use crate::ops::linear;
use crate::ops::rms_norm;
use crate::ops::rms_norm_backward;
use crate::ops::rope;
use crate::ops::rope_backward;
use crate::ops::swiglu;
use crate::ops::swiglu_backward;

use super::config::Config;
use super::config::TextConfig;
use super::kv_cache::KvCache;
use super::linear::Linear;
use super::linear::Linears;
use super::linear::Pass;

/// `model.language_model` and the head.
pub struct TextModel {
    embed_tokens: FrozenMatrix,
    pub layers: Vec<DecoderLayer>,
    norm: Arc<[f32]>,
    lm_head: FrozenMatrix,
    /// Whether the head is the embedding.
    tied: bool,
    eps: f64,
    precision: Precision,
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
        Ok(Self {
            embed_tokens,
            layers,
            norm,
            lm_head,
            tied: config.tie_word_embeddings,
            eps: text.rms_norm_eps,
            precision: linears.precision,
        })
    }

    /// The layers whose weights are quantized, in the order in which they are loaded.
    pub(super) fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.layers.iter_mut().flat_map(|layer| {
            let DecoderLayer { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, .. } = layer;
            [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
        })
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

    /// What the matrices take in memory once they have been read, in bytes.
    pub fn size(&self) -> usize {
        let layers = self.layers.iter().flat_map(|layer| {
            let DecoderLayer { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, .. } = layer;
            [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
        });
        let head = if self.tied { 0 } else { self.lm_head.size() };
        layers.map(|linear| linear.weight().size()).sum::<usize>() + self.embed_tokens.size() + head
    }

    /// The final norm, before the head.
    pub fn norm(&self, x: &Tensor) -> Result<Tensor> {
        rms_norm(x, &self.norm, self.eps as f32)
    }

    /// The gradient of what goes into the final norm.
    pub fn norm_backward(&self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        rms_norm_backward(x, &self.norm, self.eps as f32, dy, None)
    }

    /// Logits `[T, vocabulary]` of normed hidden states.
    pub fn logits(&self, normed: &Tensor) -> Result<Tensor> {
        linear(normed, &self.lm_head, None, None, self.precision)
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
    precision: Precision,
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
            precision: linears.precision,
        })
    }

    /// The layer's inner values for `x`, `[T, hidden]`: the tokens of all `segments`, one after another, rotated by
    /// `rotary`. Its output is [`DecoderLayer::output`] of them.
    pub fn inner(&self, x: &Tensor, rotary: &Rotary, segments: &Segments, pass: Pass) -> Result<Inner> {
        let (q, k, v) = self.qkv(x, rotary, pass)?;
        let attended = attention(&q, &k, &v, segments, [self.heads, self.kv_heads], self.precision)?;
        self.inner_after_attention(x, [q, k, v, attended], pass)
    }

    /// What the layer makes of its input, `[T, hidden]`.
    pub fn output(&self, inner: &Inner, pass: Pass) -> Result<Tensor> {
        let activated = swiglu(&inner.gate, &inner.up)?;
        add(&inner.middle, &self.down_proj.forward(&activated, pass)?)
    }

    /// The gradient of the input `x`, given that of the output, dy; gradients of what trains are added to
    /// `gradients`. This is `inner` and `output` read backwards.
    pub fn backward(
        &self,
        x: &Tensor,
        inner: &Inner,
        dy: &Tensor,
        at: (&Rotary, &Segments),
        pass: Pass,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let (rotary, segments) = at;
        let Inner { q, k, v, attended, middle, gate, up } = inner;

        let dactivated = self.down_proj.backward(&swiglu(gate, up)?, dy, pass, gradients)?;
        let [dgate, dup] = swiglu_backward(gate, up, &dactivated)?;
        let normed = rms_norm(middle, &self.post_attention_layernorm, self.eps)?;
        let dnormed = add(
            &self.gate_proj.backward(&normed, &dgate, pass, gradients)?,
            &self.up_proj.backward(&normed, &dup, pass, gradients)?,
        )?;
        let dmiddle = rms_norm_backward(middle, &self.post_attention_layernorm, self.eps, &dnormed, Some(dy))?;

        let dattended = self.o_proj.backward(attended, &dmiddle, pass, gradients)?;
        let [dq, dk, dv] =
            attention_backward([q, k, v, attended], &dattended, segments, [self.heads, self.kv_heads], self.precision)?;
        let normed = rms_norm(x, &self.input_layernorm, self.eps)?;
        let dnormed = add(
            &self.q_proj.backward(&normed, &rope_backward(&dq, rotary)?, pass, gradients)?,
            &add(
                &self.k_proj.backward(&normed, &rope_backward(&dk, rotary)?, pass, gradients)?,
                &self.v_proj.backward(&normed, &dv, pass, gradients)?,
            )?,
        )?;
        rms_norm_backward(x, &self.input_layernorm, self.eps, &dnormed, Some(&dmiddle))
    }

    /// The output for one sequence whose earlier tokens are in `cache`, where this is layer `index`; `x` holds the
    /// new ones.
    fn forward_cached(
        &self,
        x: &Tensor,
        rotary: &Rotary,
        (cache, index): (&mut KvCache, usize),
        pass: Pass,
    ) -> Result<Tensor> {
        let (q, k, v) = self.qkv(x, rotary, pass)?;
        let (k, v) = cache.append(index, &k, &v)?;
        let segments = Segments { q: [0, x.dim(0)?].into(), k: [0, k.dim(0)?].into(), causal: true };
        let attended = attention(&q, &k, &v, &segments, [self.heads, self.kv_heads], self.precision)?;
        self.output(&self.inner_after_attention(x, [q, k, v, attended], pass)?, pass)
    }

    fn qkv(&self, x: &Tensor, rotary: &Rotary, pass: Pass) -> Result<(Tensor, Tensor, Tensor)> {
        let normed = rms_norm(x, &self.input_layernorm, self.eps)?;
        let q = rope(&self.q_proj.forward(&normed, pass)?, rotary)?;
        let k = rope(&self.k_proj.forward(&normed, pass)?, rotary)?;
        Ok((q, k, self.v_proj.forward(&normed, pass)?))
    }

    fn inner_after_attention(&self, x: &Tensor, [q, k, v, attended]: [Tensor; 4], pass: Pass) -> Result<Inner> {
        let middle = add(x, &self.o_proj.forward(&attended, pass)?)?;
        let normed = rms_norm(&middle, &self.post_attention_layernorm, self.eps)?;
        let (gate, up) = (self.gate_proj.forward(&normed, pass)?, self.up_proj.forward(&normed, pass)?);
        Ok(Inner { q, k, v, attended, middle, gate, up })
    }
}

/// What a layer's backward pass reads beside the input: the values that took a product to make.
pub struct Inner {
    /// Rotated queries, `[T, heads · head_dim]`.
    q: Tensor,
    /// Rotated keys, `[T, kv_heads · head_dim]`.
    k: Tensor,
    v: Tensor,
    /// What attention makes of them, `[T, heads · head_dim]`.
    attended: Tensor,
    /// The residual stream between attention and feed-forward, `[T, hidden]`.
    middle: Tensor,
    /// `[T, intermediate]`.
    gate: Tensor,
    up: Tensor,
}

impl TextModel {
    /// Reads the new tokens `x` (`[T, hidden]`, embedded) of one sequence into `cache` and gives their hidden
    /// states before the final norm.
    pub fn read(&self, x: Vec<f32>, rotary: &Rotary, cache: &mut KvCache, pass: Pass) -> Result<Tensor> {
        let tokens = x.len() / self.embed_tokens.cols;
        let mut x = Tensor::from_vec(x, (tokens, self.embed_tokens.cols), &Device::Cpu)?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward_cached(&x, rotary, (cache, index), pass)?;
        }
        cache.appended(tokens);
        Ok(x)
    }
}
