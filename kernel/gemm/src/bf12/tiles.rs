//! Rows decoded to where tile registers are loaded from, a block of each of 32 rows at a time.

use std::arch::x86_64::*;

use bytemuck::cast_slice_mut;
use half::bf16;

use super::avx2::table;
use super::avx512::decoded;
use super::{BLOCK, Bf12, Block};
use crate::amx::few_rows::SLOT;
use crate::few_rows::prefetch;

/// Rows of W that are decoded together.
const ROWS: usize = 32;
const CACHE_LINE: usize = 64;
/// Lanes of a row in a tile.
const LANES: usize = BLOCK / 4;

/// Neighbouring rows, whose blocks are decoded in turn.
pub(crate) struct RowsOfBlocks<'a> {
    w: &'a Bf12,
    first: usize,
    rows: usize,
    /// Of each row, what a code stands for.
    tables: [__m256i; ROWS],
    /// Of each row, the next of the exceptions, and where they end.
    exceptions: [[usize; 2]; ROWS],
}

impl<'a> RowsOfBlocks<'a> {
    /// The rows from `first` on, at most 32.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn new(w: &'a Bf12, first: usize) -> Self {
        let rows = ROWS.min(w.tops.len() - first);
        let mut tables = [_mm256_setzero_si256(); ROWS];
        let mut exceptions = [[0; 2]; ROWS];
        for i in 0..rows {
            let row = first + i;
            tables[i] = table(w.tops[row]);
            exceptions[i] = [if row == 0 { 0 } else { w.ends[row - 1] as usize }, w.ends[row] as usize];
        }
        Self { w, first, rows, tables, exceptions }
    }

    /// See [`RowsOfTiles::read`](crate::amx::few_rows::RowsOfTiles::read). What the rows after these have there is fetched.
    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512bw")]
    pub(crate) fn decode(&mut self, block: usize, slot: &mut [u32; SLOT]) {
        let in_a_row = self.w.cols.div_ceil(BLOCK);
        let blocks = &self.w.blocks[self.first * in_a_row..][..self.rows * in_a_row];
        let (first_half, second_half) = slot.split_at_mut(SLOT / 2);
        let (first_half, second_half) = (first_half.as_chunks_mut::<LANES>().0, second_half.as_chunks_mut::<LANES>().0);
        let mut at = block;
        for i in 0..self.rows {
            let now: &Block = &blocks[at];
            at += in_a_row;
            let later = std::ptr::from_ref(now).wrapping_add(ROWS * in_a_row);
            // A block is a line and a half.
            prefetch(later);
            prefetch(later.cast::<u8>().wrapping_add(CACHE_LINE));
            let halves = in_order(decoded(now, _mm512_broadcast_i64x4(self.tables[i])));
            // SAFETY: sixteen lanes are written to arrays of sixteen.
            unsafe {
                _mm512_storeu_si512(first_half[i].as_mut_ptr().cast(), halves[0]);
                _mm512_storeu_si512(second_half[i].as_mut_ptr().cast(), halves[1]);
            }
            let [next, end] = &mut self.exceptions[i];
            while next < end && (self.w.exceptions[*next].column as usize) < (block + 1) * BLOCK {
                let exception = self.w.exceptions[*next];
                let within = exception.column as usize % BLOCK;
                let half = if within < BLOCK / 2 { &mut first_half[i] } else { &mut second_half[i] };
                let half: &mut [bf16] = cast_slice_mut(half);
                half[within % (BLOCK / 2)] = exception.value;
                *next += 1;
            }
        }
    }
}

/// The halves of a block, given sixteen elements of each half in the order of [`decoded`].
#[inline]
#[target_feature(enable = "avx512f")]
fn in_order([a, b]: [__m512i; 2]) -> [__m512i; 2] {
    let first = _mm512_setr_epi64(0, 2, 1, 3, 8, 10, 9, 11);
    let second = _mm512_setr_epi64(4, 6, 5, 7, 12, 14, 13, 15);
    [_mm512_permutex2var_epi64(a, first, b), _mm512_permutex2var_epi64(a, second, b)]
}
