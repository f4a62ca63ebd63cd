//! Matrix kernels on the CPU, slices in and slices out: the products of f32 activations with frozen f32 or
//! bf16 weights ([`matmul_nt`], [`matmul_nn`]), and strided f32 products for attention and low-rank adapters
//! ([`sgemm`]). Weights are read where the checkpoint maps them and are never converted whole. This crate is
//! not a tensor library and knows none: it has no shapes beyond m, n, k, keeps nothing between calls but
//! scratch buffers, and records nothing for a backward pass.
//!
//! Work is spread over the global rayon pool. How many threads it has changes no bit of a result; the kind of CPU
//! and the number of rows do, within the rounding of f32 sums.

mod blocked;
mod dispatch;
mod few_rows;
mod output;
mod pack;
mod scratch;
mod sgemm;
mod simd;
mod source;
#[cfg(test)]
mod tests;

use half::bf16;

use blocked::{Contract, Dims};
use dispatch::{Cpu, Product};
pub use sgemm::{View, ViewMut, sgemm};

/// A row-major matrix of frozen weights, as the checkpoint stores it.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// 4 bytes an element.
    F32(&'a [f32]),
    /// 2 bytes an element.
    Bf16(&'a [bf16]),
}

impl Weights<'_> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Weights::F32(w) => w.len(),
            Weights::Bf16(w) => w.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How products are formed. Sums are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Weights are widened exactly, products are f32.
    F32,
    /// Both operands are rounded to bf16 (to nearest, ties to even), as oneDNN's bf16 matmul does.
    /// Subnormal numbers may count as 0.
    Bf16,
}

/// `y = x Wᵀ`: the forward pass of a linear layer. x: `[m, k]`, w: `[n, k]`, y: `[m, n]` (overwritten).
///
/// # Panics
/// If a slice's length is not the product of its dimensions.
pub fn matmul_nt(x: &[f32], w: Weights<'_>, y: &mut [f32], m: usize, n: usize, k: usize, precision: Precision) {
    check(x.len(), [m, k], "x");
    check(w.len(), [n, k], "w");
    check(y.len(), [m, n], "y");
    let dims = Dims { rows: m, width: n, depth: k };
    Product { x, contract: Contract::RowElements, y, dims, precision }.with(w, Cpu::detect());
}

/// `dx = dy W`: a linear layer's gradient with respect to its input. dy: `[m, n]`, w: `[n, k]`, dx: `[m, k]`
/// (overwritten).
///
/// # Panics
/// If a slice's length is not the product of its dimensions.
pub fn matmul_nn(dy: &[f32], w: Weights<'_>, dx: &mut [f32], m: usize, n: usize, k: usize, precision: Precision) {
    check(dy.len(), [m, n], "dy");
    check(w.len(), [n, k], "w");
    check(dx.len(), [m, k], "dx");
    let dims = Dims { rows: m, width: k, depth: n };
    Product { x: dy, contract: Contract::Rows, y: dx, dims, precision }.with(w, Cpu::detect());
}

fn check(len: usize, dims: [usize; 2], name: &str) {
    let [rows, cols] = dims;
    assert!(rows.checked_mul(cols) == Some(len), "{name} has {len} elements where [{rows}, {cols}] was announced");
}
