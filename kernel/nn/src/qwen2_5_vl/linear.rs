//! A linear layer: frozen weights, and what the active adapter adds to them.

use std::sync::Arc;

use candle_core::Result;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::adapter::Adapter;
use crate::adapter::LinearShape;
use crate::adapter::Lora;
use crate::checkpoint::Checkpoint;
use crate::frozen::FrozenMatrix;
use crate::gradients::Gradients;
use crate::ops::Dropout;
use crate::ops::LowRank;
use crate::ops::add;
use crate::ops::add_weight_gradient;
use crate::ops::linear;
use crate::ops::linear_backward;
use crate::ops::lora_down;
use crate::ops::lora_factor_backward;
use crate::quantize::QuantizationBit;

/// How the model is run.
#[derive(Clone, Copy, Default)]
pub struct Pass<'a> {
    /// The adapter that is on; none runs the base model.
    pub adapter: Option<&'a Adapter>,
    /// In training, what dropout masks are drawn from. The same run number gives the same masks, so that a
    /// layer that is rebuilt in the backward pass is the layer of the forward pass.
    pub dropout: Option<DropoutRun>,
}

/// The seed of a training and the number of one of its micro-batches.
#[derive(Clone, Copy, Debug)]
pub struct DropoutRun {
    pub seed: u64,
    pub micro_batch: u64,
}

/// The streams of dropout masks begin here; those below belong to shuffles and to new adapters.
const DROPOUT: u64 = 1 << 63;

/// `y = x Wᵀ + b`, and with an adapter on this layer `+ scaling · (dropout(x) Aᵀ) Bᵀ`.
pub struct Linear {
    /// Index in [`super::Qwen2_5Vl::linears`].
    id: usize,
    weight: FrozenMatrix,
    bias: Option<Arc<[f32]>>,
    precision: Precision,
}

impl Linear {
    pub(super) fn quantize(&mut self, bit: QuantizationBit) {
        self.weight = self.weight.quantized(bit);
    }

    pub(super) fn weight(&self) -> &FrozenMatrix {
        &self.weight
    }

    /// `x` is `[T, in]`, the result `[T, out]`.
    pub fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let Some(lora) = self.active(pass) else {
            return linear(x, &self.weight, self.bias.as_ref(), None, self.precision);
        };
        let h = lora_down(&lora.dropped(x)?, lora.a, lora.scaling, self.precision)?;
        let low_rank = LowRank { h: &h, factor: lora.b };
        linear(x, &self.weight, self.bias.as_ref(), Some(low_rank), self.precision)
    }

    /// Given the input of the forward pass and the gradient dy of its result: adds the gradients of A and B to
    /// `gradients`, and returns dx.
    ///
    /// With h = scaling · dropout(x) Aᵀ and dh = scaling · dy B: dB = dyᵀ h, dA = dhᵀ dropout(x),
    /// dx = dy W + dropout(dh A), the last with the same mask.
    pub fn backward(&self, x: &Tensor, dy: &Tensor, pass: Pass, gradients: &mut Gradients) -> Result<Tensor> {
        let Some(lora) = self.active(pass) else {
            return linear_backward(dy, &self.weight, None, self.precision);
        };
        let dh = lora_factor_backward(dy, lora.b, lora.scaling, self.precision)?;
        {
            let x = lora.dropped(x)?;
            let h = lora_down(&x, lora.a, lora.scaling, self.precision)?;
            add_weight_gradient(&gradients.sum(lora.b)?, dy, &h, self.precision)?;
            add_weight_gradient(&gradients.sum(lora.a)?, &dh, &x, self.precision)?;
        }
        let Some(dropout) = lora.dropout else {
            let low_rank = LowRank { h: &dh, factor: lora.a };
            return linear_backward(dy, &self.weight, Some(low_rank), self.precision);
        };
        let through_adapter = dropout.apply(&lora_factor_backward(&dh, lora.a, 1.0, self.precision)?)?;
        add(&linear_backward(dy, &self.weight, None, self.precision)?, &through_adapter)
    }

    /// What the adapter that is on does here.
    fn active<'a>(&self, pass: Pass<'a>) -> Option<ActiveLora<'a>> {
        let adapter = pass.adapter?;
        let Lora { a, b, .. } = adapter.get(self.id)?;
        let p = adapter.config.lora_dropout as f32;
        let dropout = pass.dropout.filter(|_| p > 0.0).map(|run| Dropout {
            p,
            seed: run.seed,
            stream: DROPOUT | (run.micro_batch << 16) | self.id as u64,
        });
        Some(ActiveLora { a, b, scaling: adapter.scaling() as f32, dropout })
    }
}

/// The low-rank part of one layer in one pass.
struct ActiveLora<'a> {
    a: &'a Tensor,
    b: &'a Tensor,
    scaling: f32,
    dropout: Option<Dropout>,
}

impl ActiveLora<'_> {
    fn dropped(&self, x: &Tensor) -> Result<Tensor> {
        self.dropout.map_or_else(|| Ok(x.clone()), |dropout| dropout.apply(x))
    }
}

/// Takes linear layers out of a checkpoint and keeps the list of them.
pub struct Linears<'a> {
    pub checkpoint: &'a Checkpoint,
    pub precision: Precision,
    pub shapes: Vec<LinearShape>,
}

impl Linears<'_> {
    /// The layer `name`, `[rows, cols]`, with its bias where the architecture has one.
    ///
    /// # Errors
    /// A tensor is missing or of another shape.
    pub fn take(&mut self, name: String, rows: usize, cols: usize, bias: bool) -> crate::Result<Linear> {
        let weight = self.checkpoint.matrix(&format!("{name}.weight"), rows, cols)?;
        let bias = bias.then(|| self.checkpoint.vector(&format!("{name}.bias"), rows)).transpose()?;
        let id = self.shapes.len();
        self.shapes.push(LinearShape { name, rows, cols });
        Ok(Linear { id, weight, bias, precision: self.precision })
    }
}
