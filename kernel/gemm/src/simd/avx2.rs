//! AVX2 with FMA: multiplication in f32, bf16 widened as it is read.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use bytemuck::Pod;
use half::bf16;

use super::{Job, MAX_LANES, Reads, Simd};

#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Avx2(()))
    }
}

// Every unsafe block below is sound because its caller is within `run`, and the lengths are checked beside it.
impl Simd for Avx2 {
    type Lane = f32;
    type Operand = __m256;
    type Sums = __m256;
    const LANES: usize = 8;
    const ROWS: usize = 6;
    const FEW_ROWS: usize = 2;

    fn run<J: Job<Self>>(self, job: J) {
        #[target_feature(enable = "avx2,fma")]
        fn inner<J: Job<Avx2>>(job: J) {
            // SAFETY: called by `run`.
            unsafe { job.run() }
        }
        // SAFETY: `self` is the proof that the CPU has these features.
        unsafe { inner(job) }
    }

    #[inline(always)]
    unsafe fn zero() -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat(lane: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(lane) }
    }

    #[inline(always)]
    unsafe fn load(from: &[f32]) -> __m256 {
        // SAFETY: see above; eight floats are read out of a slice of eight.
        unsafe { _mm256_loadu_ps(from[..8].as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(operand: __m256, to: &mut [f32]) {
        // SAFETY: see above; eight floats are written to a slice of eight.
        unsafe { _mm256_storeu_ps(to[..8].as_mut_ptr(), operand) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m256, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(a, b, sums) }
    }

    #[inline(always)]
    unsafe fn store_sums(sums: __m256, to: &mut [MaybeUninit<f32>]) {
        // SAFETY: see above; eight floats are written to a slice of eight.
        unsafe { _mm256_storeu_ps(to[..8].as_mut_ptr().cast(), sums) }
    }

    #[inline(always)]
    unsafe fn total(sums: __m256) -> f32 {
        // SAFETY: see above.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
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
            let mut lanes = [_mm256_setzero_ps(); Self::LANES];
            for i in 0..Self::LANES {
                lanes[i] = Self::read(&rows[i][from..]);
            }
            for (p, column) in transpose(lanes).into_iter().enumerate() {
                Self::store(column, &mut to[p * stride..]);
            }
        }
    }
}

/// The transpose of 8 rows of 8 lanes.
///
/// # Safety
/// The caller is compiled for avx.
#[inline(always)]
unsafe fn transpose(rows: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: by the caller.
    unsafe {
        let zero = _mm256_setzero_ps();
        // Blocks of 4x4 lanes, one in each half: t[4g + c] holds, in half q, lanes 4q + c of rows 4g..4g + 4.
        let mut t = [zero; 8];
        for g in [0, 4] {
            let [a, b, c, d] = [rows[g], rows[g + 1], rows[g + 2], rows[g + 3]];
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            t[g] = _mm256_shuffle_ps::<0b01_00_01_00>(ab_low, cd_low);
            t[g + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(ab_low, cd_low);
            t[g + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, cd_high);
            t[g + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, cd_high);
        }
        // Then the blocks among themselves.
        let mut columns = [zero; 8];
        for c in 0..4 {
            columns[c] = _mm256_permute2f128_ps::<0x20>(t[c], t[4 + c]);
            columns[4 + c] = _mm256_permute2f128_ps::<0x31>(t[c], t[4 + c]);
        }
        columns
    }
}

impl Reads<f32> for Avx2 {
    #[inline(always)]
    unsafe fn read(from: &[f32]) -> __m256 {
        // SAFETY: the caller is within `run`.
        unsafe { Self::load(from) }
    }

    #[inline(always)]
    unsafe fn stack(a: &[f32], _b: &[f32]) -> __m256 {
        // SAFETY: the caller is within `run`.
        unsafe { Self::load(a) }
    }
}

impl Reads<bf16> for Avx2 {
    #[inline(always)]
    unsafe fn read(from: &[bf16]) -> __m256 {
        // SAFETY: see above; eight bf16, 16 bytes, are read out of a slice of eight.
        unsafe {
            let narrow = _mm_loadu_si128(from[..8].as_ptr().cast());
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(narrow)))
        }
    }

    #[inline(always)]
    unsafe fn stack(a: &[bf16], _b: &[bf16]) -> __m256 {
        // SAFETY: the caller is within `run`.
        unsafe { Self::read(a) }
    }
}
