//! Products of bf16 by tiles (AMX), of any shape but few rows. The larger operand is streamed: each task multiplies its
//! part, some rows or columns and a segment of the contraction at a time, with all of the other operand, which the tasks
//! share and which is packed before. While a part is multiplied, the next one is packed: the tile unit computes by
//! itself, and the rest of the CPU reads memory.

mod operand;
mod pack;
mod store;
mod tiles;

use std::ops::Range;

use rayon::prelude::*;

use crate::product::Product;
use crate::scratch::Scratch;
use crate::source::{Factor, Source, Stored};
use operand::{Operand, Packing, Segment, segments};
pub(crate) use pack::Halves;
use pack::{PANEL, STEP_LANES, Side, cost_of_packing};
pub(crate) use tiles::Amx;
use tiles::{Beside, SUMS, Start};

/// The most elements that are contracted at a time.
const DEPTH: usize = 1024;
/// Rows or columns of the streamed operand that are packed at a time, if they are read as they are stored.
const CHUNK: usize = 128;
/// The same, if they are decoded first, which is faster in longer runs.
const CHUNK_TO_DECODE: usize = 256;
/// Rows or columns of the shared operand that are packed at a time, which bounds the buffer.
const SHARED: usize = 1024;

const _: () = assert!(SHARED.is_multiple_of(PANEL) && CHUNK.is_multiple_of(PANEL));

/// Computes a product. b is contracted as w is.
pub(crate) fn multiply<W>(amx: Amx, product: &Product<'_>, w: Factor<W>, b: Stored<'_, f32>)
where
    W: Source<Elem: Halves>,
{
    let Product { x, h, dims, .. } = product;
    let tiles = |size: usize| size.div_ceil(16);
    let (left, right) = (tiles(dims.rows) * tiles(dims.depth), tiles(dims.width) * tiles(dims.depth));
    let sums = tiles(dims.rows) * tiles(dims.width);
    let cost = |left_side, right_side, store| {
        left * cost_of_packing(x.contract, left_side) + right * cost_of_packing(w.contract, right_side) + sums * store
    };
    let transposed = cost(Side::B, Side::A, 80) < cost(Side::A, Side::B, 32);
    let (left_side, right_side) = if transposed { (Side::B, Side::A) } else { (Side::A, Side::B) };
    let left = Operand { main: *x, low_rank: *h, side: left_side, free: dims.rows };
    let right = Operand { main: w, low_rank: b, side: right_side, free: dims.width };
    let rows_streamed = dims.rows > dims.width;
    let segments = &segments(*dims, DEPTH);
    if rows_streamed {
        Plan { amx, product, streamed: left, shared: right, segments, rows_streamed }.multiply();
    } else {
        Plan { amx, product, streamed: right, shared: left, segments, rows_streamed }.multiply();
    }
}

struct Plan<'a, S, H> {
    amx: Amx,
    product: &'a Product<'a>,
    streamed: Operand<'a, S>,
    shared: Operand<'a, H>,
    segments: &'a [Segment],
    /// Whether the streamed operand has the rows of y, or the columns.
    rows_streamed: bool,
}

impl<S: Source<Elem: Halves>, H: Source<Elem: Halves>> Plan<'_, S, H> {
    const CHUNK: usize = if S::STAGED { CHUNK_TO_DECODE } else { CHUNK };

    fn multiply(&self) {
        let steps: usize = self.segments.iter().map(Segment::steps).sum();
        let size = self.shared.free.div_ceil(self.shared.free.div_ceil(SHARED)).next_multiple_of(PANEL);
        for first in (0..self.shared.free).step_by(size) {
            let shared = first..self.shared.free.min(first + size);
            let panels = shared.len().div_ceil(PANEL);
            let mut packed = Scratch::new(panels * steps * STEP_LANES);
            self.pack_shared(&shared, &mut packed);
            let block = Block { first, panels, steps, packed: &packed };
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
            // SAFETY: `Amx` is the proof that the CPU has the features.
            unsafe { Packing::new(&self.shared, segment, free, &mut Vec::new(), panel).finish() };
        };
        if self.product.threads { panels.into_par_iter().for_each(pack) } else { panels.into_iter().for_each(pack) }
    }

    /// How much of the streamed and of the shared operand to make one task of, so that each thread gets several if
    /// there is work enough.
    fn task_size(&self, shared: usize) -> [usize; 2] {
        let tasks = match rayon::current_num_threads() {
            threads if self.product.threads && threads > 1 => {
                threads * (self.streamed.free / (4 * Self::CHUNK)).clamp(1, 3)
            }
            _ => 1,
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
        let mut staging = Vec::new();
        let longest = self.segments.iter().map(Segment::panel_len).max().unwrap_or_default();
        let room = Self::CHUNK.min(streamed.len()).div_ceil(PANEL) * longest;
        let [mut own, mut next] = [Scratch::<u32>::new(room), Scratch::<u32>::new(room)];
        let panels = [&streamed, &shared].map(|range| range.len().div_ceil(PANEL));
        let mut kept = Scratch::<f32>::new(if self.segments.len() > 1 { panels[0] * panels[1] * SUMS } else { 0 });
        let mut done = Scratch::<f32>::new(SUMS);

        let chunk = |first: usize| first..streamed.end.min(first + Self::CHUNK);
        let chunks = || streamed.clone().step_by(Self::CHUNK).map(chunk);
        let mut parts = self.segments.iter().flat_map(|segment| chunks().map(move |chunk| (segment, chunk))).peekable();
        if let Some((segment, chunk)) = parts.peek() {
            // SAFETY: by the caller.
            unsafe { Packing::new(&self.streamed, segment, chunk.clone(), &mut staging, &mut own).finish() };
        }
        while let Some((segment, chunk)) = parts.next() {
            let packing = parts
                .peek()
                .map(|(segment, chunk)| Packing::new(&self.streamed, segment, chunk.clone(), &mut staging, &mut next));
            let mut ahead = Ahead { packing, every: panels[1], left: panels[1] };
            let (len, is_first, is_last) =
                (segment.panel_len(), segment.first_step == 0, segment.first_step + segment.steps() == block.steps);
            let before = (chunk.start - streamed.start) / PANEL * panels[1] * SUMS;
            let mut kept = kept.get_mut(before..).unwrap_or_default().chunks_exact_mut(SUMS);
            for (packed, j) in block.panels(segment, &shared).chunks_exact(len).zip(shared.clone().step_by(PANEL)) {
                for (own, i) in own.chunks_exact(len).zip(chunk.clone().step_by(PANEL)) {
                    let (a, b) = if self.streamed.side == Side::A { (own, packed) } else { (packed, own) };
                    let before = kept.next();
                    // SAFETY: by the caller.
                    unsafe {
                        if !is_last {
                            let start = if is_first { Start::Zero } else { Start::There };
                            tiles.add_product(a, b, start, before.unwrap_or_default(), &mut ahead);
                            continue;
                        }
                        let start = before.map_or(Start::Zero, |sums| Start::Sums(sums));
                        tiles.add_product(a, b, start, &mut done, &mut ahead);
                        let own = i..chunk.end.min(i + PANEL);
                        let shared = block.first + j..block.first + shared.end.min(j + PANEL);
                        self.store(&done, own, shared);
                    }
                }
            }
            if let Some(packing) = &mut ahead.packing {
                // SAFETY: by the caller.
                unsafe { packing.finish() };
            }
            std::mem::swap(&mut own, &mut next);
        }
    }

    /// Writes the sums of a panel by a panel.
    ///
    /// # Safety
    /// That of `compute`.
    #[inline(always)]
    unsafe fn store(&self, sums: &[f32], streamed: Range<usize>, shared: Range<usize>) {
        let Product { y, ending, .. } = self.product;
        let (rows, columns) = if self.rows_streamed { (streamed, shared) } else { (shared, streamed) };
        // SAFETY: by the caller.
        unsafe {
            if (self.streamed.side == Side::A) == self.rows_streamed {
                store::as_it_is(sums, y, rows, columns, *ending);
            } else {
                store::transposed(sums, y, rows, columns, *ending);
            }
        }
    }
}

/// The packing of what is multiplied next, one of its steps in each `every` steps of the product.
struct Ahead<'a, E> {
    packing: Option<Packing<'a, E>>,
    every: usize,
    left: usize,
}

impl<E: Halves> Beside for Ahead<'_, E> {
    #[inline(always)]
    unsafe fn step(&mut self) {
        self.left -= 1;
        if self.left == 0 {
            self.left = self.every;
            if let Some(packing) = &mut self.packing {
                // SAFETY: by the caller.
                unsafe { packing.advance() };
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
    steps: usize,
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
