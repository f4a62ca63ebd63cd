//! Matrix kernels on the CPU, slices in and slices out: the products of f32 activations with frozen f32 or
//! bf16 weights ([`matmul_nt`], [`matmul_nn`]), and strided f32 products for attention and low-rank adapters
//! ([`sgemm`]). Weights are read where the checkpoint maps them and are never converted whole. This crate is
//! not a tensor library and knows none: it has no shapes beyond m, n, k, keeps nothing between calls but
//! scratch buffers, and records nothing for a backward pass.

mod sgemm;

use half::bf16;
use rayon::prelude::*;

pub use sgemm::{View, ViewMut, sgemm};

/// A row-major matrix of frozen weights, as the checkpoint stores it.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    F32(&'a [f32]),
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

    fn at(&self, i: usize) -> f32 {
        match self {
            Weights::F32(w) => w[i],
            Weights::Bf16(w) => w[i].to_f32(),
        }
    }
}

/// How products are formed. Sums are f32 in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Weights are widened exactly, products are f32.
    F32,
    /// Both operands are rounded to bf16 (to nearest, ties to even), as oneDNN's bf16 matmul does.
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
    if y.is_empty() {
        return;
    }
    y.par_chunks_mut(n).enumerate().for_each(|(i, y)| {
        for (j, y) in y.iter_mut().enumerate() {
            *y = (0..k).map(|p| product(x[i * k + p], w.at(j * k + p), precision)).sum();
        }
    });
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
    if dx.is_empty() {
        return;
    }
    dx.par_chunks_mut(k).enumerate().for_each(|(i, dx)| {
        dx.fill(0.0);
        for r in 0..n {
            for (j, dx) in dx.iter_mut().enumerate() {
                *dx += product(dy[i * n + r], w.at(r * k + j), precision);
            }
        }
    });
}

fn product(a: f32, b: f32, precision: Precision) -> f32 {
    match precision {
        Precision::F32 => a * b,
        Precision::Bf16 => bf16::from_f32(a).to_f32() * bf16::from_f32(b).to_f32(),
    }
}

fn check(len: usize, dims: [usize; 2], name: &str) {
    let [rows, cols] = dims;
    assert!(rows.checked_mul(cols) == Some(len), "{name} has {len} elements where [{rows}, {cols}] was announced");
}
