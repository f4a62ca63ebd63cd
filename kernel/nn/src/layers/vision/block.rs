//! A block of the vision transformer.

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

use super::config::NormKind;
use super::config::VisionConfig;
use super::feed_forward::FeedForward;
use super::feed_forward::Projected;

/// Epsilon of the tower's norms, fixed by the architectures.
pub(crate) const EPS: f32 = 1e-6;

/// `x += attention(norm1(x))`, then `x += mlp(norm2(x))`.
pub(super) struct VisionBlock {
    norm1: Norm,
    qkv: Linear,
    proj: Linear,
    norm2: Norm,
    mlp: FeedForward,
    heads: usize,
    precision: Precision,
}

/// What the backward pass reads beside the input.
struct Activations {
    /// Rotated queries, rotated keys, values, and what attention makes of them, each `[T, hidden]`.
    attention: [Tensor; 4],
    /// The residual stream between attention and feed-forward, `[T, hidden]`.
    middle: Tensor,
    projected: Projected,
    /// h of `qkv` and `proj`, where an adapter is on them.
    h: [Option<Tensor>; 2],
}

/// The norm `name` of a tower.
pub(super) fn norm(name: &str, width: usize, config: &VisionConfig, loader: &mut Loader) -> crate::Result<Norm> {
    match config.norm {
        NormKind::Rms => loader.rms_norm(name, width, EPS),
        NormKind::Layer => loader.layer_norm(name, width, EPS),
    }
}

impl VisionBlock {
    pub(super) fn load(prefix: &str, config: &VisionConfig, loader: &mut Loader) -> crate::Result<Self> {
        let hidden = config.hidden_size;
        Ok(Self {
            norm1: norm(&format!("{prefix}.norm1"), hidden, config, loader)?,
            qkv: loader.linear(format!("{prefix}.attn.qkv"), 3 * hidden, hidden, true)?,
            proj: loader.linear(format!("{prefix}.attn.proj"), hidden, hidden, true)?,
            norm2: norm(&format!("{prefix}.norm2"), hidden, config, loader)?,
            mlp: FeedForward::load(&format!("{prefix}.mlp"), config, loader)?,
            heads: config.num_heads,
            precision: loader.precision,
        })
    }

    pub(super) fn linears(&self) -> Vec<&Linear> {
        [&self.qkv, &self.proj].into_iter().chain(self.mlp.linears()).collect()
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        [&mut self.qkv, &mut self.proj].into_iter().chain(self.mlp.linears_mut()).collect()
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
        let Activations { middle, projected, .. } = self.activations(x, rotary, segments, ctx)?;
        add(&middle, &self.mlp.output(&projected, ctx)?)
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
        let Activations { attention: [q, k, v, attended], middle, projected, h: [qkv_h, proj_h] } =
            self.activations(x, rotary, segments, ctx)?;

        let normed = self.norm2.forward(&middle, ctx)?;
        let dnormed = self.mlp.backward(&normed, &projected, dy, ctx, gradients)?;
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
        let (of_proj, proj_h) = self.proj.forward(&attended, ctx)?;
        let middle = add(x, &of_proj)?;
        let projected = self.mlp.project(&self.norm2.forward(&middle, ctx)?, ctx)?;
        Ok(Activations { attention: [q, k, v, attended], middle, projected, h: [qkv_h, proj_h] })
    }
}
