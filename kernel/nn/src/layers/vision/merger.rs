//! The projector between the vision tower and the language model.

use candle_core::Result;
use candle_core::Tensor;

use crate::gradients::Gradients;
use crate::layers::ForwardContext;
use crate::layers::Linear;
use crate::layers::Loader;
use crate::layers::Norm;
use crate::ops::Activation;

use super::block::norm;
use super::config::VisionConfig;

/// Neighbouring patches to one token: norm and join, then a two-layer perceptron with the exact GELU.
pub(super) struct Merger {
    norm: Norm,
    /// Whether patches are joined before the norm, which then is as wide as they are together.
    joins_first: bool,
    pub first: Linear,
    pub second: Linear,
    /// Patches of a token.
    block: usize,
}

impl Merger {
    /// The projector, which norms each patch.
    pub(super) fn load(prefix: &str, config: &VisionConfig, loader: &mut Loader) -> crate::Result<Self> {
        Self::load_either(prefix, false, config, loader)
    }

    /// One of DeepStack, which norms the patches of a token together.
    pub(super) fn load_joining_first(prefix: &str, config: &VisionConfig, loader: &mut Loader) -> crate::Result<Self> {
        Self::load_either(prefix, true, config, loader)
    }

    fn load_either(prefix: &str, joins_first: bool, config: &VisionConfig, loader: &mut Loader) -> crate::Result<Self> {
        let block = config.patches_of_token();
        let (names, joined) = (config.merger, config.hidden_size * block);
        let normed = if joins_first { joined } else { config.hidden_size };
        Ok(Self {
            norm: norm(&format!("{prefix}.{}", names.norm), normed, config, loader)?,
            joins_first,
            first: loader.linear(format!("{prefix}.{}", names.first), joined, joined, true)?,
            second: loader.linear(format!("{prefix}.{}", names.second), config.out_hidden_size, joined, true)?,
            block,
        })
    }

    /// `x` is `[T, hidden]`, the result `[T / block, out_hidden]`.
    pub(super) fn forward(&self, x: &Tensor, ctx: ForwardContext) -> Result<Tensor> {
        let (hidden, _) = self.first.forward(&self.joined(x, ctx)?, ctx)?;
        Ok(self.second.forward(&Activation::Gelu.forward(&hidden)?, ctx)?.0)
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
        let dactivated = self.second.backward(&Activation::Gelu.forward(&hidden)?, None, dy, ctx, gradients)?;
        let dhidden = Activation::Gelu.backward(&hidden, &dactivated)?;
        let djoined = self.first.backward(&joined, h.as_ref(), &dhidden, ctx, gradients)?;
        let x_normed = if self.joins_first { self.join(x)? } else { x.clone() };
        let dx = self.norm.backward(&x_normed, &djoined.reshape(x_normed.shape())?, None, ctx, gradients)?;
        dx.reshape(x.shape())
    }

    /// What the perceptron reads.
    fn joined(&self, x: &Tensor, ctx: ForwardContext) -> Result<Tensor> {
        match self.joins_first {
            true => self.norm.forward(&self.join(x)?, ctx),
            false => self.join(&self.norm.forward(x, ctx)?),
        }
    }

    fn join(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        x.reshape((rows / self.block, self.block * width))
    }
}
