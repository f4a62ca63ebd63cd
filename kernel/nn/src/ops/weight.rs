//! The weight of a linear layer, as a matmul reads it.

use candle_core::{Device, Result, Tensor};
use tunebook_gemm::{Bf12, Precision, WeightView, Weights};

use super::buffer::{borrow, matrix};
use super::on_device::operand_dtype;
use crate::frozen::FrozenMatrix;

/// A weight `[out, in]`: of the checkpoint, or a copy that is trained.
#[derive(Clone, Copy)]
pub enum Weight<'a> {
    Frozen(&'a FrozenMatrix),
    /// One of the checkpoint, whose elements are read out of `packed`.
    Packed {
        frozen: &'a FrozenMatrix,
        packed: &'a Bf12,
    },
    Trained(&'a Tensor),
}

impl<'a> From<&'a FrozenMatrix> for Weight<'a> {
    fn from(matrix: &'a FrozenMatrix) -> Self {
        Self::Frozen(matrix)
    }
}

impl<'a> Weight<'a> {
    /// One of the checkpoint; its elements are those in 12 bits, if it has them so.
    pub(crate) fn of_checkpoint(frozen: &'a FrozenMatrix, packed: Option<&'a Bf12>) -> Self {
        packed.map_or(Self::Frozen(frozen), |packed| Self::Packed { frozen, packed })
    }

    /// Output and input features.
    pub(super) fn shape(self, op: &'static str) -> Result<(usize, usize)> {
        match self {
            Self::Frozen(weight) | Self::Packed { frozen: weight, .. } => Ok((weight.rows, weight.cols)),
            Self::Trained(weight) => matrix(op, "weight", weight),
        }
    }

    /// The elements on a device, rounded as a matmul of this precision reads them.
    pub(super) fn tensor(self, device: &Device, precision: Precision) -> Result<Tensor> {
        let dtype = operand_dtype(precision);
        match self {
            Self::Frozen(weight) | Self::Packed { frozen: weight, .. } => weight.tensor(device, dtype),
            Self::Trained(weight) => weight.to_dtype(dtype),
        }
    }

    /// Runs `f` with the matrix, `[out, in]`, in CPU memory.
    pub(super) fn read<R>(self, op: &'static str, f: impl FnOnce(WeightView<'_>) -> Result<R>) -> Result<R> {
        let (outputs, inputs) = self.shape(op)?;
        let view = |weights| WeightView::rows(weights, [outputs, inputs]);
        match self {
            Self::Frozen(weight) => f(view(weight.weights())),
            Self::Packed { packed, .. } => f(view(Weights::Bf12(packed))),
            Self::Trained(weight) => f(view(Weights::F32(&borrow(op, "weight", weight)?))),
        }
    }
}
