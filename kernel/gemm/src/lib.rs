//! Matrix kernels on the CPU, slices in and slices out: the products of activations with frozen f32, bf16, packed or
//! quantized weights ([`matmul_nt`], [`matmul_nn`]), and strided products for attention and low-rank adapters ([`gemm`]). Weights are read where the checkpoint maps them and are never converted whole. This crate is
//! not a tensor library and knows none: it has no shapes beyond m, n, k, keeps nothing between calls but
//! scratch buffers, and records nothing for a backward pass.
//!
//! Work is spread over the global rayon pool. How many threads it has changes no bit of a result; the kind of CPU
//! and the number of rows do, within the rounding of f32 sums.

#[cfg(target_arch = "x86_64")]
mod amx;
mod bf12;
mod blocked;
mod dispatch;
mod few_rows;
mod general;
mod output;
mod pack;
mod product;
mod quantized;
mod scratch;
mod simd;
mod source;
#[cfg(test)]
mod tests;
mod view;

use std::mem::MaybeUninit;

use half::bf16;

pub use bf12::Bf12;
use dispatch::Cpu;
pub use general::gemm;
use product::{Dims, MakeH, Product};
pub use quantized::{DYNAMIC_VALUES, Int8, NF4_BLOCK, NF4_GROUP, NF4_VALUES, Nf4};
pub use source::round;
use source::{Contract, Stored};
pub use view::{View, ViewMut};

/// The elements of activations or their gradients.
#[derive(Clone, Copy, Debug)]
pub enum Activations<'a> {
    /// As they were computed.
    F32(&'a [f32]),
    /// Rounded, as products of bf16 read them.
    Bf16(&'a [bf16]),
}

impl Activations<'_> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Activations::F32(x) => x.len(),
            Activations::Bf16(x) => x.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where the results of a product are written.
#[derive(Debug)]
pub enum Results<'a> {
    /// As they are summed.
    F32(&'a mut [MaybeUninit<f32>]),
    /// Rounded once, to nearest with ties to even.
    Bf16(&'a mut [MaybeUninit<bf16>]),
}

impl Results<'_> {
    /// The number of results.
    pub fn len(&self) -> usize {
        match self {
            Results::F32(y) => y.len(),
            Results::Bf16(y) => y.len(),
        }
    }

    /// Whether there are no results.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A row-major matrix of frozen weights, as the checkpoint stores it or as it was quantized.
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

/// What makes the h of a [`LowRank`] out of the product's own x, and the other factor: a LoRA pair, or the pair the other
/// way round in the backward pass.
#[derive(Clone, Copy, Debug)]
pub struct Lora<'a> {
    /// Of `h = scaling · x downᵀ`, `[rank, k]`, in [`lora_nt`]; of `h = scaling · dy down`, `[n, rank]`, in [`lora_nn`].
    pub down: &'a [f32],
    /// The b of a [`LowRank`].
    pub up: &'a [f32],
    /// The width of h.
    pub rank: usize,
    /// The factor of h.
    pub scaling: f32,
}

/// `y = x Wᵀ + bias + h bᵀ`: the forward pass of a linear layer. x: `[m, k]`, w: `[n, k]`, y: `[m, n]`. All of y is
/// written, and none of it read before.
///
/// # Panics
/// If a slice's length is not the product of its dimensions.
pub fn matmul_nt(
    x: Activations<'_>,
    w: Weights<'_>,
    plus: Plus<'_>,
    y: Results<'_>,
    [m, n, k]: [usize; 3],
    precision: Precision,
) {
    check(x.len(), [m, k], "x");
    check(w.len(), [n, k], "w");
    check(y.len(), [m, n], "y");
    plus.check(m, n, |rank| [n, rank]);
    multiply(Cpu::detect(), x, w, Contract::RowElements, plus, y, [m, n, k], precision);
}

/// `dx = dy W + bias + h b`: a linear layer's gradient with respect to its input. dy: `[m, n]`, w: `[n, k]`, dx:
/// `[m, k]`. All of dx is written, and none of it read before.
///
/// # Panics
/// If a slice's length is not the product of its dimensions.
pub fn matmul_nn(
    dy: Activations<'_>,
    w: Weights<'_>,
    plus: Plus<'_>,
    dx: Results<'_>,
    [m, n, k]: [usize; 3],
    precision: Precision,
) {
    check(dy.len(), [m, n], "dy");
    check(w.len(), [n, k], "w");
    check(dx.len(), [m, k], "dx");
    plus.check(m, k, |rank| [rank, k]);
    multiply(Cpu::detect(), dy, w, Contract::Rows, plus, dx, [m, k, n], precision);
}

/// `h = scaling · x downᵀ` and `y = x Wᵀ + bias + h upᵀ`: as [`matmul_nt`], with both products of a LoRA pair, for which
/// x is packed once. h: `[m, rank]`, all of it written.
///
/// # Panics
/// If a slice's length is not the product of its dimensions.
#[expect(clippy::too_many_arguments, reason = "the operands of three products")]
pub fn lora_nt(
    x: Activations<'_>,
    w: Weights<'_>,
    bias: Option<&[f32]>,
    lora: Lora<'_>,
    h: &mut [f32],
    y: Results<'_>,
    [m, n, k]: [usize; 3],
    precision: Precision,
) {
    check(x.len(), [m, k], "x");
    check(w.len(), [n, k], "w");
    check(y.len(), [m, n], "y");
    Plus { bias, low_rank: None }.check(m, n, |rank| [n, rank]);
    lora.check([k, n], h.len(), m);
    multiply_lora(Cpu::detect(), x, w, Contract::RowElements, bias, lora, h, y, [m, n, k], precision);
}

/// `dh = scaling · dy down` and `dx = dy W + dh up`: as [`matmul_nn`], with both products of a LoRA pair, for which dy is
/// packed once. dh: `[m, rank]`, all of it written.
///
/// # Panics
/// If a slice's length is not the product of its dimensions.
pub fn lora_nn(
    dy: Activations<'_>,
    w: Weights<'_>,
    lora: Lora<'_>,
    dh: &mut [f32],
    dx: Results<'_>,
    [m, n, k]: [usize; 3],
    precision: Precision,
) {
    check(dy.len(), [m, n], "dy");
    check(w.len(), [n, k], "w");
    check(dx.len(), [m, k], "dx");
    lora.check([n, k], dh.len(), m);
    multiply_lora(Cpu::detect(), dy, w, Contract::Rows, None, lora, dh, dx, [m, k, n], precision);
}

impl Lora<'_> {
    fn check(&self, [depth, width]: [usize; 2], h: usize, rows: usize) {
        check(self.down.len(), [self.rank, depth], "down");
        check(self.up.len(), [self.rank, width], "up");
        check(h, [rows, self.rank], "h");
    }
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
}

/// `y = x w + bias + h b` on `cpu`; y is `[rows, width]`, the contraction `depth` long.
#[expect(clippy::too_many_arguments, reason = "one call site, and the tests")]
fn multiply(
    cpu: Cpu,
    x: Activations<'_>,
    w: Weights<'_>,
    contract: Contract,
    plus: Plus<'_>,
    y: Results<'_>,
    [rows, width, depth]: [usize; 3],
    precision: Precision,
) {
    let LowRank { h, b, rank } = plus.low_rank.unwrap_or(LowRank { h: &[], b: &[], rank: 0 });
    let h = Stored { data: h, stride: rank };
    let product = Product { h, ..Product::of_rows(x, y, plus.bias, Dims { rows, width, depth, rank }, precision) };
    product.with(w, contract, Stored { data: b, stride: contract.stride(rank, width) }, cpu);
}

/// `h = scaling · x down` and `y = x w + bias + h up` on `cpu`; y is `[rows, width]`, the contraction `depth` long.
#[expect(clippy::too_many_arguments, reason = "two call sites, and the tests")]
fn multiply_lora(
    cpu: Cpu,
    x: Activations<'_>,
    w: Weights<'_>,
    contract: Contract,
    bias: Option<&[f32]>,
    Lora { down, up, rank, scaling }: Lora<'_>,
    h: &mut [f32],
    y: Results<'_>,
    [rows, width, depth]: [usize; 3],
    precision: Precision,
) {
    let down = Stored { data: down, stride: contract.stride(depth, rank) };
    let make_h = Some(MakeH { down, scale: scaling, h });
    let product = Product { make_h, ..Product::of_rows(x, y, bias, Dims { rows, width, depth, rank }, precision) };
    product.with(w, contract, Stored { data: up, stride: contract.stride(rank, width) }, cpu);
}

fn check(len: usize, dims: [usize; 2], name: &str) {
    let [rows, cols] = dims;
    assert!(rows.checked_mul(cols) == Some(len), "{name} has {len} elements where [{rows}, {cols}] was announced");
}
