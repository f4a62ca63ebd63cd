//! Packing into tiles. A panel is 32 rows (of the left operand) or columns (of the right one), step after step of the
//! contraction, two tiles each. Tile rows of the left side, A, hold 32 elements that are contracted, those of the
//! right side, B, a pair of each of 16 columns.
//!
//! Pairs are made by interleaving within 128-bit parts, which leaves B's columns in an odd order: those whose index
//! has bit 2 clear are in the first tile, the others in the second. Writing the sums undoes it at less cost.

use std::arch::x86_64::*;
use std::mem::transmute;
use std::ops::Range;

use bytemuck::Pod;
use half::bf16;

use super::tiles::TILE;
use crate::simd::transpose_lanes;
use crate::source::{Contract, Stored};

/// Rows or columns in a panel.
pub(super) const PANEL: usize = 32;
/// Elements that are contracted in a step.
pub(super) const STEP: usize = 32;
/// Lanes of a panel's step.
pub(super) const STEP_LANES: usize = 2 * TILE;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

/// Elements that vectors of 32 bf16 are read from.
pub(crate) trait Halves: Pod + Send + Sync {
    /// The elements of `from`, at most 32, and zeros after them.
    ///
    /// # Safety
    /// The caller is compiled for avx512f, avx512bw and avx512bf16.
    unsafe fn read(from: &[Self]) -> __m512i;
}

impl Halves for bf16 {
    #[inline(always)]
    unsafe fn read(from: &[bf16]) -> __m512i {
        let address: *const i16 = from.as_ptr().cast();
        // SAFETY: 64 bytes are read out of a slice of 32 bf16, or as many as the mask lets through, which is those of
        // the slice; the caller is compiled for the instructions.
        unsafe {
            if from.len() == 32 {
                _mm512_loadu_si512(address.cast())
            } else {
                _mm512_maskz_loadu_epi16(mask(from.len()), address)
            }
        }
    }
}

impl Halves for f32 {
    #[inline(always)]
    unsafe fn read(from: &[f32]) -> __m512i {
        let (address, mask) = (from.as_ptr(), mask(from.len()));
        // SAFETY: the masks let as many floats through as the slice has; the caller is compiled for the instructions;
        // __m512bh and __m512i are both 512 bits of plain data.
        unsafe {
            let first = _mm512_maskz_loadu_ps(mask as u16, address);
            let second = _mm512_maskz_loadu_ps((mask >> 16) as u16, address.wrapping_add(16));
            transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first))
        }
    }
}

/// The lowest `len` bits, of 32 at most.
#[inline(always)]
fn mask(len: usize) -> u32 {
    assert!(len <= 32);
    u32::MAX.checked_shr(32 - len as u32).unwrap_or_default()
}

/// Packs a step of a panel: the rows or columns `free`, at most 32, and of the contraction what `depth` says, at most
/// 32 elements. What is missing of the step is zero, what is missing of the panel arbitrary.
///
/// # Safety
/// The caller is compiled for avx512f, avx512bw and avx512bf16.
#[inline(always)]
pub(super) unsafe fn pack_step<E: Halves>(
    from: Stored<'_, E>,
    (contract, side): (Contract, Side),
    free: Range<usize>,
    depth: Range<usize>,
    tiles: &mut [u32],
) {
    assert!(tiles.len() == STEP_LANES && !free.is_empty() && free.len() <= PANEL && depth.len() <= STEP);
    let step = Step { from, free, depth };
    // SAFETY: by the caller.
    unsafe {
        match (side, contract) {
            (Side::A, Contract::RowElements) => step.copy(tiles),
            (Side::B, Contract::Rows) => step.interleave(tiles),
            (Side::B, Contract::RowElements) => step.transpose(tiles),
            (Side::A, Contract::Rows) => step.interleave_and_transpose(tiles),
        }
    }
}

/// About how many instructions that rearrange or store go into packing a tile.
pub(super) fn cost_of_packing(contract: Contract, side: Side) -> usize {
    match (side, contract) {
        (Side::A, Contract::RowElements) => 16,
        (Side::B, Contract::Rows) => 32,
        (Side::B, Contract::RowElements) => 80,
        (Side::A, Contract::Rows) => 112,
    }
}

/// The column of a panel that lies in a lane of one of B's two tiles.
#[inline(always)]
pub(super) fn column(half: usize, lane: usize) -> usize {
    lane / 4 * 8 + lane % 4 + 4 * half
}

struct Step<'a, E> {
    from: Stored<'a, E>,
    free: Range<usize>,
    depth: Range<usize>,
}

impl<E: Halves> Step<'_, E> {
    /// # Safety
    /// That of [`pack_step`].
    #[inline(always)]
    unsafe fn copy(self, tiles: &mut [u32]) {
        for (row, to) in self.free.clone().zip(tiles.chunks_exact_mut(16)) {
            // SAFETY: by the caller.
            unsafe { store(self.read(row, &self.depth), to) };
        }
    }

    /// # Safety
    /// That of [`pack_step`].
    #[inline(always)]
    unsafe fn interleave(self, tiles: &mut [u32]) {
        let (first, second) = tiles.split_at_mut(TILE);
        for (pair, to) in first.chunks_exact_mut(16).zip(second.chunks_exact_mut(16)).enumerate() {
            // SAFETY: by the caller.
            unsafe {
                let [first, second] = self.pair_of_rows(pair);
                store(first, to.0);
                store(second, to.1);
            }
        }
    }

    /// # Safety
    /// That of [`pack_step`].
    #[inline(always)]
    unsafe fn transpose(self, tiles: &mut [u32]) {
        for (half, tile) in tiles.chunks_exact_mut(TILE).enumerate() {
            // SAFETY: by the caller.
            unsafe {
                // By index: a closure that `map` calls is not compiled into this function.
                let mut lanes = [_mm512_setzero_si512(); 16];
                for (lane, lanes) in lanes.iter_mut().enumerate() {
                    // Past the last row, that row is read again.
                    let row = (self.free.start + column(half, lane)).min(self.free.end - 1);
                    *lanes = self.read(row, &self.depth);
                }
                for (lanes, to) in transpose_lanes(lanes).into_iter().zip(tile.chunks_exact_mut(16)) {
                    store(lanes, to);
                }
            }
        }
    }

    /// # Safety
    /// That of [`pack_step`].
    #[inline(always)]
    unsafe fn interleave_and_transpose(self, tiles: &mut [u32]) {
        // SAFETY: by the caller.
        unsafe {
            let mut halves = [[_mm512_setzero_si512(); 16]; 2];
            let [first_half, second_half] = &mut halves;
            for (pair, places) in first_half.iter_mut().zip(second_half).enumerate() {
                [*places.0, *places.1] = self.pair_of_rows(pair);
            }
            for (half, lanes) in halves.into_iter().enumerate() {
                for (lane, elements) in transpose_lanes(lanes).into_iter().enumerate() {
                    store(elements, &mut tiles[column(half, lane) * 16..]);
                }
            }
        }
    }

    /// Pairs of the elements of two rows that are contracted; past the contraction, zeros.
    ///
    /// # Safety
    /// That of [`pack_step`].
    #[inline(always)]
    unsafe fn pair_of_rows(&self, pair: usize) -> [__m512i; 2] {
        // SAFETY: by the caller.
        unsafe {
            let zero = _mm512_setzero_si512();
            let row = self.depth.start + 2 * pair;
            let a = if row < self.depth.end { self.read(row, &self.free) } else { zero };
            let b = if row + 1 < self.depth.end { self.read(row + 1, &self.free) } else { zero };
            [_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)]
        }
    }

    /// Elements of a row; those of the row that a later step will read in its place are fetched into the L2 cache.
    ///
    /// # Safety
    /// That of [`pack_step`].
    #[inline(always)]
    unsafe fn read(&self, row: usize, columns: &Range<usize>) -> __m512i {
        let elements = &self.from.data[row * self.from.stride..][columns.clone()];
        let later = elements.as_ptr().wrapping_add(PANEL * self.from.stride);
        // SAFETY: by the caller; prefetching takes any address.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(later.cast());
            E::read(elements)
        }
    }
}

/// # Safety
/// That of [`pack_step`].
#[inline(always)]
unsafe fn store(lanes: __m512i, to: &mut [u32]) {
    // SAFETY: sixteen lanes are written to a slice of sixteen; the caller is compiled for the instruction.
    unsafe { _mm512_storeu_si512(to[..16].as_mut_ptr().cast(), lanes) }
}
