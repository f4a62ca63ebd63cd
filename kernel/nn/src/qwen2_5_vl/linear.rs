//! A linear layer: frozen weights, and what the active adapter adds to them.

use std::sync::Arc;

use candle_core::Result;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::adapter::Adapter;
use crate::adapter::LinearShape;
use crate::checkpoint::Checkpoint;
use crate::frozen::FrozenMatrix;
use crate::ops::Dropout;
use crate::ops::frozen_linear;
use crate::ops::lora_linear;

/// How the model is run: with which adapter, and whether a graph is recorded for a backward pass.
#[derive(Clone, Copy, Default)]
pub struct Pass<'a> {
    /// The adapter that is on; none runs the base model.
    pub adapter: Option<&'a Adapter>,
    /// Record a graph to the adapter's tensors.
    pub record: bool,
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
    /// `x` is `[T, in]`, the result `[T, out]`.
    pub fn forward(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        let Some((adapter, lora)) = pass.adapter.and_then(|adapter| Some((adapter, adapter.get(self.id)?))) else {
            return frozen_linear(x, &self.weight, self.bias.as_ref(), self.precision);
        };
        let (a, b) = if pass.record {
            (lora.a.as_tensor().clone(), lora.b.as_tensor().clone())
        } else {
            (lora.a.as_detached_tensor(), lora.b.as_detached_tensor())
        };
        let p = adapter.config.lora_dropout as f32;
        let dropout = pass.dropout.filter(|_| p > 0.0).map(|run| Dropout {
            p,
            seed: run.seed,
            stream: DROPOUT | (run.micro_batch << 16) | self.id as u64,
        });
        lora_linear(x, &self.weight, self.bias.as_ref(), &a, &b, adapter.scaling() as f32, dropout, self.precision)
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
