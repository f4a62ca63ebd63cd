//! AVX512-BF16: VDPBF16PS adds two bf16 products to a lane, on some CPUs at twice the rate of f32. The instruction
//! takes subnormal factors, and makes subnormal sums, zero. f32 is rounded to pairs of bf16 as it is packed.
//!
//! The file stands beside `avx512.rs` and repeats its loads and stores: operands are integer vectors here and float
//! vectors there, which a trait over both would only hide.

use std::arch::x86_64::*;
use std::mem::{MaybeUninit, transmute};
use std::sync::OnceLock;

use bytemuck::Pod;
use half::bf16;

use super::{Job, MAX_LANES, Reads, Simd, avx512};

#[derive(Clone, Copy)]
pub(crate) struct Avx512Bf16(());

impl Avx512Bf16 {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512bf16")).then_some(Avx512Bf16(()))
    }

    /// Whether this CPU multiplies twice as fast in pairs of bf16 as in f32. AMD's do, issuing VDPBF16PS as
    /// often as an f32 multiply-add; Intel's leave speed to AMX, and issue it at most half as often: measured on
    /// Sapphire Rapids, 1.8 against 4.5 or more a nanosecond. A rule, not a measurement: which instructions form a
    /// sum decides its last bits, and runs must be repeatable.
    pub(crate) fn doubles_f32() -> bool {
        static AMD: OnceLock<bool> = OnceLock::new();
        *AMD.get_or_init(|| {
            // Once: a virtual machine leaves to its host what this instruction answers, which takes microseconds.
            let vendor = __cpuid(0);
            [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
        })
    }
}

// Every unsafe block below is sound because its caller is within `run`, and the lengths are checked beside it.
impl Simd for Avx512Bf16 {
    type Lane = u32;
    type Operand = __m512i;
    type Sums = __m512;
    const LANES: usize = 16;
    const ROWS: usize = 12;
    const FEW_ROWS: usize = 4;

    fn run<J: Job<Self>>(self, job: J) {
        #[target_feature(enable = "avx512bw,avx512bf16")]
        fn inner<J: Job<Avx512Bf16>>(job: J) {
            // SAFETY: called by `run`.
            unsafe { job.run() }
        }
        // SAFETY: `self` is the proof that the CPU has these features.
        unsafe { inner(job) }
    }

    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn splat(lane: u32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi32(lane.cast_signed()) }
    }

    #[inline(always)]
    unsafe fn load(from: &[u32]) -> __m512i {
        // SAFETY: see above; sixteen lanes are read out of a slice of sixteen.
        unsafe { _mm512_loadu_si512(from[..16].as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn store(operand: __m512i, to: &mut [u32]) {
        // SAFETY: see above; sixteen lanes are written to a slice of sixteen.
        unsafe { _mm512_storeu_si512(to[..16].as_mut_ptr().cast(), operand) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY: see above; __m512i and __m512bh are both 512 bits of plain data.
        unsafe { _mm512_dpbf16_ps(sums, transmute::<__m512i, __m512bh>(a), transmute::<__m512i, __m512bh>(b)) }
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
    unsafe fn transpose<E>(rows: &[&[E]; MAX_LANES], from: usize, to: &mut [u32], stride: usize)
    where
        E: Pod,
        Self: Reads<E>,
    {
        // SAFETY: see above.
        unsafe {
            // By index: a closure that `map` calls is not compiled into this function, nor for its instructions.
            let mut lanes = [_mm512_setzero_si512(); MAX_LANES];
            for i in 0..MAX_LANES {
                lanes[i] = Self::read(&rows[i][from..]);
            }
            for (p, column) in avx512::transpose(lanes).into_iter().enumerate() {
                Self::store(column, &mut to[p * stride..]);
            }
        }
    }
}

impl Reads<bf16> for Avx512Bf16 {
    #[inline(always)]
    unsafe fn read(from: &[bf16]) -> __m512i {
        // SAFETY: see above; thirty-two bf16, 64 bytes, are read out of a slice of thirty-two.
        unsafe { _mm512_loadu_si512(from[..32].as_ptr().cast()) }
    }

    #[inline(always)]
    unsafe fn stack(a: &[bf16], b: &[bf16]) -> __m512i {
        // SAFETY: see above; sixteen bf16, 32 bytes, are read out of each slice of sixteen.
        unsafe {
            let a = _mm512_castsi256_si512(_mm256_loadu_si256(a[..16].as_ptr().cast()));
            let b = _mm256_loadu_si256(b[..16].as_ptr().cast());
            interleave(_mm512_inserti64x4::<1>(a, b))
        }
    }
}

/// f32 rounded to bf16 as it is read, subnormal ones to zero.
impl Reads<f32> for Avx512Bf16 {
    #[inline(always)]
    unsafe fn read(from: &[f32]) -> __m512i {
        // SAFETY: see above; both slices have sixteen floats.
        unsafe { round(&from[..16], &from[16..32]) }
    }

    #[inline(always)]
    unsafe fn stack(a: &[f32], b: &[f32]) -> __m512i {
        // SAFETY: see above; both slices have sixteen floats.
        unsafe { interleave(round(&a[..16], &b[..16])) }
    }
}

/// Sixteen floats of `a` and sixteen of `b` after them, as bf16.
#[inline(always)]
unsafe fn round(a: &[f32], b: &[f32]) -> __m512i {
    // SAFETY: see above; __m512bh and __m512i are both 512 bits of plain data.
    unsafe {
        let [a, b] = [_mm512_loadu_ps(a[..16].as_ptr()), _mm512_loadu_ps(b[..16].as_ptr())];
        transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(b, a))
    }
}

/// Pairs of the first and the second sixteen of thirty-two bf16.
#[inline(always)]
unsafe fn interleave(halves: __m512i) -> __m512i {
    const PAIRS: [u16; 32] = {
        let mut places = [0; 32];
        let mut i = 0;
        while i < 32 {
            places[i] = (i / 2 + i % 2 * 16) as u16;
            i += 1;
        }
        places
    };
    // SAFETY: see above; 64 bytes are read out of 64.
    unsafe { _mm512_permutexvar_epi16(_mm512_loadu_si512(PAIRS.as_ptr().cast()), halves) }
}
