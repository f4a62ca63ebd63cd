//! What the kernels ask of an instruction set. The loops are written once, over [`Simd`]; each file below
//! gives the few vector operations of one instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::mem::MaybeUninit;

use bytemuck::Pod;
use half::bf16;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Avx512, transpose as transpose_lanes};
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512_bf16::Avx512Bf16;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::Portable;

/// The most [`Simd::LANES`] of any instruction set.
pub(crate) const MAX_LANES: usize = 16;
/// The most elements that one [`Reads::read`] takes.
pub(crate) const MAX_STEP: usize = 2 * MAX_LANES;

/// A 32-bit lane of a packed operand: an f32, or two bf16 that are neighbours along the contraction (a `u32`,
/// the earlier one in the low half).
pub(crate) trait Lane: Pod + Send + Sync {
    /// The elements in a lane.
    const DEPTH: usize;

    /// The lane of up to `DEPTH` activations, absent ones being 0; `rounded` says to round them to bf16.
    fn pack(x: &[f32], rounded: bool) -> Self;
}

impl Lane for f32 {
    const DEPTH: usize = 1;

    #[inline(always)]
    fn pack(x: &[f32], rounded: bool) -> Self {
        if rounded { bf16::from_f32(x[0]).to_f32() } else { x[0] }
    }
}

impl Lane for u32 {
    const DEPTH: usize = 2;

    #[inline(always)]
    fn pack(x: &[f32], _rounded: bool) -> Self {
        let bits = |i: usize| x.get(i).map_or(0, |&x| u32::from(bf16::from_f32(x).to_bits()));
        bits(0) | bits(1) << 16
    }
}

/// Work to be compiled for the instruction set `V`.
pub(crate) trait Job<V> {
    /// Does the work. Implementations are `#[inline(always)]`, as is all that they call.
    ///
    /// # Safety
    /// To be called by [`Simd::run`] only.
    unsafe fn run(self);
}

/// An instruction set. A value is the proof that this CPU has it.
///
/// # Safety
/// All methods but `run` are to be called within `run` only, so that they are compiled for the instruction set
/// and the CPU is known to have it.
pub(crate) trait Simd: Copy + Send + Sync {
    type Lane: Lane;
    /// A vector of factors: `LANES` lanes.
    type Operand: Copy;
    /// A vector of `LANES` f32 sums.
    type Sums: Copy;
    const LANES: usize;
    /// The height of the register tile, at most 12; its width is two vectors.
    const ROWS: usize;
    /// How many rows of x are multiplied with a row of weights at once, in four sums each, when x has few rows; at most 4.
    const FEW_ROWS: usize;

    /// Does `job` with this instruction set.
    fn run<J: Job<Self>>(self, job: J);

    unsafe fn zero() -> Self::Sums;
    /// The same lane throughout.
    unsafe fn splat(lane: Self::Lane) -> Self::Operand;
    /// The first `LANES` of `from`.
    unsafe fn load(from: &[Self::Lane]) -> Self::Operand;
    /// Writes to the first `LANES` of `to`.
    unsafe fn store(operand: Self::Operand, to: &mut [Self::Lane]);
    /// `sums + a b` in every lane; with two elements a lane, both products are added.
    unsafe fn dot(sums: Self::Sums, a: Self::Operand, b: Self::Operand) -> Self::Sums;
    /// Writes to the first `LANES` of `to`.
    unsafe fn store_sums(sums: Self::Sums, to: &mut [MaybeUninit<f32>]);
    /// The sum over the lanes.
    unsafe fn total(sums: Self::Sums) -> f32;

    /// Packs a square: lane p of row i goes to `to[p * stride + i]`, for `LANES` rows, whose lanes are counted
    /// from element `from`.
    unsafe fn transpose<E>(rows: &[&[E]; MAX_LANES], from: usize, to: &mut [Self::Lane], stride: usize)
    where
        E: Pod,
        Self: Reads<E>;
}

/// An instruction set that takes weights of type `E`. The methods fall under [`Simd`]'s contract.
pub(crate) trait Reads<E: Pod>: Simd {
    /// The first `LANES * DEPTH` of `from`, neighbours sharing a lane.
    unsafe fn read(from: &[E]) -> Self::Operand;
    /// The same of fewer elements, the others being 0.
    #[inline(always)]
    unsafe fn read_fewer(from: &[E]) -> Self::Operand {
        let mut filled = [E::zeroed(); MAX_STEP];
        filled[..from.len()].copy_from_slice(from);
        // SAFETY: the caller is within `run`.
        unsafe { Self::read(&filled) }
    }
    /// The first `LANES` of `a`, one a lane; with two elements a lane, those of `b` come second.
    unsafe fn stack(a: &[E], b: &[E]) -> Self::Operand;
}
