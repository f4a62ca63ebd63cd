//! AVX-512: multiplication in f32, bf16 widened as it is read.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use bytemuck::Pod;
use half::bf16;

use super::{Job, MAX_LANES, Reads, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(crate) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Avx512(()))
    }
}

// Every unsafe block below is sound because its caller is within `run`, and the lengths are checked beside it.
impl Simd for Avx512 {
    type Lane = f32;
    type Operand = __m512;
    type Sums = __m512;
    const LANES: usize = 16;
    const ROWS: usize = 12;
    const FEW_ROWS: usize = 4;

    fn run<J: Job<Self>>(self, job: J) {
        #[target_feature(enable = "avx512f")]
        fn inner<J: Job<Avx512>>(job: J) {
            // SAFETY: called by `run`.
            unsafe { job.run() }
        }
        // SAFETY: `self` is the proof that the CPU has the feature.
        unsafe { inner(job) }
    }

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat(lane: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(lane) }
    }

    #[inline(always)]
    unsafe fn load(from: &[f32]) -> __m512 {
        // SAFETY: see above; sixteen floats are read out of a slice of sixteen.
        unsafe { _mm512_loadu_ps(from[..16].as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(operand: __m512, to: &mut [f32]) {
        // SAFETY: see above; sixteen floats are written to a slice of sixteen.
        unsafe { _mm512_storeu_ps(to[..16].as_mut_ptr(), operand) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, sums) }
    }

    #[inline(always)]
    unsafe fn store_sums(sums: __m512, to: &mut [MaybeUninit<f32>]) {
        // SAFETY: see above; sixteen floats are written to a slice of sixteen.
        unsafe { _mm512_storeu_ps(to[..16].as_mut_ptr().cast(), sums) }
    }

    #[inline(always)]
    unsafe fn total(sums: __m512) -> f32 {
        // SAFETY: see above.
        unsafe { _mm512_reduce_add_ps(sums) }
    }

    #[inline(always)]
    unsafe fn transpose<E>(rows: &[&[E]; MAX_LANES], from: usize, to: &mut [f32], stride: usize)
    where
        E: Pod,
        Self: Reads<E>,
    {
        // SAFETY: see above.
        unsafe {
            // By index: a closure that `map` calls is not compiled into this function, nor for its instructions.
            let mut lanes = [_mm512_setzero_si512(); MAX_LANES];
            for i in 0..MAX_LANES {
                lanes[i] = _mm512_castps_si512(Self::read(&rows[i][from..]));
            }
            for (p, column) in transpose(lanes).into_iter().enumerate() {
                Self::store(_mm512_castsi512_ps(column), &mut to[p * stride..]);
            }
        }
    }
}

impl Reads<f32> for Avx512 {
    #[inline(always)]
    unsafe fn read(from: &[f32]) -> __m512 {
        // SAFETY: the caller is within `run`.
        unsafe { Self::load(from) }
    }

    #[inline(always)]
    unsafe fn read_fewer(from: &[f32]) -> __m512 {
        let there = u16::MAX >> Self::LANES.saturating_sub(from.len());
        // SAFETY: see above; the mask confines the read to the slice.
        unsafe { _mm512_maskz_loadu_ps(there, from.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn stack(a: &[f32], _b: &[f32]) -> __m512 {
        // SAFETY: the caller is within `run`.
        unsafe { Self::load(a) }
    }
}

impl Reads<bf16> for Avx512 {
    #[inline(always)]
    unsafe fn read(from: &[bf16]) -> __m512 {
        // SAFETY: see above; sixteen bf16, 32 bytes, are read out of a slice of sixteen.
        unsafe {
            let narrow = _mm256_loadu_si256(from[..16].as_ptr().cast());
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(narrow)))
        }
    }

    #[inline(always)]
    unsafe fn stack(a: &[bf16], _b: &[bf16]) -> __m512 {
        // SAFETY: the caller is within `run`.
        unsafe { Self::read(a) }
    }
}

/// The transpose of 16 rows of 16 lanes.
///
/// # Safety
/// The caller is compiled for avx512f.
#[inline(always)]
pub(crate) unsafe fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
    // SAFETY: by the caller.
    unsafe {
        let zero = _mm512_setzero_si512();
        // Blocks of 4x4 lanes, one in each 128-bit part: t[4g + c] holds, in part q, lanes 4q + c of rows 4g..4g + 4.
        let mut t = [zero; 16];
        for g in (0..16).step_by(4) {
            let [a, b, c, d] = [rows[g], rows[g + 1], rows[g + 2], rows[g + 3]];
            let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            t[g] = _mm512_unpacklo_epi64(ab_low, cd_low);
            t[g + 1] = _mm512_unpackhi_epi64(ab_low, cd_low);
            t[g + 2] = _mm512_unpacklo_epi64(ab_high, cd_high);
            t[g + 3] = _mm512_unpackhi_epi64(ab_high, cd_high);
        }
        // Then the 4x4 blocks among themselves: column 4q + c gathers part q of t[c], t[4 + c], t[8 + c], t[12 + c].
        let mut columns = [zero; 16];
        for c in 0..4 {
            let even_low = _mm512_shuffle_i32x4::<0x88>(t[c], t[4 + c]);
            let odd_low = _mm512_shuffle_i32x4::<0xdd>(t[c], t[4 + c]);
            let even_high = _mm512_shuffle_i32x4::<0x88>(t[8 + c], t[12 + c]);
            let odd_high = _mm512_shuffle_i32x4::<0xdd>(t[8 + c], t[12 + c]);
            columns[c] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
            columns[4 + c] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
            columns[8 + c] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
            columns[12 + c] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
        }
        columns
    }
}
