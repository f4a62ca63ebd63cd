//! NF4 with AVX-512: the sixteen values of a block are a register, and a permutation looks codes up in it.

use std::arch::x86_64::*;

use half::bf16;

use super::{NF4_BLOCK, NF4_VALUES, Nf4, parts};
use crate::decoding::Decoded;

/// What NF4 is decoded to.
pub(super) trait Nf4Element: Decoded {
    /// `out[i] = value(codes[i]) · absmax`, with two codes a byte.
    ///
    /// # Safety
    /// The CPU has avx512f, avx512bw and avx512vl.
    unsafe fn decode_avx512(codes: &[u8], absmax: f32, out: &mut [Self]);
}

impl Nf4Element for f32 {
    #[inline(always)]
    unsafe fn decode_avx512(codes: &[u8], absmax: f32, out: &mut [f32]) {
        // SAFETY: by the caller.
        unsafe { nf4_f32(codes, absmax, out) }
    }
}

impl Nf4Element for bf16 {
    #[inline(always)]
    unsafe fn decode_avx512(codes: &[u8], absmax: f32, out: &mut [bf16]) {
        // SAFETY: by the caller.
        unsafe { nf4_bf16(codes, absmax, out) }
    }
}

/// Whether this CPU can do what is below.
#[inline(always)]
pub(super) fn is_there() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl")
}

/// Reads the elements of `w` from `start`, which is even, into `out`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn decode<E: Nf4Element>(w: &Nf4<'_>, start: usize, out: &mut [E]) {
    for (block, part) in parts(start, out.len(), NF4_BLOCK) {
        let codes = &w.codes[(start + part.start) / 2..(start + part.end).div_ceil(2)];
        // SAFETY: this function is compiled for the same features.
        unsafe { E::decode_avx512(codes, w.absmax(block), &mut out[part]) };
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn nf4_f32(codes: &[u8], absmax: f32, out: &mut [f32]) {
    let table = _mm512_mul_ps(values(), _mm512_set1_ps(absmax));
    for (codes, out) in codes.chunks(8).zip(out.chunks_mut(16)) {
        let bytes = _mm512_cvtepu8_epi64(load(codes));
        // Of each index, only the low four bits count.
        let indices = _mm512_or_si512(_mm512_srli_epi64::<4>(bytes), _mm512_slli_epi64::<32>(bytes));
        let found = _mm512_permutexvar_ps(indices, table);
        // SAFETY: the mask keeps to the length of `out`.
        unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), (u16::MAX) >> (16 - out.len()), found) };
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn nf4_bf16(codes: &[u8], absmax: f32, out: &mut [bf16]) {
    let bits = _mm512_castps_si512(_mm512_mul_ps(values(), _mm512_set1_ps(absmax)));
    // To nearest, ties to even.
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    let table = _mm512_broadcast_i64x4(_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded)));
    for (codes, out) in codes.chunks(16).zip(out.chunks_mut(32)) {
        let bytes = _mm512_cvtepu8_epi32(load(codes));
        // Of each index, the low five bits count, and the table is there twice.
        let indices = _mm512_or_si512(_mm512_srli_epi32::<4>(bytes), _mm512_slli_epi32::<16>(bytes));
        let found = _mm512_permutexvar_epi16(indices, table);
        // SAFETY: the mask keeps to the length of `out`, and a bf16 is laid out as its 16 bits.
        unsafe { _mm512_mask_storeu_epi16(out.as_mut_ptr().cast(), u32::MAX >> (32 - out.len()), found) };
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn values() -> __m512 {
    // SAFETY: there are sixteen of them.
    unsafe { _mm512_loadu_ps(NF4_VALUES.as_ptr()) }
}

/// Up to 16 bytes, and zeros for the rest.
#[inline]
#[target_feature(enable = "avx512bw,avx512vl")]
fn load(codes: &[u8]) -> __m128i {
    // SAFETY: the mask keeps to the length of `codes`.
    unsafe { _mm_maskz_loadu_epi8(u16::MAX >> (16 - codes.len()), codes.as_ptr().cast()) }
}
