//! Matrix kernels on the CPU, slices in and slices out: matmuls of activations with frozen f32, bf16, packed or
//! quantized weights ([`Matmul`]), and strided matmuls for attention and low-rank adapters ([`Gemm`]). Weights are read
//! where the checkpoint maps them and are never converted whole. Sizes and strides ride in the views of the operands
//! ([`View`], [`WeightView`], [`ViewMut`]). This crate is not a tensor library and knows none: it keeps nothing between
//! calls but scratch buffers, and records nothing for a backward pass.
//!
//! Work is spread over the global rayon pool. The number of its threads changes no bit of a result; the kind of CPU
//! and the number of rows do, within the rounding of f32 sums.
//!
//! # The way of a matmul
//!
//! `dispatch` chooses an instruction set (`cpu`), a source that reads the weights as they are stored (`source`,
//! `decoding`) and one of three loops: `amx` by tile registers, `few_rows` for decoding, `blocked` for all else.

#[cfg(target_arch = "x86_64")]
mod amx;
mod bf12;
mod blocked;
mod cpu;
mod decoding;
mod dispatch;
mod epilogue;
mod few_rows;
mod general;
mod matmul;
mod output;
mod pack;
mod precision;
mod product;
mod quantized;
mod scratch;
mod simd;
mod source;
#[cfg(test)]
mod tests;
mod view;
mod weights;

pub use bf12::Bf12;
pub use cpu::instruction_set;
pub use general::{Accum, Gemm, Par};
pub use matmul::{LowRank, Matmul};
pub use output::OutputMut;
pub use precision::Precision;
pub use quantized::{DYNAMIC_VALUES, Int8, NF4_BLOCK, NF4_GROUP, NF4_VALUES, Nf4};
pub use source::round;
pub use view::{Activations, View, ViewMut};
pub use weights::{WeightView, Weights};
