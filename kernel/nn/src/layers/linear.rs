//! A linear layer: frozen weights, and what the active adapter adds to them.

use candle_core::DType;
use candle_core::Result;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::adapter::Adapter;
use crate::frozen::FrozenMatrix;
use crate::gradients::Gradients;
use crate::ops::Dropout;
use crate::ops::Weight;
use crate::ops::add_weight_gradient;
use crate::ops::linear;
use crate::ops::linear_backward;
use crate::quantize::QuantizationBit;

use super::adapter_rows::AdapterRows;
use super::decode_weights::DecodeWeights;
use super::low_rank::ActiveLora;
use super::low_rank::in_dtype;
use super::parameter::Matrix;
use super::parameter::Vector;

/// How the model is run.
#[derive(Clone, Copy, Default)]
pub struct ForwardContext<'a> {
    /// The adapter that is on; none runs the base model.
    pub adapter: Option<&'a Adapter>,
    /// In its place, if rows have different adapters: those of all rows. Nothing of them trains then.
    pub batch: &'a [AdapterRows<'a>],
    /// In training, what dropout masks are drawn from. The same run number gives the same masks, so that a
    /// layer that is rebuilt in the backward pass is the layer of the forward pass.
    pub dropout: Option<DropoutRun>,
    /// Asked before each layer whether to stop there.
    pub stop: Option<&'a dyn Fn() -> bool>,
    /// What is read in place of the checkpoint's weights, as far as it has them.
    pub decode_weights: Option<&'a DecodeWeights>,
}

impl ForwardContext<'_> {
    /// Lets the next layer begin.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) if it is to stop.
    pub fn check_cancelled(self) -> crate::Result<()> {
        if self.stop.is_some_and(|stop| stop()) { Err(crate::Error::Cancelled) } else { Ok(()) }
    }
}

/// The seed of a training and the number of one of its micro-batches.
#[derive(Clone, Copy, Debug)]
pub struct DropoutRun {
    pub seed: u64,
    pub micro_batch: u64,
}

/// The streams of dropout masks begin here; those below belong to shuffles and to new adapters.
const DROPOUT: u64 = 1 << 63;

/// `y = x Wᵀ + b`, and what an adapter on this layer makes of it: see [`ActiveLora::forward`].
pub struct Linear {
    /// Index in [`ModelShape::linears`](crate::adapter::ModelShape::linears).
    pub(crate) id: usize,
    pub(crate) weight: Matrix,
    pub(crate) bias: Option<Vector>,
    pub(crate) precision: Precision,
    /// In what y is written, f32 or bf16.
    pub(crate) y_dtype: DType,
    /// In what dx is written.
    pub(crate) dx_dtype: DType,
}

impl Linear {
    pub(crate) fn quantize(&mut self, bit: QuantizationBit) {
        self.weight.frozen = self.weight.frozen.quantized(bit);
    }

    pub(crate) fn weight(&self) -> &FrozenMatrix {
        &self.weight.frozen
    }

    /// `x` is `[T, in]`, the result `[T, out]`, and beside it h, `[T, r]`, if an adapter is on this layer.
    pub fn forward(&self, x: &Tensor, ctx: ForwardContext) -> Result<(Tensor, Option<Tensor>)> {
        if !ctx.batch.is_empty() {
            return Ok((self.forward_batch(x, ctx)?, None));
        }
        let bias = self.bias.as_ref().map(|bias| bias.values(ctx));
        Ok(match self.active(ctx) {
            Some(lora) => {
                let (y, h) = lora.forward(x, bias)?;
                (y, Some(h))
            }
            None => (linear(x, self.multiplier(ctx), bias, None, self.precision, self.y_dtype)?, None),
        })
    }

    /// The same for rows with different adapters: one matmul with the weights of the checkpoint, and to the rows of each
    /// adapter what is its own.
    fn forward_batch(&self, x: &Tensor, ctx: ForwardContext) -> Result<Tensor> {
        let product = linear(x, self.of_checkpoint(ctx), None, None, self.precision, DType::F32)?;
        let mut parts = Vec::with_capacity(ctx.batch.len());
        let mut first = 0;
        for part in ctx.batch {
            let own = ctx.alone(part);
            let (x, product) = (x.narrow(0, first, part.rows)?, product.narrow(0, first, part.rows)?);
            first += part.rows;
            let bias = self.bias.as_ref().map(|bias| bias.values(own));
            parts.push(match self.active(own) {
                _ if self.weight.trained(own).is_some() => self.forward(&x, own)?.0,
                Some(lora) => lora.added_to(&product, &x, bias)?,
                None => in_dtype(bias.map_or(Ok(product.clone()), |bias| product.broadcast_add(bias))?, self.y_dtype)?,
            });
        }
        Tensor::cat(&parts, 0)
    }

    /// Given the input of the forward pass, its h if that was kept, and the gradient dy of its result: adds the gradients of
    /// what trains to `gradients`, and returns dx = dy W, and what comes through an adapter.
    pub fn backward(
        &self,
        x: &Tensor,
        h: Option<&Tensor>,
        dy: &Tensor,
        ctx: ForwardContext,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        if let Some(bias) = &self.bias {
            bias.bias_backward(dy, ctx, gradients)?;
        }
        if let Some(weight) = self.weight.trained(ctx) {
            add_weight_gradient(&gradients.sum(weight)?, dy, x, self.precision)?;
        }
        match self.active(ctx) {
            Some(lora) => lora.backward(x, h, dy, gradients),
            None => linear_backward(dy, self.multiplier(ctx), None, self.precision, self.dx_dtype),
        }
    }

    /// What a pass multiplies with.
    fn multiplier<'a>(&'a self, ctx: ForwardContext<'a>) -> Weight<'a> {
        self.weight.trained(ctx).map_or_else(|| self.of_checkpoint(ctx), |var| Weight::Trained(var))
    }

    fn of_checkpoint<'a>(&'a self, ctx: ForwardContext<'a>) -> Weight<'a> {
        let packed = ctx.decode_weights.and_then(|weights| weights.linear(self.id));
        Weight::of_checkpoint(&self.weight.frozen, packed)
    }

    /// Whether the adapter that is on trains anything here.
    pub fn trains(&self, ctx: ForwardContext) -> bool {
        self.weight.trained(ctx).is_some()
            || self.bias.as_ref().is_some_and(|bias| bias.trained(ctx).is_some())
            || ctx.adapter.is_some_and(|adapter| adapter.get(self.id).is_some())
    }

    fn active<'a>(&'a self, ctx: ForwardContext<'a>) -> Option<ActiveLora<'a>> {
        let adapter = ctx.adapter?;
        let lora = adapter.get(self.id)?;
        let p = adapter.config.as_ref().map_or(0.0, |config| config.lora_dropout as f32);
        let dropout = ctx.dropout.filter(|_| p > 0.0).map(|run| Dropout {
            p,
            seed: run.seed,
            stream: DROPOUT | (run.micro_batch << 16) | self.id as u64,
        });
        let Self { precision, y_dtype, dx_dtype, .. } = *self;
        let (frozen, weight, scaling) = (&self.weight.frozen, self.of_checkpoint(ctx), lora.scaling as f32);
        Some(ActiveLora { lora, scaling, dropout, frozen, weight, precision, y_dtype, dx_dtype })
    }
}
