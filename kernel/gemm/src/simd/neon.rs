//! NEON, which every aarch64 CPU has: multiplication in f32, bf16 widened as it is read. It was run on an emulated CPU
//! only (`tests/aarch64.sh`); its speed is not known.

// An aarch64 compiler may take intrinsics without pointers for safe, since NEON is always there.
#![allow(unused_unsafe)]

use std::arch::aarch64::*;
use std::mem::MaybeUninit;

use bytemuck::Pod;
use half::bf16;

use super::{Job, MAX_LANES, Reads, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Neon;

impl Simd for Neon {
    type Lane = f32;
    type Operand = float32x4_t;
    type Sums = float32x4_t;
    const LANES: usize = 4;
    const ROWS: usize = 12;
    const FEW_ROWS: usize = 4;

    fn run<J: Job<Self>>(self, job: J) {
        // SAFETY: this is `run`, and NEON is part of aarch64.
        unsafe { job.run() }
    }

    #[inline(always)]
    unsafe fn zero() -> float32x4_t {
        // SAFETY: NEON is part of aarch64.
        unsafe { vdupq_n_f32(0.0) }
    }

    #[inline(always)]
    unsafe fn splat(lane: f32) -> float32x4_t {
        // SAFETY: NEON is part of aarch64.
        unsafe { vdupq_n_f32(lane) }
    }

    #[inline(always)]
    unsafe fn load(from: &[f32]) -> float32x4_t {
        // SAFETY: four floats are read out of a slice of four.
        unsafe { vld1q_f32(from[..4].as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(operand: float32x4_t, to: &mut [f32]) {
        // SAFETY: four floats are written to a slice of four.
        unsafe { vst1q_f32(to[..4].as_mut_ptr(), operand) }
    }

    #[inline(always)]
    unsafe fn dot(sums: float32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: NEON is part of aarch64.
        unsafe { vfmaq_f32(sums, a, b) }
    }

    #[inline(always)]
    unsafe fn store_sums(sums: float32x4_t, to: &mut [MaybeUninit<f32>]) {
        // SAFETY: four floats are written to a slice of four.
        unsafe { vst1q_f32(to[..4].as_mut_ptr().cast(), sums) }
    }

    #[inline(always)]
    unsafe fn total(sums: float32x4_t) -> f32 {
        // SAFETY: NEON is part of aarch64.
        unsafe { vaddvq_f32(sums) }
    }

    #[inline(always)]
    unsafe fn transpose<E>(rows: &[&[E]; MAX_LANES], from: usize, to: &mut [f32], stride: usize)
    where
        E: Pod,
        Self: Reads<E>,
    {
        // SAFETY: NEON is part of aarch64.
        unsafe {
            let [a, b] = [0, 1].map(|i| Self::read(&rows[i][from..]));
            let [c, d] = [2, 3].map(|i| Self::read(&rows[i][from..]));
            // Pairs of lanes of two rows, then pairs of these pairs.
            let pairs = |x, y| [vtrn1q_f32(x, y), vtrn2q_f32(x, y)].map(|pair| vreinterpretq_f64_f32(pair));
            let ([ab_even, ab_odd], [cd_even, cd_odd]) = (pairs(a, b), pairs(c, d));
            let columns = [
                vtrn1q_f64(ab_even, cd_even),
                vtrn1q_f64(ab_odd, cd_odd),
                vtrn2q_f64(ab_even, cd_even),
                vtrn2q_f64(ab_odd, cd_odd),
            ];
            for (p, column) in columns.into_iter().enumerate() {
                Self::store(vreinterpretq_f32_f64(column), &mut to[p * stride..]);
            }
        }
    }
}

impl Reads<f32> for Neon {
    #[inline(always)]
    unsafe fn read(from: &[f32]) -> float32x4_t {
        // SAFETY: the caller is within `run`.
        unsafe { Self::load(from) }
    }

    #[inline(always)]
    unsafe fn stack(a: &[f32], _b: &[f32]) -> float32x4_t {
        // SAFETY: the caller is within `run`.
        unsafe { Self::load(a) }
    }
}

impl Reads<bf16> for Neon {
    #[inline(always)]
    unsafe fn read(from: &[bf16]) -> float32x4_t {
        // SAFETY: four bf16, which have the layout of u16, are read out of a slice of four.
        unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vld1_u16(from[..4].as_ptr().cast())))) }
    }

    #[inline(always)]
    unsafe fn stack(a: &[bf16], _b: &[bf16]) -> float32x4_t {
        // SAFETY: the caller is within `run`.
        unsafe { Self::read(a) }
    }
}
