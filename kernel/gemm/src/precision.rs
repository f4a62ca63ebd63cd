//! The precision of a matmul.

/// How the terms of a matmul are formed. Sums are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Weights are widened exactly and multiplied in f32.
    F32,
    /// Both operands are rounded to bf16 (to nearest, ties to even), as oneDNN's bf16 matmul does.
    /// Subnormal numbers may count as 0.
    Bf16,
}
