//! No particular instruction set: four lanes, which compilers map to what there is.

use std::mem::MaybeUninit;

use bytemuck::Pod;
use half::bf16;

use super::{Job, MAX_LANES, Reads, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Portable;

// Products and sums are rounded separately: without an instruction for it, `mul_add` is a slow library call.
impl Simd for Portable {
    type Lane = f32;
    type Operand = [f32; 4];
    type Sums = [f32; 4];
    const LANES: usize = 4;
    const ROWS: usize = 4;
    const FEW_ROWS: usize = 2;

    fn run<J: Job<Self>>(self, job: J) {
        // SAFETY: this is `run`, and every CPU can do what is below.
        unsafe { job.run() }
    }

    #[inline(always)]
    unsafe fn zero() -> [f32; 4] {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn splat(lane: f32) -> [f32; 4] {
        [lane; 4]
    }

    #[inline(always)]
    unsafe fn load(from: &[f32]) -> [f32; 4] {
        [from[0], from[1], from[2], from[3]]
    }

    #[inline(always)]
    unsafe fn store(operand: [f32; 4], to: &mut [f32]) {
        to[..4].copy_from_slice(&operand);
    }

    #[inline(always)]
    unsafe fn dot(sums: [f32; 4], a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| sums[i] + a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn store_sums(sums: [f32; 4], to: &mut [MaybeUninit<f32>]) {
        to[..4].write_copy_of_slice(&sums);
    }

    #[inline(always)]
    unsafe fn total(sums: [f32; 4]) -> f32 {
        (sums[0] + sums[1]) + (sums[2] + sums[3])
    }

    #[inline(always)]
    unsafe fn transpose<E>(rows: &[&[E]; MAX_LANES], from: usize, to: &mut [f32], stride: usize)
    where
        E: Pod,
        Self: Reads<E>,
    {
        // SAFETY: the caller is within `run`.
        let lanes: [_; 4] = std::array::from_fn(|i| unsafe { Self::read(&rows[i][from..]) });
        for (p, to) in to.chunks_mut(stride).take(4).enumerate() {
            to[..4].copy_from_slice(&lanes.map(|row| row[p]));
        }
    }
}

impl Reads<f32> for Portable {
    #[inline(always)]
    unsafe fn read(from: &[f32]) -> [f32; 4] {
        [from[0], from[1], from[2], from[3]]
    }

    #[inline(always)]
    unsafe fn stack(a: &[f32], _b: &[f32]) -> [f32; 4] {
        [a[0], a[1], a[2], a[3]]
    }
}

impl Reads<bf16> for Portable {
    #[inline(always)]
    unsafe fn read(from: &[bf16]) -> [f32; 4] {
        // Not `to_f32`, which branches to keep NaNs quiet.
        [from[0], from[1], from[2], from[3]].map(|w| f32::from_bits(u32::from(w.to_bits()) << 16))
    }

    #[inline(always)]
    unsafe fn stack(a: &[bf16], _b: &[bf16]) -> [f32; 4] {
        // SAFETY: the caller is within `run`.
        unsafe { Self::read(a) }
    }
}
