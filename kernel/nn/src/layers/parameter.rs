//! The tensors of the model: the checkpoint's, unless the adapter that is on has a trained copy.

use candle_core::Result;
use candle_core::Tensor;
use candle_core::Var;

use crate::frozen::FrozenMatrix;
use crate::gradients::Gradients;
use crate::ops::add_bias_gradient;
use crate::ops::add_layer_norm_gradient;
use crate::ops::add_rms_norm_gradient;
use crate::ops::layer_norm;
use crate::ops::layer_norm_backward;
use crate::ops::rms_norm;
use crate::ops::rms_norm_backward;

use super::linear::ForwardContext;

/// A matrix, read where the checkpoint maps it.
pub struct Matrix {
    pub(crate) name: String,
    pub(crate) frozen: FrozenMatrix,
}

impl Matrix {
    /// The copy that trains.
    pub fn trained<'a>(&self, ctx: ForwardContext<'a>) -> Option<&'a Var> {
        ctx.adapter?.tensor(&self.name)
    }
}

/// A vector: a bias, or the weight of a norm.
pub(crate) struct Vector {
    pub(crate) name: String,
    /// On the model's device.
    pub(crate) frozen: Tensor,
}

impl Vector {
    /// What a pass reads.
    pub(crate) fn values<'a>(&'a self, ctx: ForwardContext<'a>) -> &'a Tensor {
        self.trained(ctx).map_or(&self.frozen, |var| var)
    }

    /// The copy that trains.
    pub(crate) fn trained<'a>(&self, ctx: ForwardContext<'a>) -> Option<&'a Var> {
        ctx.adapter?.tensor(&self.name)
    }

    /// As a bias that was added to rows whose gradient is dy, `[T, width]`: adds its own gradient, if it trains.
    pub(crate) fn bias_backward(&self, dy: &Tensor, ctx: ForwardContext, gradients: &mut Gradients) -> Result<()> {
        match self.trained(ctx) {
            Some(var) => add_bias_gradient(&gradients.sum(var)?, dy),
            None => Ok(()),
        }
    }
}

/// RMSNorm with its weight; where it has a bias, LayerNorm.
pub struct Norm {
    pub(crate) weight: Vector,
    pub(crate) bias: Option<Vector>,
    pub(crate) eps: f32,
}

impl Norm {
    pub fn forward(&self, x: &Tensor, ctx: ForwardContext) -> Result<Tensor> {
        if !ctx.batch.is_empty() && ctx.any(|ctx| self.trains(ctx)) {
            return ctx.by_adapter(x, |x, ctx| self.forward(x, ctx));
        }
        let weight = self.weight.values(ctx);
        match &self.bias {
            Some(bias) => layer_norm(x, weight, bias.values(ctx), self.eps),
            None => rms_norm(x, weight, self.eps),
        }
    }

    /// dx, plus `residual`: what reaches x along the connection that passes the norm by. The gradients of weight and bias
    /// are added to `gradients`, if they train.
    pub fn backward(
        &self,
        x: &Tensor,
        dy: &Tensor,
        residual: Option<&Tensor>,
        ctx: ForwardContext,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let (weight, trained) = (self.weight.values(ctx), self.weight.trained(ctx));
        let sum = trained.map(|var| gradients.sum(var)).transpose()?;
        match &self.bias {
            Some(bias) => {
                bias.bias_backward(dy, ctx, gradients)?;
                sum.map_or(Ok(()), |sum| add_layer_norm_gradient(&sum, x, self.eps, dy))?;
                layer_norm_backward(x, weight, self.eps, dy, residual)
            }
            None => {
                sum.map_or(Ok(()), |sum| add_rms_norm_gradient(&sum, x, self.eps, dy))?;
                rms_norm_backward(x, weight, self.eps, dy, residual)
            }
        }
    }

    pub fn trains(&self, ctx: ForwardContext) -> bool {
        [Some(&self.weight), self.bias.as_ref()].into_iter().flatten().any(|vector| vector.trained(ctx).is_some())
    }
}
