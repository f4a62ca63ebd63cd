//! The forward pass, a block of queries at a time.

use std::ops::Range;

use rayon::prelude::*;
use tunebook_gemm::{Accum, View, ViewMut};

use super::super::vector::{scale, vectorized};
use super::segments::Segment;
use super::{Attention, MAX_BLOCK, block_rows, exp_of_visible};

/// The output of some queries of one head, contiguous.
struct Block<'a> {
    segment: usize,
    head: usize,
    /// Counted from the segment's first query.
    queries: Range<usize>,
    o: &'a mut [f32],
}

impl Attention {
    /// o for the rows of q, k and v.
    pub(super) fn forward(&self, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let segments: Vec<Segment> = self.segments.iter().collect();
        let mut by_head = vec![0f32; q.len()];
        let blocks = self.blocks(&segments, &mut by_head);
        blocks.into_par_iter().for_each_init(Vec::new, |scores, block| {
            self.forward_block(&segments[block.segment], block.head, block.queries, [q, k, v], scores, block.o);
        });
        self.pack(&by_head, |segment| segments[segment].q.clone(), 1)
    }

    fn blocks<'a>(&self, segments: &[Segment], mut by_head: &'a mut [f32]) -> Vec<Block<'a>> {
        let mut blocks = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            let rows = block_rows(segment.k.len());
            for head in 0..self.heads {
                for first in (0..segment.q.len()).step_by(rows) {
                    let queries = first..segment.q.len().min(first + rows);
                    let (o, rest) = std::mem::take(&mut by_head).split_at_mut(queries.len() * self.head_dim);
                    blocks.push(Block { segment: index, head, queries, o });
                    by_head = rest;
                }
            }
        }
        blocks
    }

    fn forward_block(
        &self,
        segment: &Segment,
        head: usize,
        queries: Range<usize>,
        [q, k, v]: [&[f32]; 3],
        scores: &mut Vec<f32>,
        o: &mut [f32],
    ) {
        let keys = segment.visible(queries.end - 1);
        let q = self.rows_of_head(q, segment.q.start + queries.start, queries.len(), head, self.heads);
        let k = self.rows_of_head(k, segment.k.start, keys, head / self.group(), self.kv_heads);
        let v = self.rows_of_head(v, segment.k.start, keys, head / self.group(), self.kv_heads);
        scores.resize(queries.len() * keys, 0.0);
        self.gemm(self.scale(), q, k.t(), ViewMut::rows(scores, [queries.len(), keys]), Accum::Replace);
        let mut reciprocal_sums = [0f32; MAX_BLOCK];
        vectorized(
            #[inline(always)]
            || {
                for ((query, scores), reciprocal) in
                    queries.clone().zip(scores.chunks_exact_mut(keys)).zip(&mut reciprocal_sums)
                {
                    *reciprocal = exp_of_visible(scores, segment.visible(query));
                }
            },
        );
        let p = View::rows(scores, [queries.len(), keys]);
        self.gemm(1.0, p, v, ViewMut::rows(o, [queries.len(), self.head_dim]), Accum::Replace);
        // Dividing o, and not the longer rows of scores, by their sums.
        for (o, reciprocal) in o.chunks_exact_mut(self.head_dim).zip(reciprocal_sums) {
            scale(o, reciprocal);
        }
    }

    /// `count` packed rows from `first`, of one of `heads` heads.
    pub(super) fn rows_of_head<'a>(
        &self,
        packed: &'a [f32],
        first: usize,
        count: usize,
        head: usize,
        heads: usize,
    ) -> View<'a> {
        let width = heads * self.head_dim;
        View::new(&packed[first * width + head * self.head_dim..], [count, self.head_dim], [width, 1])
    }
}
