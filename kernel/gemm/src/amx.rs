//! Products of bf16 by tiles (AMX), of any shape but few rows. One operand is shared: packed once, some rows of it at
//! a time. The other one, the larger, is streamed: each task packs its part, a stretch of the contraction at a time,
//! small enough to stay in the L1 and L2 caches while it is multiplied with all that is shared.

mod pack;
mod store;
mod tiles;

use std::ops::Range;

use bytemuck::Zeroable;
use rayon::prelude::*;

use crate::product::{Dims, Product};
use crate::scratch::Scratch;
use crate::source::{Contract, Factor, Source, Stored};
pub(crate) use pack::Halves;
use pack::{MAX_RUN, PANEL, STAGING, STEP, Side, cost_of_packing, pack};
pub(crate) use tiles::Amx;
use tiles::{Passing, SUMS, TILE, Tiles};

/// Steps of the contraction that are multiplied at a time: of a panel 32 KiB, which stay in the L1 cache.
const STEPS: usize = 16;
/// Elements of the contraction after which other rows or columns of the streamed operand get their turn.
const DEPTH: usize = 2048;
/// Elements of the contraction that are packed at a time if they are in different rows. Memory is read fastest in long
/// runs: of a row many elements, or of many columns some.
const FEW: usize = 512;
/// Lanes of the shared operand in `DEPTH`, 1 MiB: they stay in the L2 cache.
const SHARED: usize = 1 << 18;
/// The most lanes of the streamed operand that are packed at a time, 256 KiB.
const OWN: usize = 1 << 16;
/// Lanes of a panel's step.
const STEP_LANES: usize = 2 * TILE;

const _: () = assert!(DEPTH <= MAX_RUN && DEPTH.is_multiple_of(STEP) && DEPTH.is_multiple_of(FEW));

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
    let h = Factor { source: *h, contract: Contract::RowElements };
    let b = Factor { source: b, contract: w.contract };
    let left = Operand { main: *x, low_rank: h, side: left_side, free: dims.rows };
    let right = Operand { main: w, low_rank: b, side: right_side, free: dims.width };
    let rows_streamed = dims.rows > dims.width;
    let contract = if rows_streamed { x.contract } else { w.contract };
    let together = if contract == Contract::RowElements { DEPTH } else { FEW };
    let segments = &segments(*dims, together);
    if rows_streamed {
        Plan { amx, product, streamed: left, shared: right, segments, rows_streamed }.multiply();
    } else {
        Plan { amx, product, streamed: right, shared: left, segments, rows_streamed }.multiply();
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

/// A part of the contraction, packed at once.
struct Segment {
    low_rank: bool,
    depth: Range<usize>,
    /// Steps before this segment.
    first_step: usize,
}

impl Segment {
    fn steps(&self) -> usize {
        self.depth.len().div_ceil(STEP)
    }

    fn panel_len(&self) -> usize {
        self.steps() * STEP_LANES
    }
}

/// Segments of about equal length, at most `longest`.
fn segments(dims: Dims, longest: usize) -> Vec<Segment> {
    let mut first_step = 0;
    let mut segments = Vec::new();
    for (low_rank, depth) in [(false, dims.depth), (true, dims.rank)] {
        let length = depth.div_ceil(depth.div_ceil(longest).max(1)).next_multiple_of(STEP).max(STEP);
        for first in (0..depth).step_by(length) {
            let segment = Segment { low_rank, depth: first..depth.min(first + length), first_step };
            first_step += segment.steps();
            segments.push(segment);
        }
    }
    segments
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
    fn multiply(&self) {
        let groups = self.groups();
        let steps = |group: &&[Segment]| group.iter().map(Segment::steps).sum::<usize>();
        let longest = groups.iter().map(steps).max().unwrap_or(1);
        let fits = (SHARED / (longest * STEP_LANES)).max(1) * PANEL;
        let size = self.shared.free.div_ceil(self.shared.free.div_ceil(fits)).next_multiple_of(PANEL);
        let steps: usize = groups.iter().map(steps).sum();
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
                unsafe { self.compute(&groups, streamed, part, block) };
            };
            let tasks = 0..tasks_along * shared.len().div_ceil(shared_size);
            if self.product.threads { tasks.into_par_iter().for_each(compute) } else { tasks.for_each(compute) }
        }
    }

    /// Segments that are multiplied one after another, before other rows or columns of the streamed operand are.
    fn groups(&self) -> Vec<&[Segment]> {
        let main = self.segments.iter().filter(|segment| !segment.low_rank).count();
        let length =
            self.segments.first().map_or(1, |segment| DEPTH / segment.depth.len().next_multiple_of(STEP)).max(1);
        let mut groups = Vec::new();
        let mut rest = self.segments;
        // What is of low rank is short and goes with the last group.
        for _ in 1..main.div_ceil(length) {
            let (group, others) = rest.split_at(length);
            groups.push(group);
            rest = others;
        }
        groups.push(rest);
        groups
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
            let mut staging = vec![H::Elem::zeroed(); if H::STAGED { STAGING } else { 0 }];
            // SAFETY: `Amx` is the proof that the CPU has the features.
            unsafe { self.shared.pack(segment, free, panel, &mut staging) };
        };
        if self.product.threads { panels.into_par_iter().for_each(pack) } else { panels.into_iter().for_each(pack) }
    }

    /// How much of the streamed and of the shared operand to make one task of, so that each thread gets several if
    /// there is work enough.
    fn task_size(&self, shared: usize) -> [usize; 2] {
        let tasks = if self.product.threads { 3 * rayon::current_num_threads() } else { 1 };
        let size = self.streamed.free.div_ceil(tasks).next_multiple_of(PANEL);
        let splits = tasks.div_ceil(self.streamed.free.div_ceil(size)).min(shared.div_ceil(128));
        [size, shared.div_ceil(splits).next_multiple_of(PANEL)]
    }

    /// Computes a part of y.
    ///
    /// # Safety
    /// The CPU has the features; nobody else uses this part of y.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn compute(&self, groups: &[&[Segment]], streamed: Range<usize>, shared: Range<usize>, block: Block<'_>) {
        let mut tiles = self.amx.tiles();
        let mut staging = vec![S::Elem::zeroed(); if S::STAGED { STAGING } else { 0 }];
        let shared_panels = shared.len().div_ceil(PANEL);
        let longest = self.segments.iter().map(Segment::panel_len).max().unwrap_or(1);
        let chunk_panels = (OWN / longest).clamp(1, MAX_RUN / PANEL).min(streamed.len().div_ceil(PANEL));
        let chunks = streamed.len().div_ceil(chunk_panels * PANEL);
        let mut own = Scratch::<u32>::new(chunk_panels * longest);
        // With several groups, all chunks' sums are kept from one group to the next.
        let kept = if groups.len() > 1 { chunks } else { 1 };
        let mut sums = Scratch::<f32>::new(kept * chunk_panels * shared_panels * SUMS);
        for (g, group) in groups.iter().enumerate() {
            for (c, first) in streamed.clone().step_by(chunk_panels * PANEL).enumerate() {
                let chunk = first..streamed.end.min(first + chunk_panels * PANEL);
                let sums = &mut sums[c % kept * chunk_panels * shared_panels * SUMS..];
                for (s, segment) in group.iter().enumerate() {
                    let own = &mut own[..chunk.len().div_ceil(PANEL) * segment.panel_len()];
                    // SAFETY: by the caller.
                    unsafe { self.streamed.pack(segment, chunk.clone(), own, &mut staging) };
                    let packed = block.panels(segment, &shared);
                    self.add_products(&mut tiles, own, packed, segment.steps(), sums, g + s == 0);
                }
                if g + 1 == groups.len() {
                    // SAFETY: by the caller.
                    unsafe { self.store(sums, chunk, block.first + shared.start..block.first + shared.end) };
                }
            }
        }
    }

    /// Adds the products of all pairs of panels, as many steps at a time as stay in the L1 cache.
    #[inline(always)]
    fn add_products(
        &self,
        tiles: &mut Tiles,
        own: &[u32],
        packed: &[u32],
        steps: usize,
        sums: &mut [f32],
        fresh: bool,
    ) {
        let length = steps.div_ceil(steps.div_ceil(STEPS));
        for first in (0..steps).step_by(length) {
            let part = first * STEP_LANES..steps.min(first + length) * STEP_LANES;
            let mut sums = sums.chunks_exact_mut(SUMS);
            for own in own.chunks_exact(steps * STEP_LANES) {
                for (packed, sums) in packed.chunks_exact(steps * STEP_LANES).zip(&mut sums) {
                    let (own, packed) = (&own[part.clone()], &packed[part.clone()]);
                    match self.streamed.side {
                        Side::A => tiles.add_product(own, packed, sums, fresh && first == 0, Passing::B),
                        Side::B => tiles.add_product(packed, own, sums, fresh && first == 0, Passing::A),
                    }
                }
            }
        }
    }

    /// Writes the sums of a part of y. The shared dimension goes first, so that rows are written in long pieces.
    ///
    /// # Safety
    /// That of `compute`.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn store(&self, sums: &[f32], streamed: Range<usize>, shared: Range<usize>) {
        let Product { y, ending, .. } = self.product;
        let shared_panels = shared.len().div_ceil(PANEL);
        for (j, first) in shared.clone().step_by(PANEL).enumerate() {
            let shared = first..shared.end.min(first + PANEL);
            for (i, first) in streamed.clone().step_by(PANEL).enumerate() {
                let streamed = first..streamed.end.min(first + PANEL);
                let sums = &sums[(i * shared_panels + j) * SUMS..][..SUMS];
                let (rows, columns) =
                    if self.rows_streamed { (streamed, shared.clone()) } else { (shared.clone(), streamed) };
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
        let depth = segment.depth.clone();
        // SAFETY: by the caller.
        unsafe {
            if segment.low_rank {
                pack(&self.low_rank, self.side, free, depth, panels, &mut []);
            } else {
                pack(&self.main, self.side, free, depth, panels, staging);
            }
        }
    }
}
