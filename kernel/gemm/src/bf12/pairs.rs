//! Blocks with AVX512-BF16: fewer instructions for several rows of x than with f32, and half of x's memory. Reading W
//! takes longer than multiplying a few rows, even where a CPU takes its time for these instructions.

use std::arch::x86_64::*;
use std::mem::transmute;

use half::bf16;

use super::avx2::table;
use super::{BLOCK, Block};
use crate::few_rows::{AHEAD, prefetch};

/// Whether the CPU has the instructions of [`dots`].
pub(super) fn are_there() -> bool {
    is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512bf16")
}

/// Where element i of a row of x lies, so that it meets its factor as blocks are decoded: sixteen elements of each half of
/// a block side by side, and these as the interleaving of bytes leaves them.
#[inline(always)]
pub(super) const fn place(i: usize) -> usize {
    let (half, sixteen, four) = (i / 32 % 2, i / 16 % 2, i / 4 % 4);
    i / BLOCK * BLOCK + 32 * sixteen + 16 * half + four / 2 * 4 + four % 2 * 8 + i % 4
}

/// The dot products of a row of blocks and rows of x, whose elements lie at their [`place`]s; each in two sums, so that
/// one need not wait for the other.
#[inline]
#[target_feature(enable = "avx2,avx512bw,avx512bf16")]
pub(super) fn dots<const M: usize>(x: [&[bf16]; M], row: &[Block], top: u8) -> [f32; M] {
    let table = _mm512_broadcast_i64x4(table(top));
    let x: [&[[bf16; BLOCK]]; M] = x.map(|x| &x.as_chunks().0[..row.len()]);
    // By index: closures would not be compiled for the instruction set, and iterators over `totals` would keep it in
    // memory instead of registers.
    let mut totals = [[_mm512_setzero_ps(); 2]; M];
    for b in 0..row.len() {
        let later = std::ptr::from_ref(&row[b]).wrapping_byte_add(AHEAD).cast::<u8>();
        prefetch(later);
        prefetch(later.wrapping_add(64));
        let w = elements(&row[b], table);
        for i in 0..2 {
            for m in 0..M {
                // SAFETY: 32 elements are read out of a slice of 32; all types are 512 bits of plain data.
                unsafe {
                    let x = _mm512_loadu_si512(x[m][b][32 * i..32 * i + 32].as_ptr().cast());
                    let (x, w) = (transmute::<__m512i, __m512bh>(x), transmute::<__m512i, __m512bh>(w[i]));
                    totals[m][i] = _mm512_dpbf16_ps(totals[m][i], x, w);
                }
            }
        }
    }
    let mut dots = [0.0; M];
    for m in 0..M {
        dots[m] = _mm512_reduce_add_ps(_mm512_add_ps(totals[m][0], totals[m][1]));
    }
    dots
}

/// The elements of a block: sixteen of each half a vector.
#[inline]
#[target_feature(enable = "avx2,avx512bw")]
fn elements(block: &Block, table: __m512i) -> [__m512i; 2] {
    // SAFETY: 64 and 32 bytes are read out of arrays of as many.
    let (low, codes) =
        unsafe { (_mm512_loadu_si512(block.low.as_ptr().cast()), _mm256_load_si256(block.codes.as_ptr().cast())) };
    let codes = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(codes), _mm256_srli_epi16::<4>(codes));
    let high = _mm512_shuffle_epi8(table, _mm512_and_si512(codes, _mm512_set1_epi8(15)));
    [_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)]
}
