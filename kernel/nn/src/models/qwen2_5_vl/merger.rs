//! The projector between the vision tower and the language model.

use candle_core::Result;
use candle_core::Tensor;

use crate::gradients::Gradients;
use crate::layers::ForwardContext;
use crate::layers::Linear;
use crate::layers::Loader;
use crate::layers::Norm;
use crate::ops::gelu;
use crate::ops::gelu_backward;

use super::config::VisionConfig;
use super::vision_block::EPS;

/// Neighbouring patches to one token: norm, join, and a two-layer perceptron with the exact GELU.
pub(super) struct Merger {
    ln_q: Norm,
    pub first: Linear,
    pub second: Linear,
    /// Patches of a token.
    block: usize,
}

impl Merger {
    pub(super) fn load(prefix: &str, config: &VisionConfig, loader: &mut Loader) -> crate::Result<Self> {
        let block = config.spatial_merge_size * config.spatial_merge_size;
        let joined = config.hidden_size * block;
        Ok(Self {
            ln_q: loader.norm(&format!("{prefix}.ln_q"), config.hidden_size, EPS)?,
            first: loader.linear(format!("{prefix}.mlp.0"), joined, joined, true)?,
            second: loader.linear(format!("{prefix}.mlp.2"), config.out_hidden_size, joined, true)?,
            block,
        })
    }

    /// `x` is `[T, hidden]`, the result `[T / block, out_hidden]`.
    pub(super) fn forward(&self, x: &Tensor, ctx: ForwardContext) -> Result<Tensor> {
        let (hidden, _) = self.first.forward(&self.joined(x, ctx)?, ctx)?;
        Ok(self.second.forward(&gelu(&hidden)?, ctx)?.0)
    }

    /// The gradient of the input `x`, given that of the output, dy; gradients of what trains are added to `gradients`.
    pub(super) fn backward(
        &self,
        x: &Tensor,
        dy: &Tensor,
        ctx: ForwardContext,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let joined = self.joined(x, ctx)?;
        let (hidden, h) = self.first.forward(&joined, ctx)?;
        let dactivated = self.second.backward(&gelu(&hidden)?, None, dy, ctx, gradients)?;
        let dhidden = gelu_backward(&hidden, &dactivated)?;
        let djoined = self.first.backward(&joined, h.as_ref(), &dhidden, ctx, gradients)?;
        self.ln_q.backward(x, &djoined.reshape(x.shape())?, None, ctx, gradients)
    }

    fn joined(&self, x: &Tensor, ctx: ForwardContext) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        self.ln_q.forward(x, ctx)?.reshape((rows / self.block, self.block * width))
    }
}
