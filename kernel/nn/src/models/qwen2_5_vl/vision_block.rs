//! A block of the vision tower.

use candle_core::Result;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::gradients::Gradients;
use crate::layers::ForwardContext;
use crate::layers::Linear;
use crate::layers::Loader;
use crate::layers::Norm;
use crate::ops::Rotary;
use crate::ops::Segments;
use crate::ops::add;
use crate::ops::attention;
use crate::ops::attention_backward;
use crate::ops::rope;
use crate::ops::rope_backward;
use crate::ops::swiglu;
use crate::ops::swiglu_backward;

use super::config::VisionConfig;

/// RMSNorm epsilon of the tower, fixed by the architecture.
pub(super) const EPS: f32 = 1e-6;

/// `x += attention(norm1(x))`, then `x += mlp(norm2(x))`.
pub(super) struct VisionBlock {
    norm1: Norm,
    qkv: Linear,
    proj: Linear,
    norm2: Norm,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    heads: usize,
    precision: Precision,
}

/// What the backward pass reads beside the input.
struct Activations {
    /// Rotated queries, rotated keys, values, and what attention makes of them, each `[T, hidden]`.
    attention: [Tensor; 4],
    /// The residual stream between attention and feed-forward, `[T, hidden]`.
    middle: Tensor,
    /// `[T, intermediate]`.
    gate: Tensor,
    up: Tensor,
    /// Of `qkv`, `proj`, `gate_proj` and `up_proj`, where an adapter is on them.
    h: [Option<Tensor>; 4],
}

impl VisionBlock {
    pub(super) fn load(prefix: &str, config: &VisionConfig, loader: &mut Loader) -> crate::Result<Self> {
        let (hidden, ffn) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            norm1: loader.norm(&format!("{prefix}.norm1"), hidden, EPS)?,
            qkv: loader.linear(format!("{prefix}.attn.qkv"), 3 * hidden, hidden, true)?,
            proj: loader.linear(format!("{prefix}.attn.proj"), hidden, hidden, true)?,
            norm2: loader.norm(&format!("{prefix}.norm2"), hidden, EPS)?,
            gate_proj: loader.linear(format!("{prefix}.mlp.gate_proj"), ffn, hidden, true)?,
            up_proj: loader.linear(format!("{prefix}.mlp.up_proj"), ffn, hidden, true)?,
            down_proj: loader.linear(format!("{prefix}.mlp.down_proj"), hidden, ffn, true)?,
            heads: config.num_heads,
            precision: loader.precision,
        })
    }

    pub(super) fn linears(&self) -> [&Linear; 5] {
        let Self { qkv, proj, gate_proj, up_proj, down_proj, .. } = self;
        [qkv, proj, gate_proj, up_proj, down_proj]
    }

    pub(super) fn linears_mut(&mut self) -> [&mut Linear; 5] {
        let Self { qkv, proj, gate_proj, up_proj, down_proj, .. } = self;
        [qkv, proj, gate_proj, up_proj, down_proj]
    }

    /// Whether the adapter that is on trains anything here.
    pub(super) fn trains(&self, ctx: ForwardContext) -> bool {
        self.linears().iter().any(|linear| linear.trains(ctx)) || self.norm1.trains(ctx) || self.norm2.trains(ctx)
    }

    /// `x` is `[T, hidden]`, the patches of all `segments`.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        rotary: &Rotary,
        segments: &Segments,
        ctx: ForwardContext,
    ) -> Result<Tensor> {
        let Activations { middle, gate, up, .. } = self.activations(x, rotary, segments, ctx)?;
        add(&middle, &self.down_proj.forward(&swiglu(&gate, &up)?, ctx)?.0)
    }

    /// The gradient of the input `x`, given that of the output, dy; gradients of what trains are added to `gradients`.
    pub(super) fn backward(
        &self,
        x: &Tensor,
        dy: &Tensor,
        rotary: &Rotary,
        segments: &Segments,
        ctx: ForwardContext,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let Activations { attention: [q, k, v, attended], middle, gate, up, h: [qkv_h, proj_h, gate_h, up_h] } =
            self.activations(x, rotary, segments, ctx)?;

        let dactivated = self.down_proj.backward(&swiglu(&gate, &up)?, None, dy, ctx, gradients)?;
        let [dgate, dup] = swiglu_backward(&gate, &up, &dactivated)?;
        let normed = self.norm2.forward(&middle, ctx)?;
        let dnormed = add(
            &self.gate_proj.backward(&normed, gate_h.as_ref(), &dgate, ctx, gradients)?,
            &self.up_proj.backward(&normed, up_h.as_ref(), &dup, ctx, gradients)?,
        )?;
        let dmiddle = self.norm2.backward(&middle, &dnormed, Some(dy), ctx, gradients)?;

        let dattended = self.proj.backward(&attended, proj_h.as_ref(), &dmiddle, ctx, gradients)?;
        let [dq, dk, dv] =
            attention_backward([&q, &k, &v, &attended], &dattended, segments, [self.heads; 2], self.precision)?;
        let dqkv = Tensor::cat(&[rope_backward(&dq, rotary)?, rope_backward(&dk, rotary)?, dv], 1)?;
        let normed = self.norm1.forward(x, ctx)?;
        let dnormed = self.qkv.backward(&normed, qkv_h.as_ref(), &dqkv, ctx, gradients)?;
        self.norm1.backward(x, &dnormed, Some(&dmiddle), ctx, gradients)
    }

    fn activations(
        &self,
        x: &Tensor,
        rotary: &Rotary,
        segments: &Segments,
        ctx: ForwardContext,
    ) -> Result<Activations> {
        let hidden = x.dim(1)?;
        let (qkv, qkv_h) = self.qkv.forward(&self.norm1.forward(x, ctx)?, ctx)?;
        let part = |i: usize| qkv.narrow(1, i * hidden, hidden)?.contiguous();
        let (q, k, v) = (rope(&part(0)?, rotary)?, rope(&part(1)?, rotary)?, part(2)?);
        let attended = attention(&q, &k, &v, segments, [self.heads; 2], self.precision)?;
        let (projected, proj_h) = self.proj.forward(&attended, ctx)?;
        let middle = add(x, &projected)?;
        let normed = self.norm2.forward(&middle, ctx)?;
        let (gate, gate_h) = self.gate_proj.forward(&normed, ctx)?;
        let (up, up_h) = self.up_proj.forward(&normed, ctx)?;
        Ok(Activations { attention: [q, k, v, attended], middle, gate, up, h: [qkv_h, proj_h, gate_h, up_h] })
    }
}
