//! Matrix kernels on the CPU, slices in and slices out: the products of f32 activations with frozen f32,
//! bf16 or quantized weights ([`matmul_nt`], [`matmul_nn`]), and strided f32 products for attention and low-rank adapters
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
mod quantized;
mod scratch;
mod sgemm;
mod simd;
mod source;
#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

use half::bf16;
use rayon::prelude::*;

use blocked::{Contract, Dims};
use dispatch::{Cpu, Product};
pub use quantized::{DYNAMIC_VALUES, Int8, NF4_BLOCK, NF4_GROUP, NF4_VALUES, Nf4};
pub use sgemm::{View, ViewMut, gemm, sgemm};

/// A row-major matrix of frozen weights, as the checkpoint stores it or as it was quantized.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// 4 bytes an element.
    F32(&'a [f32]),
    /// 2 bytes an element.
    Bf16(&'a [bf16]),
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
            Weights::Nf4(w) => w.len(),
            Weights::Int8(w) => w.len(),
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

/// What is added to a product as it is written: `+ bias`, and `+ h bᵀ` or `+ h b`, which makes LoRA's second product
/// part of the first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plus<'a> {
    /// One a column of the output.
    pub bias: Option<&'a [f32]>,
    /// A product of low rank.
    pub low_rank: Option<LowRank<'a>>,
}

/// A product of low rank; it is formed with the precision of the product that it is added to.
#[derive(Clone, Copy, Debug)]
pub struct LowRank<'a> {
    /// `[m, rank]`.
    pub h: &'a [f32],
    /// `[n, rank]` in [`matmul_nt`], `[rank, k]` in [`matmul_nn`].
    pub b: &'a [f32],
    /// The length of the contraction.
    pub rank: usize,
}

/// `y = x Wᵀ + bias + h bᵀ`: the forward pass of a linear layer. x: `[m, k]`, w: `[n, k]`, y: `[m, n]`. All of y is
/// written, and none of it read before.
///
/// # Panics
/// If a slice's length is not the product of its dimensions.
pub fn matmul_nt(
    x: &[f32],
    w: Weights<'_>,
    plus: Plus<'_>,
    y: &mut [MaybeUninit<f32>],
    [m, n, k]: [usize; 3],
    precision: Precision,
) {
    check(x.len(), [m, k], "x");
    check(w.len(), [n, k], "w");
    check(y.len(), [m, n], "y");
    plus.check(m, n, |rank| [n, rank]);
    let y = zeroed(y);
    let dims = Dims { rows: m, width: n, depth: k };
    Product { x, contract: Contract::RowElements, y, dims, precision }.with(w, Cpu::detect());
    plus.add_to(y, m, n, |b, rank| View::rows(b, [n, rank]).t());
}

/// `dx = dy W + bias + h b`: a linear layer's gradient with respect to its input. dy: `[m, n]`, w: `[n, k]`, dx:
/// `[m, k]`. All of dx is written, and none of it read before.
///
/// # Panics
/// If a slice's length is not the product of its dimensions.
pub fn matmul_nn(
    dy: &[f32],
    w: Weights<'_>,
    plus: Plus<'_>,
    dx: &mut [MaybeUninit<f32>],
    [m, n, k]: [usize; 3],
    precision: Precision,
) {
    check(dy.len(), [m, n], "dy");
    check(w.len(), [n, k], "w");
    check(dx.len(), [m, k], "dx");
    plus.check(m, k, |rank| [rank, k]);
    let dx = zeroed(dx);
    let dims = Dims { rows: m, width: k, depth: n };
    Product { x: dy, contract: Contract::Rows, y: dx, dims, precision }.with(w, Cpu::detect());
    plus.add_to(dx, m, k, |b, rank| View::rows(b, [rank, k]));
}

impl Plus<'_> {
    fn check(&self, rows: usize, width: usize, factor: impl Fn(usize) -> [usize; 2]) {
        if let Some(bias) = self.bias {
            check(bias.len(), [1, width], "bias");
        }
        if let Some(LowRank { h, b, rank }) = self.low_rank {
            check(h.len(), [rows, rank], "h");
            check(b.len(), factor(rank), "b");
        }
    }

    fn add_to<'b>(&'b self, y: &mut [f32], rows: usize, width: usize, view: impl Fn(&'b [f32], usize) -> View<'b>) {
        if let Some(bias) = self.bias.filter(|bias| !bias.is_empty()) {
            y.par_chunks_mut(width).for_each(|y| y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias));
        }
        if let Some(LowRank { h, b, rank }) = self.low_rank {
            sgemm(1.0, View::rows(h, [rows, rank]), view(b, rank), ViewMut::rows(y, [rows, width]), true, true);
        }
    }
}

fn zeroed(y: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    y.fill(MaybeUninit::new(0.0));
    // SAFETY: every element has just been written.
    unsafe { y.assume_init_mut() }
}

fn check(len: usize, dims: [usize; 2], name: &str) {
    let [rows, cols] = dims;
    assert!(rows.checked_mul(cols) == Some(len), "{name} has {len} elements where [{rows}, {cols}] was announced");
}
