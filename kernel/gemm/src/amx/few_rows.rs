//! `y = x Wᵀ` for a few rows of x, bound by reading W from memory. 64 elements of each of 32 rows of W are brought to
//! where tiles are loaded from at a time, while those before them are multiplied with all rows of x, and what the next
//! rows hold there is fetched.
//!
//! The product of a row of x has the same bits, however many rows there are beside it.

use std::arch::x86_64::*;
use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use super::pack::{Halves, PANEL, STEP, Side, pack};
use super::store;
use super::tiles::{Amx, STEP_LANES, SUMS, TILE};
use crate::bf12::{Bf12, RowsOfBlocks};
use crate::few_rows::{in_tasks, prefetch};
use crate::product::{Dims, Product};
use crate::scratch::Scratch;
use crate::source::{Factor, Major, Rows, Source, Stored};

/// The most rows of x: those that the registers have room for.
pub(crate) const MAX_ROWS: usize = PANEL;
/// Elements of a row of x that are packed at a time.
const RUN: usize = 1024;
/// Steps that W is read in at a time.
const STEPS: usize = 2;
/// Elements of a row of W in as many steps.
const BLOCK: usize = STEPS * STEP;
const _: () = assert!(RUN.is_multiple_of(BLOCK));
/// Lanes of the tiles of these steps for 32 rows of W.
pub(crate) const SLOT: usize = STEPS * 2 * TILE;

/// Weights that are brought to tiles.
pub(crate) trait Tiled: Copy + Send + Sync {
    type Rows: RowsOfTiles;

    /// The rows from `first` on, at most 32, `depth` long.
    ///
    /// # Safety
    /// The CPU has the features of [`Amx`].
    unsafe fn rows(self, first: usize, width: usize, depth: usize) -> Self::Rows;
}

/// Rows of W, of which 64 elements are read in turn.
pub(crate) trait RowsOfTiles {
    /// Writes the tiles of a block of each row: of its first half, 32 rows, then of its second half. What a row does not
    /// have any more is zero; absent rows may hold anything. The blocks have to be asked for in order.
    ///
    /// # Safety
    /// The CPU has the features of [`Amx`].
    unsafe fn read(&mut self, block: usize, slot: &mut [u32; SLOT]);
}

impl<'a> Tiled for &'a Bf12 {
    type Rows = RowsOfBlocks<'a>;

    #[inline(always)]
    unsafe fn rows(self, first: usize, _width: usize, _depth: usize) -> RowsOfBlocks<'a> {
        // SAFETY: by the caller.
        unsafe { RowsOfBlocks::new(self, first) }
    }
}

impl RowsOfTiles for RowsOfBlocks<'_> {
    #[inline(always)]
    unsafe fn read(&mut self, block: usize, slot: &mut [u32; SLOT]) {
        // SAFETY: by the caller.
        unsafe { self.decode(block, slot) };
    }
}

/// Rows of bf16 as they are stored.
pub(crate) struct StoredRows<'a> {
    w: Stored<'a, bf16>,
    rows: Range<usize>,
    depth: usize,
}

impl<'a> Tiled for Stored<'a, bf16> {
    type Rows = StoredRows<'a>;

    #[inline(always)]
    unsafe fn rows(self, first: usize, width: usize, depth: usize) -> StoredRows<'a> {
        StoredRows { w: self, rows: first..width.min(first + PANEL), depth }
    }
}

impl RowsOfTiles for StoredRows<'_> {
    #[inline(always)]
    unsafe fn read(&mut self, block: usize, slot: &mut [u32; SLOT]) {
        let columns = block * BLOCK..self.depth.min((block + 1) * BLOCK);
        let (first_half, second_half) = slot.split_at_mut(SLOT / 2);
        let halves = first_half.as_chunks_mut::<16>().0.iter_mut().zip(second_half.as_chunks_mut::<16>().0);
        for (row, (first_half, second_half)) in self.rows.clone().zip(halves) {
            let run = self.w.run(row, columns.clone(), &mut []);
            let later = run.as_ptr().wrapping_add(PANEL * self.w.stride);
            prefetch(later);
            prefetch(later.wrapping_add(STEP));
            let mut filled = [bf16::ZERO; BLOCK];
            let run = match run.len() {
                BLOCK => run,
                short => {
                    filled[..short].copy_from_slice(run);
                    &filled
                }
            };
            // SAFETY: by the caller; sixteen lanes are written to arrays of sixteen.
            unsafe {
                _mm512_storeu_si512(first_half.as_mut_ptr().cast(), bf16::read(run));
                _mm512_storeu_si512(second_half.as_mut_ptr().cast(), bf16::read(&run[STEP..]));
            }
        }
    }
}

/// Computes a matmul of at most [`MAX_ROWS`] rows. b: `[width, rank]`.
pub(crate) fn multiply<W: Tiled>(amx: Amx, product: &Product<'_>, w: W, b: Stored<'_, f32>) {
    let Dims { depth, rank, .. } = product.dims;
    let steps_of_x = depth.div_ceil(BLOCK) * STEPS;
    let mut packed = Scratch::<u32>::new((steps_of_x + rank.div_ceil(STEP)) * STEP_LANES);
    let (x, h) = packed.split_at_mut(steps_of_x * STEP_LANES);
    match product.x.source {
        Rows::F32(rows) => pack_rows(product, rows, depth, x),
        Rows::Bf16(rows) => pack_rows(product, rows, depth, x),
    }
    pack_rows(product, product.h, rank, h);
    let packed: &[u32] = &packed;
    in_tasks(product, PANEL, |columns| {
        // SAFETY: `Amx` is the proof that the CPU has the features; tasks have disjoint rows of W, thus columns of y.
        unsafe { compute(amx, product, packed, w, b, columns) };
    });
}

/// Packs rows of x or h as a panel's columns, and zeros where W's blocks go on.
fn pack_rows<X: Source<Elem: Halves>>(product: &Product<'_>, x: X, depth: usize, panel: &mut [u32]) {
    panel[depth.div_ceil(STEP) * STEP_LANES..].fill(0);
    let x = Factor { source: x, major: Major::K };
    let pack = |(run, panel): (usize, &mut [u32])| {
        let depth = run * RUN..depth.min((run + 1) * RUN);
        // SAFETY: only a CPU with `Amx` comes here.
        unsafe { pack_run(x, 0..product.dims.rows, depth, panel) };
    };
    let run = RUN / STEP * STEP_LANES;
    if product.threads && panel.len() > run {
        panel.par_chunks_mut(run).enumerate().for_each(pack);
    } else {
        panel.chunks_mut(run).enumerate().for_each(pack);
    }
}

/// # Safety
/// The CPU has the features.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn pack_run<X: Source<Elem: Halves>>(x: Factor<X>, rows: Range<usize>, depth: Range<usize>, panel: &mut [u32]) {
    let len = panel.len();
    // SAFETY: by the caller.
    unsafe { pack(&x, Side::B, rows, depth, panel, len, &mut []) };
}

/// Computes columns of y.
///
/// # Safety
/// The CPU has the features; nobody else uses these columns.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512bf16")]
unsafe fn compute<W: Tiled>(
    amx: Amx,
    product: &Product<'_>,
    x: &[u32],
    w: W,
    b: Stored<'_, f32>,
    columns: Range<usize>,
) {
    let Product { dims, y, epilogue, .. } = product;
    let blocks = dims.depth.div_ceil(BLOCK);
    let (x, h) = x.split_at(blocks * STEPS * STEP_LANES);
    let b = Factor { source: b, major: Major::K };
    let mut tiles = amx.tiles();
    let mut slots = Scratch::<u32>::new(2 * SLOT);
    let (slots, _) = slots.as_chunks_mut::<SLOT>();
    let mut of_b = Scratch::<u32>::new(h.len());
    let mut sums = Scratch::<f32>::new(SUMS);
    for first in columns.clone().step_by(PANEL) {
        let columns = first..columns.end.min(first + PANEL);
        // SAFETY: by the caller.
        let mut rows = unsafe { W::rows(w, first, dims.width, dims.depth) };
        tiles.zero();
        // Right after a block is written, loading its tiles would have to wait: so multiplying is one block behind.
        for (block, x) in x.chunks_exact(STEPS * STEP_LANES).enumerate() {
            for next in if block == 0 { 0..blocks.min(2) } else { block + 1..blocks.min(block + 2) } {
                // SAFETY: by the caller.
                unsafe { rows.read(next, &mut slots[next % 2]) };
            }
            for (a, x) in slots[block % 2].chunks_exact(2 * TILE).zip(x.chunks_exact(STEP_LANES)) {
                tiles.add_step(a, x);
            }
        }
        if !h.is_empty() {
            let len = of_b.len();
            // SAFETY: by the caller.
            unsafe { pack(&b, Side::A, columns.clone(), 0..dims.rank, &mut of_b, len, &mut []) };
            for (b, h) in of_b.chunks_exact(STEP_LANES).zip(h.chunks_exact(STEP_LANES)) {
                tiles.add_step(b, h);
            }
        }
        tiles.write(&mut sums);
        // SAFETY: by the caller.
        unsafe { store::transposed(&sums, y, 0..dims.rows, columns, *epilogue) };
    }
}
