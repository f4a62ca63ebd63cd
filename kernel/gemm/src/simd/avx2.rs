//! AVX2 with FMA: f32 products, bf16 widened as it is read.

use std::arch::x86_64::*;

use half::bf16;

use super::{Job, Reads, Simd};

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
    unsafe fn store_sums(sums: __m256, to: &mut [f32]) {
        // SAFETY: the caller is within `run`.
        unsafe { Self::store(sums, to) }
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
