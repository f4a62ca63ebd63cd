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
use tiles::{SUMS, TILE};

/// Elements that are contracted at a time: a panel of this depth, 16 KiB, stays in the L1 cache.
const DEPTH: usize = 256;
/// Rows or columns of the shared operand that are packed at a time.
const SHARED: usize = 1024;
/// Sums that a task keeps while it goes along the contraction, 512 KiB.
const TASK: usize = 1 << 17;

const _: () = assert!(DEPTH <= MAX_RUN && DEPTH.is_multiple_of(STEP) && SHARED.is_multiple_of(PANEL));

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
    let stretches = &stretches(*dims);
    if dims.rows > dims.width {
        Plan { amx, product, streamed: left, shared: right, stretches, rows_streamed: true }.multiply();
    } else {
        Plan { amx, product, streamed: right, shared: left, stretches, rows_streamed: false }.multiply();
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

/// A part of the contraction.
#[derive(Clone)]
struct Stretch {
    low_rank: bool,
    depth: Range<usize>,
    /// Steps before this one.
    first_step: usize,
}

impl Stretch {
    fn steps(&self) -> usize {
        self.depth.len().div_ceil(STEP)
    }

    fn panel_len(&self) -> usize {
        self.steps() * 2 * TILE
    }
}

fn stretches(dims: Dims) -> Vec<Stretch> {
    let mut first_step = 0;
    let mut stretches = Vec::new();
    for (low_rank, depth) in [(false, dims.depth), (true, dims.rank)] {
        for first in (0..depth).step_by(DEPTH) {
            let stretch = Stretch { low_rank, depth: first..depth.min(first + DEPTH), first_step };
            first_step += stretch.steps();
            stretches.push(stretch);
        }
    }
    stretches
}

struct Plan<'a, S, H> {
    amx: Amx,
    product: &'a Product<'a>,
    streamed: Operand<'a, S>,
    shared: Operand<'a, H>,
    stretches: &'a [Stretch],
    /// Whether the streamed operand has the rows of y, or the columns.
    rows_streamed: bool,
}

impl<S: Source<Elem: Halves>, H: Source<Elem: Halves>> Plan<'_, S, H> {
    fn multiply(&self) {
        let steps: usize = self.stretches.iter().map(Stretch::steps).sum();
        let block = self.shared.free.div_ceil(self.shared.free.div_ceil(SHARED)).next_multiple_of(PANEL);
        for first in (0..self.shared.free).step_by(block) {
            let shared = first..self.shared.free.min(first + block);
            let panels = shared.len().div_ceil(PANEL);
            let mut packed = Scratch::new(panels * steps * 2 * TILE);
            self.pack_shared(&shared, &mut packed);
            let [size, shared_size] = self.task_size(shared.len());
            let tasks_along = self.streamed.free.div_ceil(size);
            let compute = |task: usize| {
                let (i, j) = (task % tasks_along * size, task / tasks_along * shared_size);
                let streamed = i..self.streamed.free.min(i + size);
                let part = j..shared.len().min(j + shared_size);
                // SAFETY: `Amx` is the proof that the CPU has the features; tasks have disjoint parts of y.
                unsafe { self.compute(streamed, shared.start, part, &packed, panels) };
            };
            let tasks = 0..tasks_along * shared.len().div_ceil(shared_size);
            if self.product.threads { tasks.into_par_iter().for_each(compute) } else { tasks.for_each(compute) }
        }
    }

    /// Packs the shared operand: stretch by stretch, panel by panel.
    fn pack_shared(&self, shared: &Range<usize>, mut packed: &mut [u32]) {
        let mut panels = Vec::new();
        for stretch in self.stretches {
            for first in shared.clone().step_by(PANEL) {
                let (panel, rest) = packed.split_at_mut(stretch.panel_len());
                panels.push((stretch, first..shared.end.min(first + PANEL), panel));
                packed = rest;
            }
        }
        let pack = |(stretch, free, panel): (&Stretch, Range<usize>, &mut [u32])| {
            let mut staging = vec![H::Elem::zeroed(); if H::STAGED { STAGING } else { 0 }];
            // SAFETY: `Amx` is the proof that the CPU has the features.
            unsafe { self.shared.pack(stretch, free, panel, &mut staging) };
        };
        if self.product.threads { panels.into_par_iter().for_each(pack) } else { panels.into_iter().for_each(pack) }
    }

    /// How much of the streamed and of the shared operand to make one task of, so that each thread gets several if
    /// there is work enough.
    fn task_size(&self, shared: usize) -> [usize; 2] {
        let tasks = if self.product.threads { 3 * rayon::current_num_threads() } else { 1 };
        let fits = TASK / shared.next_multiple_of(PANEL);
        let size = self.streamed.free.div_ceil(tasks).min(fits).min(MAX_RUN).next_multiple_of(PANEL);
        let splits = tasks.div_ceil(self.streamed.free.div_ceil(size)).min(shared.div_ceil(128));
        [size, shared.div_ceil(splits).next_multiple_of(PANEL)]
    }

    /// # Safety
    /// The CPU has the features; nobody else uses this part of y.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn compute(
        &self,
        streamed: Range<usize>,
        shared_start: usize,
        shared: Range<usize>,
        packed: &[u32],
        shared_panels: usize,
    ) {
        let Product { y, ending, .. } = self.product;
        let mut tiles = self.amx.tiles();
        let mut staging = vec![S::Elem::zeroed(); if S::STAGED { STAGING } else { 0 }];
        let panels = streamed.len().div_ceil(PANEL);
        let mut own = Scratch::<u32>::new(panels * DEPTH / STEP * 2 * TILE);
        let kept = if self.stretches.len() > 1 { panels * shared.len().div_ceil(PANEL) } else { 1 };
        let mut sums = Scratch::<f32>::new(kept * SUMS);
        for (index, stretch) in self.stretches.iter().enumerate() {
            let len = stretch.panel_len();
            // SAFETY: by the caller.
            unsafe { self.streamed.pack(stretch, streamed.clone(), &mut own[..panels * len], &mut staging) };
            let packed = &packed[shared_panels * stretch.first_step * 2 * TILE..][..shared_panels * len];
            let mut places = (0..kept).cycle();
            for (i, own) in streamed.clone().step_by(PANEL).zip(own.chunks_exact(len)) {
                for (j, packed) in
                    shared.clone().step_by(PANEL).zip(packed[shared.start / PANEL * len..].chunks_exact(len))
                {
                    let place = places.next().unwrap_or_default();
                    let sums = &mut sums[place * SUMS..][..SUMS];
                    let (a, b) = if self.streamed.side == Side::A { (own, packed) } else { (packed, own) };
                    tiles.add_product(a, b, sums, index == 0);
                    if index + 1 == self.stretches.len() {
                        let streamed = i..streamed.end.min(i + PANEL);
                        let shared = shared_start + j..shared_start + shared.end.min(j + PANEL);
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
            }
        }
    }
}

impl<S: Source<Elem: Halves>> Operand<'_, S> {
    /// # Safety
    /// The CPU has the features.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn pack(&self, stretch: &Stretch, free: Range<usize>, panels: &mut [u32], staging: &mut [S::Elem]) {
        let depth = stretch.depth.clone();
        // SAFETY: by the caller.
        unsafe {
            if stretch.low_rank {
                pack(&self.low_rank, self.side, free, depth, panels, &mut []);
            } else {
                pack(&self.main, self.side, free, depth, panels, staging);
            }
        }
    }
}
