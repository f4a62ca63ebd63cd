//! Packing into tiles. A panel is 32 rows (of the left operand) or columns (of the right one), step after step of the
//! contraction, two tiles each. Tile rows of the left side, A, hold 32 elements that are contracted, those of the
//! right side, B, a pair of each of 16 columns.
//!
//! Pairs are made by interleaving within 128-bit parts, which leaves B's columns in an odd order: those whose index
//! has bit 2 clear are in the first tile, the others in the second. Writing the sums undoes it at less cost.

use std::arch::x86_64::*;
use std::mem::transmute;
use std::ops::Range;

use bytemuck::{Zeroable, cast_slice};
use half::bf16;

use super::tiles::{STEP_LANES, TILE};
use crate::few_rows::{AHEAD, prefetch};
use crate::simd::transpose_lanes;
use crate::source::{Factor, Major, Source};

/// Rows or columns in a panel.
pub(super) const PANEL: usize = 32;
/// Elements that are contracted in a step.
pub(super) const STEP: usize = 32;
/// The most elements of a row that are read at a time.
pub(super) const MAX_RUN: usize = 2048;
/// Elements of a staging buffer.
pub(super) const STAGING: usize = 16 * MAX_RUN;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    A,
    B,
}

/// Elements that vectors of 32 bf16 are read from.
pub(crate) trait Halves: Zeroable + Copy {
    /// The first 32 of `from`.
    ///
    /// # Safety
    /// The caller is compiled for avx512f and avx512bf16.
    unsafe fn read(from: &[Self]) -> __m512i;
}

impl Halves for bf16 {
    #[inline(always)]
    unsafe fn read(from: &[bf16]) -> __m512i {
        // SAFETY: 64 bytes are read out of a slice of 32 bf16; the caller is compiled for the instruction.
        unsafe { _mm512_loadu_si512(from[..32].as_ptr().cast()) }
    }
}

impl Halves for f32 {
    #[inline(always)]
    unsafe fn read(from: &[f32]) -> __m512i {
        let from = from[..32].as_ptr();
        // SAFETY: two times sixteen floats are read out of a slice of 32; the caller is compiled for the instructions;
        // __m512bh and __m512i are both 512 bits of plain data.
        unsafe {
            let (first, second) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16)));
            transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first))
        }
    }
}

/// Packs panels for a part of the contraction, at most [`MAX_RUN`] long, as `free` is. What is missing of the last
/// step is zero, what is missing of the last panel arbitrary. `panels` has room for all, which begin `panel_len` lanes
/// apart, and `staging` [`STAGING`] elements if the source needs them.
///
/// # Safety
/// The caller is compiled for avx512f, avx512bw and avx512bf16.
#[inline(always)]
pub(super) unsafe fn pack<S: Source<Elem: Halves>>(
    factor: &Factor<S>,
    side: Side,
    free: Range<usize>,
    depth: Range<usize>,
    panels: &mut [u32],
    panel_len: usize,
    staging: &mut [S::Elem],
) {
    let lanes = depth.len().div_ceil(STEP) * STEP_LANES;
    let packing = Packing { source: &factor.source, free, depth, lanes, panel_len };
    // SAFETY: by the caller.
    unsafe {
        match (side, factor.major) {
            (Side::A, Major::K) => packing.copy(panels, staging),
            (Side::B, Major::MN) => packing.interleave(panels, staging),
            (Side::B, Major::K) => packing.transpose(panels, staging),
            (Side::A, Major::MN) => packing.interleave_and_transpose(panels, staging),
        }
    }
}

struct Packing<'a, S> {
    source: &'a S,
    free: Range<usize>,
    depth: Range<usize>,
    /// Lanes of a panel that are packed.
    lanes: usize,
    /// Lanes from one panel to the next.
    panel_len: usize,
}

impl<S: Source<Elem: Halves>> Packing<'_, S> {
    /// # Safety
    /// That of [`pack`].
    #[inline(always)]
    unsafe fn copy(&self, panels: &mut [u32], staging: &mut [S::Elem]) {
        for (i, row) in self.free.clone().enumerate() {
            let panel = &mut panels[i / PANEL * self.panel_len..][..self.lanes];
            let run = self.source.run(row, self.depth.clone(), staging).chunks_exact(STEP);
            let rest = run.remainder();
            for (tiles, run) in panel.chunks_exact_mut(STEP_LANES).zip(run.chain((!rest.is_empty()).then_some(rest))) {
                if !S::STAGED {
                    prefetch(run.as_ptr().wrapping_byte_add(AHEAD));
                }
                // SAFETY: by the caller.
                unsafe { store(read(run), &mut tiles[i % PANEL * 16..]) };
            }
        }
    }

    /// # Safety
    /// That of [`pack`].
    #[inline(always)]
    unsafe fn interleave(&self, panels: &mut [u32], staging: &mut [S::Elem]) {
        for pair in 0..self.lanes / STEP_LANES * 16 {
            let later = self.depth.start + 2 * pair + STEP;
            // SAFETY: by the caller.
            unsafe {
                self.fetch(later, self.depth.end, &self.free);
                self.fetch(later + 1, self.depth.end, &self.free);
            }
            let [a, b] = self.pair_of_rows(self.depth.start + 2 * pair, &self.free, staging);
            let place = pair / 16 * STEP_LANES + pair % 16 * 16;
            let places = panels.chunks_mut(self.panel_len).map(|panel| &mut panel[place..][..TILE + 16]);
            let (a, b) = (a.chunks_exact(PANEL), b.chunks_exact(PANEL));
            let rest = (a.remainder(), b.remainder());
            for (place, (a, b)) in places.zip(a.zip(b).chain((!rest.0.is_empty()).then_some(rest))) {
                // SAFETY: by the caller.
                unsafe {
                    let [first, second] = in_pairs(a, b);
                    store(first, place);
                    store(second, &mut place[TILE..]);
                }
            }
        }
    }

    /// # Safety
    /// That of [`pack`].
    #[inline(always)]
    unsafe fn transpose(&self, panels: &mut [u32], staging: &mut [S::Elem]) {
        let firsts = self.free.clone().step_by(PANEL);
        for (panel, first) in panels.chunks_mut(self.panel_len).zip(firsts) {
            for half in 0..2 {
                let mut staging = staging.chunks_exact_mut(MAX_RUN);
                let mut runs: [&[S::Elem]; 16] = [&[]; 16];
                for (lane, run) in runs.iter_mut().enumerate() {
                    // Past the last row, that row is read again.
                    let row = (first + column(half, lane)).min(self.free.end - 1);
                    *run = self.source.run(row, self.depth.clone(), staging.next().unwrap_or_default());
                }
                for (tiles, from) in
                    panel[..self.lanes].chunks_exact_mut(STEP_LANES).zip((0..self.depth.len()).step_by(STEP))
                {
                    let to = self.depth.len().min(from + STEP);
                    // SAFETY: by the caller.
                    unsafe {
                        // By index: a closure that `map` calls is not compiled into this function.
                        let mut lanes = [_mm512_setzero_si512(); 16];
                        for i in 0..16 {
                            lanes[i] = read(&runs[i][from..to]);
                        }
                        let tile = &mut tiles[half * TILE..][..TILE];
                        for (lanes, to) in transpose_lanes(lanes).into_iter().zip(tile.chunks_exact_mut(16)) {
                            store(lanes, to);
                        }
                    }
                }
            }
        }
    }

    /// # Safety
    /// That of [`pack`].
    #[inline(always)]
    unsafe fn interleave_and_transpose(&self, panels: &mut [u32], staging: &mut [S::Elem]) {
        let firsts = self.free.clone().step_by(PANEL);
        for (panel, first) in panels.chunks_mut(self.panel_len).zip(firsts) {
            let columns = first..self.free.end.min(first + PANEL);
            for (tiles, first) in panel[..self.lanes].chunks_exact_mut(STEP_LANES).zip(self.depth.clone().step_by(STEP))
            {
                // SAFETY: by the caller.
                unsafe {
                    let mut halves = [[_mm512_setzero_si512(); 16]; 2];
                    let [first_half, second_half] = &mut halves;
                    for (pair, places) in first_half.iter_mut().zip(second_half).enumerate() {
                        let [a, b] = self.pair_of_rows(first + 2 * pair, &columns, staging);
                        [*places.0, *places.1] = in_pairs(a, b);
                    }
                    for (half, lanes) in halves.into_iter().enumerate() {
                        for (lane, elements) in transpose_lanes(lanes).into_iter().enumerate() {
                            store(elements, &mut tiles[column(half, lane) * 16..]);
                        }
                    }
                }
            }
        }
    }

    /// Has elements of a row that will be packed soon brought into the L2 cache, unless it is past `end`: where the
    /// rows of a matrix end, the prefetchers of the CPU lose track.
    ///
    /// # Safety
    /// That of [`pack`].
    #[inline(always)]
    unsafe fn fetch(&self, row: usize, end: usize, columns: &Range<usize>) {
        if S::STAGED || row >= end {
            return;
        }
        let elements = self.source.run(row, columns.clone(), &mut []);
        for line in elements.chunks(64 / size_of::<S::Elem>()) {
            // SAFETY: by the caller; prefetching takes any address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
        }
    }

    /// Rows `row` and `row + 1`; past the part of the contraction, zeros.
    #[inline(always)]
    fn pair_of_rows<'s>(
        &'s self,
        row: usize,
        columns: &Range<usize>,
        staging: &'s mut [S::Elem],
    ) -> [&'s [S::Elem]; 2] {
        static ZEROS: [u64; MAX_RUN / 2] = [0; MAX_RUN / 2];
        let (staging_a, staging_b) = staging.split_at_mut(staging.len() / 2);
        let read = |row: usize, staging: &'s mut [S::Elem]| {
            if row < self.depth.end {
                self.source.run(row, columns.clone(), staging)
            } else {
                &cast_slice(&ZEROS)[..columns.len()]
            }
        };
        [read(row, staging_a), read(row + 1, staging_b)]
    }
}

/// About how many instructions that rearrange or store go into packing a tile.
pub(super) fn cost_of_packing(major: Major, side: Side) -> usize {
    match (side, major) {
        (Side::A, Major::K) => 16,
        (Side::B, Major::MN) => 32,
        (Side::B, Major::K) => 80,
        (Side::A, Major::MN) => 112,
    }
}

/// The column of a panel that lies in a lane of one of B's two tiles.
#[inline(always)]
pub(super) fn column(half: usize, lane: usize) -> usize {
    lane / 4 * 8 + lane % 4 + 4 * half
}

/// Pairs of the elements of two rows, of up to 32 columns.
///
/// # Safety
/// That of [`pack`].
#[inline(always)]
unsafe fn in_pairs<E: Halves>(a: &[E], b: &[E]) -> [__m512i; 2] {
    // SAFETY: by the caller.
    unsafe {
        let (a, b) = (read(a), read(b));
        [_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)]
    }
}

/// Up to 32 elements, absent ones being 0.
///
/// # Safety
/// That of [`pack`].
#[inline(always)]
unsafe fn read<E: Halves>(from: &[E]) -> __m512i {
    // SAFETY: by the caller.
    unsafe {
        if from.len() == 32 {
            return E::read(from);
        }
        let mut filled = [E::zeroed(); 32];
        filled[..from.len()].copy_from_slice(from);
        E::read(&filled)
    }
}

/// # Safety
/// That of [`pack`].
#[inline(always)]
unsafe fn store(lanes: __m512i, to: &mut [u32]) {
    // SAFETY: sixteen lanes are written to a slice of sixteen; the caller is compiled for the instruction.
    unsafe { _mm512_storeu_si512(to[..16].as_mut_ptr().cast(), lanes) }
}
