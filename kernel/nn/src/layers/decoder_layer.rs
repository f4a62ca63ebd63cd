//! A layer of the language model: grouped-query attention, SwiGLU, RMSNorm; in some families each head's query and key have
//! a norm, too.

use candle_core::Result;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::gradients::Gradients;
use crate::ops::CachedKeys;
use crate::ops::Rotary;
use crate::ops::add;
use crate::ops::attention;
use crate::ops::attention_backward;
use crate::ops::cached_attention;
use crate::ops::operand_dtype;
use crate::ops::rope;
use crate::ops::rope_backward;
use crate::ops::swiglu;
use crate::ops::swiglu_backward;

use super::cached_sequence::CachedSequence;
use super::cached_sequence::write;
use super::linear::ForwardContext;
use super::linear::Linear;
use super::loader::Loader;
use super::parameter::Norm;
use super::sequences::AttentionInputs;
use super::text_config::TextConfig;

/// One layer: `x += attention(norm(x))`, then `x += mlp(norm(x))`.
pub struct DecoderLayer {
    input_layernorm: Norm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    qk_norm: Option<QkNorm>,
    post_attention_layernorm: Norm,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    heads: usize,
    kv_heads: usize,
    precision: Precision,
}

/// The RMSNorms of a head's query and key, the same for all heads.
struct QkNorm {
    q: Norm,
    k: Norm,
}

impl DecoderLayer {
    pub(crate) fn load(prefix: &str, config: &TextConfig, loader: &mut Loader) -> crate::Result<Self> {
        let (hidden, ffn) = (config.hidden_size, config.intermediate_size);
        let [heads, kv] = [config.num_attention_heads, config.num_key_value_heads].map(|heads| heads * config.head_dim);
        let (eps, qkv_bias) = (config.rms_norm_eps as f32, config.qkv_bias);
        let mut layer = Self {
            input_layernorm: loader.rms_norm(&format!("{prefix}.input_layernorm"), hidden, eps)?,
            q_proj: loader.linear(format!("{prefix}.self_attn.q_proj"), heads, hidden, qkv_bias)?,
            k_proj: loader.linear(format!("{prefix}.self_attn.k_proj"), kv, hidden, qkv_bias)?,
            v_proj: loader.linear(format!("{prefix}.self_attn.v_proj"), kv, hidden, qkv_bias)?,
            o_proj: loader.linear(format!("{prefix}.self_attn.o_proj"), hidden, heads, config.o_bias)?,
            qk_norm: config.qk_norm.then(|| QkNorm::load(prefix, config, loader)).transpose()?,
            post_attention_layernorm: loader.rms_norm(&format!("{prefix}.post_attention_layernorm"), hidden, eps)?,
            gate_proj: loader.linear(format!("{prefix}.mlp.gate_proj"), ffn, hidden, false)?,
            up_proj: loader.linear(format!("{prefix}.mlp.up_proj"), ffn, hidden, false)?,
            down_proj: loader.linear(format!("{prefix}.mlp.down_proj"), hidden, ffn, false)?,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            precision: loader.precision,
        };
        let widest = operand_dtype(loader.precision);
        (layer.gate_proj.y_dtype, layer.up_proj.y_dtype, layer.down_proj.dx_dtype) = (widest, widest, widest);
        Ok(layer)
    }

    pub(crate) fn linears(&self) -> [&Linear; 7] {
        let Self { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, .. } = self;
        [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
    }

    pub(crate) fn linears_mut(&mut self) -> [&mut Linear; 7] {
        let Self { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, .. } = self;
        [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
    }

    /// The activations for `x`, `[T, hidden]`: the tokens of all sequences of `inputs`, rotated by its `rotary`. The output is
    /// [`DecoderLayer::output`] of them, for the rows that are queries.
    pub fn activations(&self, x: &Tensor, inputs: AttentionInputs, ctx: ForwardContext) -> Result<Activations> {
        let AttentionInputs { rotary, sequences } = inputs;
        let mut h = Hs::default();
        let [q, k, v] = self.qkv(x, ctx, &mut h)?;
        let projected = self.qk_norm.is_some().then(|| [q.clone(), k.clone()]);
        let [q, k] = self.rotated([q, k], rotary, ctx)?;
        let (x, q) = (sequences.queries(x.clone())?, sequences.queries(q)?);
        let (k, v) = (sequences.keys(k)?, sequences.keys(v)?);
        let attended = attention(&q, &k, &v, &sequences.segments, [self.heads, self.kv_heads], self.precision)?;
        let activations = self.activations_after_attention(&x, [q, k, v, attended], h, ctx)?;
        Ok(Activations { projected, ..activations })
    }

    /// What the layer makes of its input, `[queries, hidden]`.
    pub fn output(&self, inner: &mut Activations, ctx: ForwardContext) -> Result<Tensor> {
        let (y, h) = self.down_proj.forward(&swiglu(&inner.gate, &inner.up)?, ctx)?;
        inner.h.down = h;
        add(&inner.middle, &y)
    }

    /// The gradient of the input `x`, given that of the output, dy, `[queries, hidden]`; gradients of what trains are
    /// added to `gradients`. This is `inner` and `output` read backwards.
    pub fn backward(
        &self,
        x: &Tensor,
        inner: &Activations,
        dy: &Tensor,
        attention: AttentionInputs,
        ctx: ForwardContext,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let AttentionInputs { rotary, sequences } = attention;
        let heads = [self.heads, self.kv_heads];
        let Activations { q, k, v, attended, middle, gate, up, h, projected } = inner;

        let dactivated = self.down_proj.backward(&swiglu(gate, up)?, h.down.as_ref(), dy, ctx, gradients)?;
        let [dgate, dup] = swiglu_backward(gate, up, &dactivated)?;
        let normed = self.post_attention_layernorm.forward(middle, ctx)?;
        let dnormed = add(
            &self.gate_proj.backward(&normed, h.gate.as_ref(), &dgate, ctx, gradients)?,
            &self.up_proj.backward(&normed, h.up.as_ref(), &dup, ctx, gradients)?,
        )?;
        let dmiddle = self.post_attention_layernorm.backward(middle, &dnormed, Some(dy), ctx, gradients)?;

        let dattended = self.o_proj.backward(attended, h.o.as_ref(), &dmiddle, ctx, gradients)?;
        let [dq, dk, dv] =
            attention_backward([q, k, v, attended], &dattended, &sequences.segments, heads, self.precision)?;
        let tokens = x.dim(0)?;
        let (dq, dmiddle) = (sequences.queries_backward(dq, tokens)?, sequences.queries_backward(dmiddle, tokens)?);
        let (dk, dv) = (sequences.keys_backward(dk, tokens)?, sequences.keys_backward(dv, tokens)?);
        let [mut dq, mut dk] = [rope_backward(&dq, rotary)?, rope_backward(&dk, rotary)?];
        if let (Some(norm), Some([q, k])) = (&self.qk_norm, projected) {
            dq = by_heads(q, self.heads, |q| norm.q.backward(q, &dq.reshape(q.shape())?, None, ctx, gradients))?;
            dk = by_heads(k, self.kv_heads, |k| norm.k.backward(k, &dk.reshape(k.shape())?, None, ctx, gradients))?;
        }
        let normed = self.input_layernorm.forward(x, ctx)?;
        let dnormed = add(
            &self.q_proj.backward(&normed, h.q.as_ref(), &dq, ctx, gradients)?,
            &add(
                &self.k_proj.backward(&normed, h.k.as_ref(), &dk, ctx, gradients)?,
                &self.v_proj.backward(&normed, h.v.as_ref(), &dv, ctx, gradients)?,
            )?,
        )?;
        self.input_layernorm.backward(x, &dnormed, Some(&dmiddle), ctx, gradients)
    }

    /// Of a token, how many f32 values' room [`Activations`] takes: gate and up are bf16 where products are.
    pub fn saved_values(&self) -> usize {
        let [hidden, heads, kv, ffn] = self.widths();
        let gated = match self.precision {
            Precision::F32 => 2,
            Precision::Bf16 => 1,
        };
        let projected = if self.qk_norm.is_some() { heads + kv } else { 0 };
        hidden + 2 * heads + 2 * kv + projected + gated * ffn
    }

    /// Of a token, how many f32 values' room the backward pass takes beside that: what gate and up make, with three
    /// gradients, and ten values of the hidden width.
    pub fn working_values(&self) -> usize {
        let [hidden, heads, _, ffn] = self.widths();
        let gated = match self.precision {
            Precision::F32 => 4,
            Precision::Bf16 => 2,
        };
        gated * ffn + 10 * hidden.max(heads)
    }

    /// Of the residual stream, of queries, of keys, and of the feed-forward.
    fn widths(&self) -> [usize; 4] {
        let [q, k, gate] = [&self.q_proj, &self.k_proj, &self.gate_proj].map(Linear::weight);
        [q.cols, q.rows, k.rows, gate.rows]
    }

    /// Whether the adapter that is on trains anything here.
    pub fn trains(&self, ctx: ForwardContext) -> bool {
        self.linears().iter().any(|linear| linear.trains(ctx))
            || self.qk_norm.as_ref().is_some_and(|norm| norm.q.trains(ctx) || norm.k.trains(ctx))
            || self.input_layernorm.trains(ctx)
            || self.post_attention_layernorm.trains(ctx)
    }

    /// What of the weights [`DecoderLayer::release`] gives back, in bytes.
    pub fn releasable(&self) -> usize {
        self.linears().iter().map(|linear| linear.weight().releasable()).sum()
    }

    /// Maps the weights at once after [`DecoderLayer::release`].
    pub fn map(&self) {
        self.linears().iter().for_each(|linear| linear.weight().map());
    }

    /// Lets the system take back the memory of the weights; the next pass reads them from the file again.
    pub fn release(&self) {
        self.linears().iter().for_each(|linear| linear.weight().release());
    }

    /// The output for new tokens of several sequences, x, whose earlier tokens are in layer `index` of their caches; the
    /// caches have room for the new ones. `wanted`, in the last layer, are the rows that go on, with their context.
    pub(crate) fn forward_cached(
        &self,
        index: usize,
        x: &Tensor,
        rotary: &Rotary,
        sequences: &[CachedSequence],
        wanted: Option<(&Tensor, ForwardContext)>,
        ctx: ForwardContext,
    ) -> Result<Tensor> {
        let [q, k, v] = self.qkv(x, ctx, &mut Hs::default())?;
        let [q, k] = self.rotated([q, k], rotary, ctx)?;
        write(index, [&k, &v], sequences, operand_dtype(self.precision))?;
        let keys = |queries: fn(&CachedSequence) -> usize| -> Vec<CachedKeys> {
            sequences.iter().map(|sequence| sequence.cache.keys(index, sequence.new, queries(sequence))).collect()
        };
        let (x, q, keys, ctx) = match wanted {
            None => (x.clone(), q, keys(|sequence| sequence.new), ctx),
            Some((rows, _)) if rows.elem_count() == 0 => return x.narrow(0, 0, 0),
            Some((rows, ctx)) => {
                (x.index_select(rows, 0)?, q.index_select(rows, 0)?, keys(|sequence| sequence.wanted), ctx)
            }
        };
        let attended = cached_attention(&q, &keys, [self.heads, self.kv_heads], self.precision)?;
        self.output(&mut self.activations_after_attention(&x, [q, k, v, attended], Hs::default(), ctx)?, ctx)
    }

    /// Queries, keys and values as their layers make them.
    fn qkv(&self, x: &Tensor, ctx: ForwardContext, h: &mut Hs) -> Result<[Tensor; 3]> {
        let normed = self.input_layernorm.forward(x, ctx)?;
        let (q, k, v);
        (q, h.q) = self.q_proj.forward(&normed, ctx)?;
        (k, h.k) = self.k_proj.forward(&normed, ctx)?;
        (v, h.v) = self.v_proj.forward(&normed, ctx)?;
        Ok([q, k, v])
    }

    /// Queries and keys as attention reads them.
    fn rotated(&self, [mut q, mut k]: [Tensor; 2], rotary: &Rotary, ctx: ForwardContext) -> Result<[Tensor; 2]> {
        if let Some(norm) = &self.qk_norm {
            q = by_heads(&q, self.heads, |q| norm.q.forward(q, ctx))?;
            k = by_heads(&k, self.kv_heads, |k| norm.k.forward(k, ctx))?;
        }
        Ok([rope(&q, rotary)?, rope(&k, rotary)?])
    }

    fn activations_after_attention(
        &self,
        x: &Tensor,
        [q, k, v, attended]: [Tensor; 4],
        mut h: Hs,
        ctx: ForwardContext,
    ) -> Result<Activations> {
        let (o, gate, up);
        (o, h.o) = self.o_proj.forward(&attended, ctx)?;
        let middle = add(x, &o)?;
        let normed = self.post_attention_layernorm.forward(&middle, ctx)?;
        (gate, h.gate) = self.gate_proj.forward(&normed, ctx)?;
        (up, h.up) = self.up_proj.forward(&normed, ctx)?;
        Ok(Activations { q, k, v, attended, middle, gate, up, h, projected: None })
    }
}

/// What a layer's backward pass reads beside the input: the values that took a product to make. Keys and values are those
/// of all tokens that are seen, all else belongs to the queries.
pub struct Activations {
    /// Rotated queries, `[queries, heads · head_dim]`.
    q: Tensor,
    /// Rotated keys, `[keys, kv_heads · head_dim]`.
    k: Tensor,
    v: Tensor,
    /// What attention makes of them, `[queries, heads · head_dim]`.
    attended: Tensor,
    /// The residual stream between attention and feed-forward, `[queries, hidden]`.
    middle: Tensor,
    /// `[queries, intermediate]`. These, two thirds of what a layer keeps, are rounded to bf16 where products are, and so is
    /// all else of that width.
    gate: Tensor,
    up: Tensor,
    h: Hs,
    /// Queries and keys of all tokens before their norms, where they have some.
    projected: Option<[Tensor; 2]>,
}

impl QkNorm {
    fn load(prefix: &str, config: &TextConfig, loader: &mut Loader) -> crate::Result<Self> {
        let (width, eps) = (config.head_dim, config.rms_norm_eps as f32);
        let q = loader.rms_norm(&format!("{prefix}.self_attn.q_norm"), width, eps)?;
        Ok(Self { q, k: loader.rms_norm(&format!("{prefix}.self_attn.k_norm"), width, eps)? })
    }
}

/// What `f` makes of the heads of x, `[T, heads · head_dim]`, one a row; in x's shape.
fn by_heads(x: &Tensor, heads: usize, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    f(&x.reshape((rows * heads, width / heads))?)?.reshape((rows, width))
}

/// h of each linear layer that an adapter is on; that of `down_proj` is made with the output.
#[derive(Default)]
struct Hs {
    q: Option<Tensor>,
    k: Option<Tensor>,
    v: Option<Tensor>,
    o: Option<Tensor>,
    gate: Option<Tensor>,
    up: Option<Tensor>,
    down: Option<Tensor>,
}
