//! An operand of a product, and the packing of its parts, which goes on a step at a time while others are multiplied.

use std::ops::Range;

use super::pack::{Halves, PANEL, STEP, STEP_LANES, Side, pack_step};
use crate::product::Dims;
use crate::source::{Contract, Factor, Source, Stored};

/// A matrix and what is contracted after it.
pub(super) struct Operand<'a, S> {
    pub(super) main: Factor<S>,
    /// Contracted as `main` is.
    pub(super) low_rank: Stored<'a, f32>,
    pub(super) side: Side,
    /// The size of the dimension that is not contracted.
    pub(super) free: usize,
}

/// A part of the contraction, multiplied at once.
pub(super) struct Segment {
    depth: Range<usize>,
    rank: Range<usize>,
    /// Steps before this segment.
    pub(super) first_step: usize,
}

impl Segment {
    pub(super) fn steps(&self) -> usize {
        self.depth.len().div_ceil(STEP) + self.rank.len().div_ceil(STEP)
    }

    pub(super) fn panel_len(&self) -> usize {
        self.steps() * STEP_LANES
    }
}

/// Segments of about equal length, at most `longest` and what belongs to the low-rank part, which is in the last.
pub(super) fn segments(dims: Dims, longest: usize) -> Vec<Segment> {
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

/// The packing of a part of an operand: its panels, each of as many steps as the segment has.
pub(super) struct Packing<'a, E> {
    main: Stored<'a, E>,
    low_rank: Stored<'a, f32>,
    layout: (Contract, Side),
    /// Rows or columns.
    free: usize,
    depth: usize,
    rank: usize,
    panels: usize,
    steps: usize,
    /// What is to be packed next.
    panel: usize,
    step: usize,
    to: &'a mut [u32],
}

impl<'a, E: Halves> Packing<'a, E> {
    /// Of the rows or columns `free` and a segment; `to` has room for the panels.
    #[inline(always)]
    pub(super) fn new<S: Source<Elem = E>>(
        operand: &'a Operand<'_, S>,
        segment: &Segment,
        free: Range<usize>,
        staging: &'a mut Vec<E>,
        to: &'a mut [u32],
    ) -> Self {
        let Operand { main, low_rank, side, .. } = operand;
        let Segment { depth, rank, .. } = segment;
        let (source, contract) = (&main.source, main.contract);
        let part = |depth: &Range<usize>| match contract {
            _ if depth.is_empty() => (0..0, 0..0),
            Contract::RowElements => (free.clone(), depth.clone()),
            Contract::Rows => (depth.clone(), free.clone()),
        };
        let (rows, columns) = part(depth);
        let main = source.part(rows, columns, staging);
        let (rows, columns) = part(rank);
        let low_rank = Stored { data: &low_rank.data[rows.start * low_rank.stride + columns.start..], ..*low_rank };
        let (panels, steps) = (free.len().div_ceil(PANEL), segment.steps());
        let (depth, rank, layout) = (depth.len(), rank.len(), (contract, *side));
        Packing { main, low_rank, layout, free: free.len(), depth, rank, panels, steps, panel: 0, step: 0, to }
    }

    /// Packs a step of a panel, if there is one left. Steps follow each other in the order in which they lie in memory.
    ///
    /// # Safety
    /// The CPU has the features.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn advance(&mut self) {
        if self.is_finished() {
            return;
        }
        let free = self.panel * PANEL..self.free.min((self.panel + 1) * PANEL);
        let tiles = &mut self.to[(self.panel * self.steps + self.step) * STEP_LANES..][..STEP_LANES];
        let main_steps = self.depth.div_ceil(STEP);
        // SAFETY: this function is compiled for the features.
        unsafe {
            if self.step < main_steps {
                let first = self.step * STEP;
                pack_step(self.main, self.layout, free, first..self.depth.min(first + STEP), tiles);
            } else {
                let first = (self.step - main_steps) * STEP;
                pack_step(self.low_rank, self.layout, free, first..self.rank.min(first + STEP), tiles);
            }
        }
        let (inner, outer) = match self.layout.0 {
            Contract::RowElements => ((&mut self.step, self.steps), &mut self.panel),
            Contract::Rows => ((&mut self.panel, self.panels), &mut self.step),
        };
        *inner.0 += 1;
        if *inner.0 == inner.1 {
            *inner.0 = 0;
            *outer += 1;
        }
    }

    /// Packs what is left.
    ///
    /// # Safety
    /// That of [`Packing::advance`].
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) unsafe fn finish(&mut self) {
        while !self.is_finished() {
            // SAFETY: by the caller.
            unsafe { self.advance() };
        }
    }

    fn is_finished(&self) -> bool {
        self.panel == self.panels || self.step == self.steps
    }
}
