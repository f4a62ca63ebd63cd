//! Frozen weights, in whatever form they are stored.

use half::bf16;

use crate::bf12::Bf12;
use crate::quantized::{Int8, Nf4};
use crate::source::{Factor, Major};

/// The elements of a row-major matrix of frozen weights, as the checkpoint stores them or as they were quantized.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// 4 bytes an element.
    F32(&'a [f32]),
    /// 2 bytes an element.
    Bf16(&'a [bf16]),
    /// One and a half bytes an element, and the same elements as in bf16.
    Bf12(&'a Bf12),
    /// About half a byte an element.
    Nf4(Nf4<'a>),
    /// 1 byte an element.
    Int8(Int8<'a>),
}

impl Weights<'_> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Weights::F32(w) => w.len(),
            Weights::Bf16(w) => w.len(),
            Weights::Bf12(w) => w.len(),
            Weights::Nf4(w) => w.len(),
            Weights::Int8(w) => w.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A matrix of frozen weights, or its transpose.
#[derive(Clone, Copy, Debug)]
pub struct WeightView<'a> {
    weights: Weights<'a>,
    rows: usize,
    cols: usize,
    /// How the rows in memory lie in a matmul whose right operand this is.
    major: Major,
}

impl<'a> WeightView<'a> {
    /// The row-major matrix, `[out, in]` of a linear layer.
    ///
    /// # Panics
    /// If it does not have as many elements.
    pub fn rows(weights: Weights<'a>, [rows, cols]: [usize; 2]) -> Self {
        assert!(
            rows.checked_mul(cols) == Some(weights.len()),
            "w has {} elements where [{rows}, {cols}] was announced",
            weights.len()
        );
        WeightView { weights, rows, cols, major: Major::MN }
    }

    /// The transpose, of the same elements.
    pub fn t(self) -> Self {
        let major = if self.major == Major::K { Major::MN } else { Major::K };
        WeightView { rows: self.cols, cols: self.rows, major, ..self }
    }

    /// Rows and columns.
    pub fn dims(self) -> [usize; 2] {
        [self.rows, self.cols]
    }

    pub(crate) fn factor(self) -> Factor<Weights<'a>> {
        Factor { source: self.weights, major: self.major }
    }
}
