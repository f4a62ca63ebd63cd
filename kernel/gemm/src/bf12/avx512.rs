//! Blocks with AVX-512.
//!
//! Products are formed in f32. The instructions that multiply pairs of bf16 take several cycles on a Xeon of the fourth
//! generation, where this is as fast as reading W from memory up to 8 rows of x.

use std::arch::x86_64::*;

use super::avx2::table;
use super::{BLOCK, Block};
use crate::few_rows::prefetch;

/// Floats of a vector.
pub(super) const LANES: usize = 16;
const CACHE_LINE: usize = 64;

/// Whether the CPU has the instructions of [`dots`].
pub(super) fn is_there() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Puts row `m` of `rows` rows of x, whole blocks, among the others: block by block, and in each row's in the order in
/// which blocks are decoded, eight elements of each half side by side.
pub(super) fn place(x: &[f32], m: usize, rows: usize, to: &mut [f32]) {
    let (x, to) = (x.as_chunks::<BLOCK>().0, to.as_chunks_mut::<BLOCK>().0);
    for (from, to) in x.iter().zip(to.iter_mut().skip(m).step_by(rows)) {
        for (i, vector) in to.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            vector[..8].copy_from_slice(&from[8 * i..][..8]);
            vector[8..].copy_from_slice(&from[32 + 8 * i..][..8]);
        }
    }
}

/// Puts row `m` of `rows` rows of h, whole vectors, among the others: vector by vector.
pub(super) fn place_vectors(h: &[f32], m: usize, rows: usize, to: &mut [f32]) {
    let (h, to) = (h.as_chunks::<LANES>().0, to.as_chunks_mut::<LANES>().0);
    h.iter().zip(to.iter_mut().skip(m).step_by(rows)).for_each(|(from, to)| *to = *from);
}

/// The element that [`place`] has put there.
pub(super) fn placed(x: &[f32], m: usize, rows: usize, column: usize) -> f32 {
    let (block, i) = (column / BLOCK, column % BLOCK);
    x[(block * rows + m) * BLOCK + i % 32 / 8 * LANES + i / 32 * 8 + i % 8]
}

/// A row of a LoRA's B, and whether it is rounded to bf16.
#[derive(Clone, Copy)]
pub(super) struct LowRank<'a> {
    pub(super) b: &'a [f32],
    pub(super) rounded: bool,
}

/// Some blocks of `R` rows of W.
#[derive(Clone, Copy)]
pub(super) struct Part<'a, const R: usize> {
    /// Whole rows, which lie one after the other in memory.
    pub(super) rows: [&'a [Block]; R],
    pub(super) tops: [u8; R],
    pub(super) first: usize,
    pub(super) blocks: usize,
    /// How many blocks ahead those to come are fetched, counted within a row and then within the row that many rows
    /// below.
    pub(super) ahead: usize,
    pub(super) below: usize,
    /// The rows of B, none but with the last blocks.
    pub(super) low_rank: [LowRank<'a>; R],
}

/// The dot products of `M` rows of x, as they are [`place`]d, and `R` rows of W; and of rows of h, `M` vectors after `M`
/// vectors, and `R` rows of B.
#[inline(never)]
#[target_feature(enable = "avx2,avx512f,avx512bw")]
pub(super) fn dots<const M: usize, const R: usize>(x: &[f32], h: &[f32], w: Part<'_, R>) -> [[f32; R]; M] {
    let x: &[[[f32; BLOCK]; M]] = x.as_chunks().0.as_chunks().0;
    let h: &[[[f32; LANES]; M]] = h.as_chunks().0.as_chunks().0;
    let in_a_row = w.rows[0].len();
    let mut tables = [_mm512_setzero_si512(); R];
    for (table_of_row, top) in tables.iter_mut().zip(w.tops) {
        *table_of_row = _mm512_broadcast_i64x4(table(top));
    }
    let goal = w.first + w.ahead;
    let mut column = goal % in_a_row.max(1);
    let mut later = column + goal / in_a_row.max(1) * w.below * in_a_row;
    let mut totals = [[_mm512_setzero_ps(); R]; M];
    // By index: iterators over `totals` would keep it in memory instead of registers.
    for (b, x) in x.iter().enumerate().skip(w.first).take(w.blocks) {
        let mut elements = [[_mm512_setzero_si512(); 2]; R];
        for r in 0..R {
            let later = w.rows[r].as_ptr().wrapping_add(later);
            // A block is a line and a half.
            prefetch(later);
            prefetch(later.cast::<u8>().wrapping_add(CACHE_LINE));
            elements[r] = decoded(&w.rows[r][b], tables[r]);
        }
        (column, later) = (column + 1, later + 1);
        if column == in_a_row {
            (column, later) = (0, later + (w.below - 1) * in_a_row);
        }
        for i in 0..4 {
            let mut wide = [_mm512_setzero_ps(); R];
            for r in 0..R {
                wide[r] = widen(elements[r][i / 2], i % 2);
            }
            for m in 0..M {
                let x = load(&x[m][LANES * i..]);
                for r in 0..R {
                    totals[m][r] = _mm512_fmadd_ps(x, wide[r], totals[m][r]);
                }
            }
        }
    }
    for (i, h) in h.iter().enumerate() {
        for (r, low_rank) in w.low_rank.into_iter().enumerate() {
            let b = low_rank.read(LANES * i);
            for m in 0..M {
                totals[m][r] = _mm512_fmadd_ps(load(&h[m]), b, totals[m][r]);
            }
        }
    }
    let mut dots = [[0.0; R]; M];
    for m in 0..M {
        for r in 0..R {
            dots[m][r] = _mm512_reduce_add_ps(totals[m][r]);
        }
    }
    dots
}

impl LowRank<'_> {
    /// The elements from `from` on, past the end zeros.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn read(self, from: usize) -> __m512 {
        let b = &self.b[from..];
        let mask = u16::MAX >> LANES.saturating_sub(b.len());
        // SAFETY: the mask confines the read to the slice.
        let wide = unsafe { _mm512_maskz_loadu_ps(mask, b.as_ptr()) };
        if !self.rounded {
            return wide;
        }
        // To nearest, ties to even; what is not a number stays so.
        let bits = _mm512_castps_si512(wide);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let rounded = _mm512_and_si512(up, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()));
        let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(wide, wide);
        _mm512_mask_mov_ps(wide, number, _mm512_castsi512_ps(rounded))
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(x: &[f32]) -> __m512 {
    // SAFETY: sixteen floats are read out of a slice of sixteen.
    unsafe { _mm512_loadu_ps(x[..LANES].as_ptr()) }
}

/// The bf16 of a block: of each half the first sixteen, then the others, as the interleaving of bytes leaves them.
#[inline]
#[target_feature(enable = "avx2,avx512bw")]
pub(super) fn decoded(block: &Block, table: __m512i) -> [__m512i; 2] {
    // SAFETY: 64 and 32 bytes are read out of arrays of as many.
    let (low, codes) =
        unsafe { (_mm512_loadu_si512(block.low.as_ptr().cast()), _mm256_load_si256(block.codes.as_ptr().cast())) };
    let codes = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(codes), _mm256_srli_epi16::<4>(codes));
    let high = _mm512_shuffle_epi8(table, _mm512_and_si512(codes, _mm512_set1_epi8(15)));
    [_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)]
}

/// Eight elements of each half of a block: the first or the second eight of what [`decoded`] gives.
#[inline]
#[target_feature(enable = "avx512bw")]
fn widen(elements: __m512i, second: usize) -> __m512 {
    let zero = _mm512_setzero_si512();
    _mm512_castsi512_ps(match second {
        0 => _mm512_unpacklo_epi16(zero, elements),
        _ => _mm512_unpackhi_epi16(zero, elements),
    })
}
