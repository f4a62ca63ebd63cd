//! Matmuls of bf16 by tile registers (AMX), of any shape but up to four rows; those of up to 32 rows are in [`few_rows`].
//!
//! The larger operand is streamed: each task packs its part of it into the L2 cache, some rows or columns and a segment
//! of the contraction at a time, and multiplies it with all of the other operand, which the tasks share and which is
//! packed once, before. Rows of up to 1,024 elements are contracted whole, so that their sums never pass through
//! memory. The second matmul of a LoRA pair is contracted with the last segment.
//!
//! Packing prefetches the rows that come next, because the CPU's prefetchers lose track where a row ends. Tiles are not
//! loaded from the checkpoint itself: its tensors begin at any address, and a tile row that straddles two cache lines
//! costs twice as much as one that does not (Sapphire Rapids).

pub(crate) mod few_rows;
mod pack;
mod store;
mod tiles;

use std::ops::Range;

use rayon::prelude::*;

use crate::product::{Dims, Product};
use crate::scratch::{Scratch, Staging};
use crate::source::{Factor, Major, Rows, Source, Stored};
pub(crate) use pack::Halves;
use pack::{MAX_RUN, PANEL, STAGING, STEP, Side, cost_of_packing, pack};
pub(crate) use tiles::Amx;
use tiles::{Passing, STEP_LANES, SUMS, Start};

/// The most elements that are contracted at a time: a panel of this depth, 32 KiB, stays in the L1 cache.
const DEPTH: usize = 512;
/// Rows or columns of the streamed operand that are packed at a time; a segment of them, 512 KiB, stays in the L2
/// cache.
const WIDTH: usize = 512;
/// Rows or columns of the shared operand that are packed at a time, which bounds the buffer.
const SHARED: usize = 1024;
/// The longest rows that are contracted whole, which spares their sums the way through memory, and reads memory in the
/// order in which it lies there.
const WHOLE: usize = 1024;
/// Up to so many rows or columns of the shared operand, the time goes into reading the streamed one from memory, which
/// is fastest in runs that are as long as they can be.
const FEW: usize = 64;
const _: () =
    assert!((DEPTH * WIDTH).is_multiple_of(MAX_RUN) && DEPTH.is_multiple_of(STEP) && WIDTH.is_multiple_of(PANEL));
const _: () = assert!(MAX_RUN.is_multiple_of(STEP) && MAX_RUN.is_multiple_of(PANEL) && SHARED.is_multiple_of(PANEL));

/// Computes a matmul. b is major as w is.
pub(crate) fn multiply<W>(amx: Amx, product: &Product<'_>, w: Factor<W>, b: Stored<'_, f32>)
where
    W: Source<Elem: Halves>,
{
    let major = product.x.major;
    match product.x.source {
        Rows::F32(x) => multiply_rows(amx, product, Factor { source: x, major }, w, b),
        Rows::Bf16(x) => multiply_rows(amx, product, Factor { source: x, major }, w, b),
    }
}

fn multiply_rows<X, W>(amx: Amx, product: &Product<'_>, x: Factor<X>, w: Factor<W>, b: Stored<'_, f32>)
where
    X: Source<Elem: Halves>,
    W: Source<Elem: Halves>,
{
    let Product { h, dims, .. } = product;
    let tiles = |size: usize| size.div_ceil(16);
    let (left, right) = (tiles(dims.rows) * tiles(dims.depth), tiles(dims.width) * tiles(dims.depth));
    let sums = tiles(dims.rows) * tiles(dims.width);
    let cost = |left_side, right_side, store| {
        left * cost_of_packing(x.major, left_side) + right * cost_of_packing(w.major, right_side) + sums * store
    };
    let transposed = cost(Side::B, Side::A, 80) < cost(Side::A, Side::B, 32);
    let (left_side, right_side) = if transposed { (Side::B, Side::A) } else { (Side::A, Side::B) };
    let h = Factor { source: *h, major: Major::K };
    let b = Factor { source: b, major: w.major };
    let left = Operand { main: x, low_rank: h, side: left_side, free: dims.rows };
    let right = Operand { main: w, low_rank: b, side: right_side, free: dims.width };
    let rows_streamed = dims.rows > dims.width;
    let few = dims.rows.min(dims.width) <= FEW;
    let (depth, width) = match if rows_streamed { x.major } else { w.major } {
        Major::K if dims.depth <= WHOLE => (WHOLE, DEPTH * WIDTH / WHOLE),
        _ if !few => (DEPTH, WIDTH),
        Major::K => (MAX_RUN, DEPTH * WIDTH / MAX_RUN),
        Major::MN => (DEPTH * WIDTH / MAX_RUN, MAX_RUN),
    };
    let segments = &segments(*dims, depth);
    if rows_streamed {
        Plan { amx, product, streamed: left, shared: right, segments, width, rows_streamed }.multiply();
    } else {
        Plan { amx, product, streamed: right, shared: left, segments, width, rows_streamed }.multiply();
    }
}

/// A matrix and what is contracted after it.
struct Operand<'a, S> {
    main: Factor<S>,
    low_rank: Factor<Stored<'a, f32>>,
    side: Side,
    /// The size of the dimension that is not contracted.
    free: usize,
}

/// A part of the contraction, multiplied at once.
struct Segment {
    depth: Range<usize>,
    /// Of the low-rank part, which belongs to the last segment.
    rank: Range<usize>,
    /// Steps before this segment.
    first_step: usize,
}

impl Segment {
    fn steps(&self) -> usize {
        self.depth.len().div_ceil(STEP) + self.rank.len().div_ceil(STEP)
    }

    fn panel_len(&self) -> usize {
        self.steps() * STEP_LANES
    }
}

/// Segments of about equal length, at most `longest` and the low-rank part.
fn segments(dims: Dims, longest: usize) -> Vec<Segment> {
    let count = dims.depth.div_ceil(longest).max(1);
    let length = dims.depth.div_ceil(count).next_multiple_of(STEP).max(STEP);
    let mut first_step = 0;
    let mut segments = Vec::with_capacity(count);
    for first in (0..dims.depth.max(1)).step_by(length) {
        let depth = first..dims.depth.min(first + length);
        let rank = if depth.end == dims.depth { 0..dims.rank } else { 0..0 };
        let segment = Segment { depth, rank, first_step };
        first_step += segment.steps();
        segments.push(segment);
    }
    segments
}

struct Plan<'a, S, H> {
    amx: Amx,
    product: &'a Product<'a>,
    streamed: Operand<'a, S>,
    shared: Operand<'a, H>,
    segments: &'a [Segment],
    /// Rows or columns of the streamed operand that are packed at a time.
    width: usize,
    /// Whether the streamed operand has the rows of y, or the columns.
    rows_streamed: bool,
}

impl<S: Source<Elem: Halves>, H: Source<Elem: Halves>> Plan<'_, S, H> {
    fn multiply(&self) {
        let steps: usize = self.segments.iter().map(Segment::steps).sum();
        let size = self.shared.free.div_ceil(self.shared.free.div_ceil(SHARED)).next_multiple_of(PANEL);
        for first in (0..self.shared.free).step_by(size) {
            let shared = first..self.shared.free.min(first + size);
            let panels = shared.len().div_ceil(PANEL);
            let mut packed = Scratch::new(panels * steps * STEP_LANES);
            self.pack_shared(&shared, &mut packed);
            let block = Block { first, panels, packed: &packed };
            let [size, shared_size] = self.task_size(shared.len());
            let tasks_along = self.streamed.free.div_ceil(size);
            let compute = |task: usize| {
                let (i, j) = (task % tasks_along * size, task / tasks_along * shared_size);
                let streamed = i..self.streamed.free.min(i + size);
                let part = j..shared.len().min(j + shared_size);
                // SAFETY: `Amx` is the proof that the CPU has the features; tasks have disjoint parts of y.
                unsafe { self.compute(streamed, part, block) };
            };
            let tasks = 0..tasks_along * shared.len().div_ceil(shared_size);
            if self.product.threads { tasks.into_par_iter().for_each(compute) } else { tasks.for_each(compute) }
        }
    }

    /// Packs the shared operand: segment by segment, panel by panel.
    fn pack_shared(&self, shared: &Range<usize>, mut packed: &mut [u32]) {
        let mut panels = Vec::new();
        for segment in self.segments {
            for first in shared.clone().step_by(PANEL) {
                let (panel, rest) = packed.split_at_mut(segment.panel_len());
                panels.push((segment, first..shared.end.min(first + PANEL), panel));
                packed = rest;
            }
        }
        let pack = |(segment, free, panel): (&Segment, Range<usize>, &mut [u32])| {
            let mut staging = Staging::new::<H>(STAGING);
            // SAFETY: `Amx` is the proof that the CPU has the features.
            unsafe { self.shared.pack(segment, free, panel, &mut staging) };
        };
        if self.product.threads { panels.into_par_iter().for_each(pack) } else { panels.into_iter().for_each(pack) }
    }

    /// How much of the streamed and of the shared operand to make one task of, so that each thread gets several if
    /// there is work enough.
    fn task_size(&self, shared: usize) -> [usize; 2] {
        let each = if shared <= FEW { 1 } else { 3 };
        let threads = if self.product.threads { rayon::current_num_threads() } else { 1 };
        let tasks = match self.streamed.main.major {
            _ if threads == 1 => 1,
            // Each task reads its part of every row.
            Major::MN => (each * threads).min(threads.max(self.streamed.free / WIDTH)),
            Major::K => each * threads,
        };
        let size = self.streamed.free.div_ceil(tasks).next_multiple_of(PANEL);
        let splits = tasks.div_ceil(self.streamed.free.div_ceil(size)).min(shared.div_ceil(128));
        [size, shared.div_ceil(splits).next_multiple_of(PANEL)]
    }

    /// Computes a part of y.
    ///
    /// # Safety
    /// The CPU has the features; nobody else uses this part of y.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn compute(&self, streamed: Range<usize>, shared: Range<usize>, block: Block<'_>) {
        let mut tiles = self.amx.tiles();
        let mut staging = Staging::new::<S>(STAGING);
        let longest = self.segments.iter().map(Segment::panel_len).max().unwrap_or_default();
        let mut own = Scratch::<u32>::new(self.width.min(streamed.len()).div_ceil(PANEL) * longest);
        let kept =
            if self.segments.len() > 1 { streamed.len().div_ceil(PANEL) * shared.len().div_ceil(PANEL) } else { 0 };
        let mut kept = Scratch::<f32>::new(kept * SUMS);
        let mut done = Scratch::<f32>::new(SUMS);
        let passing = if self.streamed.side == Side::A { Passing::A } else { Passing::B };
        for (index, segment) in self.segments.iter().enumerate() {
            let (len, last) = (segment.panel_len(), index + 1 == self.segments.len());
            let packed = block.panels(segment, &shared);
            let mut kept = kept.chunks_exact_mut(SUMS);
            for first in streamed.clone().step_by(self.width) {
                let chunk = first..streamed.end.min(first + self.width);
                let own = &mut own[..chunk.len().div_ceil(PANEL) * len];
                // SAFETY: by the caller.
                unsafe { self.streamed.pack(segment, chunk.clone(), own, &mut staging) };
                for (packed, j) in packed.chunks_exact(len).zip(shared.clone().step_by(PANEL)) {
                    for (own, i) in own.chunks_exact(len).zip(chunk.clone().step_by(PANEL)) {
                        let (a, b) = if self.streamed.side == Side::A { (own, packed) } else { (packed, own) };
                        let before = kept.next();
                        if !last {
                            let start = if index == 0 { Start::Zero } else { Start::There };
                            tiles.add_product(a, b, start, before.unwrap_or_default(), passing);
                            continue;
                        }
                        let start = before.map_or(Start::Zero, |sums| Start::Sums(sums));
                        tiles.add_product(a, b, start, &mut done, passing);
                        let own = i..chunk.end.min(i + PANEL);
                        let shared = block.first + j..block.first + shared.end.min(j + PANEL);
                        // SAFETY: by the caller.
                        unsafe { self.store(&done, own, shared) };
                    }
                }
            }
        }
    }

    /// Writes the sums of a panel by a panel.
    ///
    /// # Safety
    /// That of `compute`.
    #[inline(always)]
    unsafe fn store(&self, sums: &[f32], streamed: Range<usize>, shared: Range<usize>) {
        let Product { y, epilogue, .. } = self.product;
        let (rows, columns) = if self.rows_streamed { (streamed, shared) } else { (shared, streamed) };
        // SAFETY: by the caller.
        unsafe {
            if (self.streamed.side == Side::A) == self.rows_streamed {
                store::as_it_is(sums, y, rows, columns, *epilogue);
            } else {
                store::transposed(sums, y, rows, columns, *epilogue);
            }
        }
    }
}

/// Panels of the shared operand, packed.
#[derive(Clone, Copy)]
struct Block<'a> {
    /// The row or column that they begin with.
    first: usize,
    panels: usize,
    packed: &'a [u32],
}

impl Block<'_> {
    /// The panels of `range`, counted from the first, for a segment.
    fn panels(&self, segment: &Segment, range: &Range<usize>) -> &[u32] {
        let len = segment.panel_len();
        let all = &self.packed[self.panels * segment.first_step * STEP_LANES..][..self.panels * len];
        &all[range.start / PANEL * len..range.end.div_ceil(PANEL) * len]
    }
}

impl<S: Source<Elem: Halves>> Operand<'_, S> {
    /// Packs rows or columns of a segment.
    ///
    /// # Safety
    /// The CPU has the features.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pack(&self, segment: &Segment, free: Range<usize>, panels: &mut [u32], staging: &mut [S::Elem]) {
        let panel_len = segment.panel_len();
        let of_rank = segment.depth.len().div_ceil(STEP) * STEP_LANES;
        // SAFETY: by the caller.
        unsafe {
            if !segment.depth.is_empty() {
                pack(&self.main, self.side, free.clone(), segment.depth.clone(), panels, panel_len, staging);
            }
            if !segment.rank.is_empty() {
                let panels = &mut panels[of_rank..];
                pack(&self.low_rank, self.side, free, segment.rank.clone(), panels, panel_len, &mut []);
            }
        }
    }
}
