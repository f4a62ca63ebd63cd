//! The perceptron of a vision block.

use candle_core::Result;
use candle_core::Tensor;

use crate::gradients::Gradients;
use crate::layers::ForwardContext;
use crate::layers::Linear;
use crate::layers::Loader;
use crate::ops::Activation;
use crate::ops::add;
use crate::ops::swiglu;
use crate::ops::swiglu_backward;

use super::config::FeedForwardKind;
use super::config::VisionConfig;

/// See [`FeedForwardKind`].
pub(super) enum FeedForward {
    SwiGlu { gate: Linear, up: Linear, down: Linear },
    TwoLayers { first: Linear, second: Linear, activation: Activation },
}

/// What the layers that read x have made of it, each with its h, where an adapter is on it.
pub(super) type Projected = Vec<(Tensor, Option<Tensor>)>;

impl FeedForward {
    pub(super) fn load(prefix: &str, config: &VisionConfig, loader: &mut Loader) -> crate::Result<Self> {
        let (hidden, ffn) = (config.hidden_size, config.intermediate_size);
        let mut wide = |name: &str| loader.linear(format!("{prefix}.{name}"), ffn, hidden, true);
        Ok(match config.feed_forward {
            FeedForwardKind::SwiGlu => {
                let (gate, up) = (wide("gate_proj")?, wide("up_proj")?);
                Self::SwiGlu { gate, up, down: loader.linear(format!("{prefix}.down_proj"), hidden, ffn, true)? }
            }
            FeedForwardKind::TwoLayers { names: [first, second], activation } => {
                let first = wide(first)?;
                Self::TwoLayers {
                    first,
                    second: loader.linear(format!("{prefix}.{second}"), hidden, ffn, true)?,
                    activation,
                }
            }
        })
    }

    pub(super) fn linears(&self) -> Vec<&Linear> {
        match self {
            Self::SwiGlu { gate, up, down } => vec![gate, up, down],
            Self::TwoLayers { first, second, .. } => vec![first, second],
        }
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        match self {
            Self::SwiGlu { gate, up, down } => vec![gate, up, down],
            Self::TwoLayers { first, second, .. } => vec![first, second],
        }
    }

    /// What takes a product of x, `[T, hidden]`, to make: each `[T, intermediate]`.
    pub(super) fn project(&self, x: &Tensor, ctx: ForwardContext) -> Result<Projected> {
        match self {
            Self::SwiGlu { gate, up, .. } => [gate, up].into_iter().map(|linear| linear.forward(x, ctx)).collect(),
            Self::TwoLayers { first, .. } => Ok(vec![first.forward(x, ctx)?]),
        }
    }

    /// The output, `[T, hidden]`.
    pub(super) fn output(&self, projected: &Projected, ctx: ForwardContext) -> Result<Tensor> {
        let last = match self {
            Self::SwiGlu { down, .. } => down,
            Self::TwoLayers { second, .. } => second,
        };
        Ok(last.forward(&self.activated(projected)?, ctx)?.0)
    }

    /// The gradient of x, given that of the output, dy; gradients of what trains are added to `gradients`.
    pub(super) fn backward(
        &self,
        x: &Tensor,
        projected: &Projected,
        dy: &Tensor,
        ctx: ForwardContext,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let activated = self.activated(projected)?;
        match self {
            Self::SwiGlu { gate, up, down } => {
                let dactivated = down.backward(&activated, None, dy, ctx, gradients)?;
                let [(of_gate, gate_h), (of_up, up_h)] = [&projected[0], &projected[1]];
                let [dgate, dup] = swiglu_backward(of_gate, of_up, &dactivated)?;
                add(
                    &gate.backward(x, gate_h.as_ref(), &dgate, ctx, gradients)?,
                    &up.backward(x, up_h.as_ref(), &dup, ctx, gradients)?,
                )
            }
            Self::TwoLayers { first, second, activation } => {
                let dactivated = second.backward(&activated, None, dy, ctx, gradients)?;
                let (hidden, h) = &projected[0];
                first.backward(x, h.as_ref(), &activation.backward(hidden, &dactivated)?, ctx, gradients)
            }
        }
    }

    fn activated(&self, projected: &Projected) -> Result<Tensor> {
        match self {
            Self::SwiGlu { .. } => swiglu(&projected[0].0, &projected[1].0),
            Self::TwoLayers { activation, .. } => activation.forward(&projected[0].0),
        }
    }
}
