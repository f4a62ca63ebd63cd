//! Blocks with AVX2: a shuffle of bytes looks codes up.

use std::arch::x86_64::*;

use half::bf16;

use super::{BLOCK, Block, ZERO};
use crate::decoding::Decoded;
use crate::few_rows::{AHEAD, prefetch};

/// What [`Bf12`](super::Bf12) is decoded to.
pub(super) trait Bf12Element: Decoded {
    /// The elements of a block of a row with this top.
    ///
    /// # Safety
    /// The CPU has AVX2.
    unsafe fn decode_avx2(block: &Block, top: u8, out: &mut [Self; BLOCK]);
}

impl Bf12Element for f32 {
    #[inline(always)]
    unsafe fn decode_avx2(block: &Block, top: u8, out: &mut [f32; BLOCK]) {
        // SAFETY: by the caller.
        unsafe { decode_f32(block, top, out) }
    }
}

impl Bf12Element for bf16 {
    #[inline(always)]
    unsafe fn decode_avx2(block: &Block, top: u8, out: &mut [bf16; BLOCK]) {
        // SAFETY: by the caller.
        unsafe { decode_bf16(block, top, out) }
    }
}

/// The dot products of a row of blocks and rows of x, which go on with zeros to its end, each in four sums, so that one
/// need not wait for the other.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn dots<const M: usize>(x: [&[f32]; M], row: &[Block], top: u8) -> [f32; M] {
    let table = table(top);
    let x: [&[[f32; BLOCK]]; M] = x.map(|x| &x.as_chunks().0[..row.len()]);
    // By index: closures would not be compiled for the instruction set, and iterators over `totals` would keep it in
    // memory instead of registers.
    let mut totals = [[_mm256_setzero_ps(); 4]; M];
    for b in 0..row.len() {
        let later = std::ptr::from_ref(&row[b]).wrapping_byte_add(AHEAD).cast::<u8>();
        prefetch(later);
        prefetch(later.wrapping_add(64));
        for half in 0..2 {
            let elements = elements(&row[b], half, table);
            for i in 0..2 {
                let w = widen(elements[i]);
                for j in 0..2 {
                    let place = 32 * half + 16 * i + 8 * j;
                    for m in 0..M {
                        // SAFETY: eight floats are read out of a slice of eight.
                        let x = unsafe { _mm256_loadu_ps(x[m][b][place..place + 8].as_ptr()) };
                        totals[m][2 * i + j] = _mm256_fmadd_ps(x, w[j], totals[m][2 * i + j]);
                    }
                }
            }
        }
    }
    let mut dots = [0.0; M];
    for m in 0..M {
        let totals = totals[m];
        let eight = _mm256_add_ps(_mm256_add_ps(totals[0], totals[1]), _mm256_add_ps(totals[2], totals[3]));
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        dots[m] = _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
    }
    dots
}

#[inline]
#[target_feature(enable = "avx2")]
fn decode_f32(block: &Block, top: u8, out: &mut [f32; BLOCK]) {
    let table = table(top);
    for (half, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (elements, out) in elements(block, half, table).into_iter().zip(out.as_chunks_mut::<16>().0) {
            let [first, second] = widen(elements);
            // SAFETY: sixteen floats are written to an array of sixteen.
            unsafe {
                _mm256_storeu_ps(out.as_mut_ptr(), first);
                _mm256_storeu_ps(out.as_mut_ptr().add(8), second);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn decode_bf16(block: &Block, top: u8, out: &mut [bf16; BLOCK]) {
    let table = table(top);
    for (half, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        for (elements, out) in elements(block, half, table).into_iter().zip(out.as_chunks_mut::<16>().0) {
            let in_order = _mm256_permute4x64_epi64::<0b11_01_10_00>(elements);
            // SAFETY: sixteen elements of 16 bits are written to an array of sixteen.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), in_order) };
        }
    }
}

/// The bits of half a block, 16 elements a vector, as the interleaving leaves them: elements 0 to 3 and 8 to 11, then 4
/// to 7 and 12 to 15.
#[inline]
#[target_feature(enable = "avx2")]
fn elements(block: &Block, half: usize, table: __m256i) -> [__m256i; 2] {
    // SAFETY: 32 bytes are read out of slices that have them, and that are aligned to as many.
    let (low, codes) = unsafe {
        (
            _mm256_load_si256(block.low[32 * half..][..32].as_ptr().cast()),
            _mm256_load_si256(block.codes.as_ptr().cast()),
        )
    };
    let codes = if half == 0 { codes } else { _mm256_srli_epi16::<4>(codes) };
    let high = _mm256_shuffle_epi8(table, _mm256_and_si256(codes, _mm256_set1_epi8(15)));
    [_mm256_unpacklo_epi8(low, high), _mm256_unpackhi_epi8(low, high)]
}

/// Sixteen elements, eight a vector, in order.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(elements: __m256i) -> [__m256; 2] {
    let zero = _mm256_setzero_si256();
    [
        _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, elements)),
        _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, elements)),
    ]
}

/// The high bytes that codes stand for.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn table(top: u8) -> __m256i {
    // No top exceeds 127, so that nothing is left of that of code 7.
    const BELOW: [u8; 16] = {
        let mut below = [255; 16];
        let mut code = 0;
        while code < ZERO as usize {
            (below[code], below[code + 8]) = (code as u8, code as u8);
            code += 1;
        }
        below
    };
    const SIGN: [u8; 16] = {
        let mut sign = [0; 16];
        let mut code = 8;
        while code < 16 {
            sign[code] = 0x80;
            code += 1;
        }
        sign
    };
    // SAFETY: sixteen bytes are read out of arrays of sixteen.
    let (below, sign) = unsafe { (_mm_loadu_si128(BELOW.as_ptr().cast()), _mm_loadu_si128(SIGN.as_ptr().cast())) };
    _mm256_broadcastsi128_si256(_mm_or_si128(_mm_subs_epu8(_mm_set1_epi8(top.cast_signed()), below), sign))
}
