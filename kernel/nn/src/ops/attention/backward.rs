//! The backward pass: attention scores are recomputed, a block of queries at a time.

use rayon::prelude::*;
use tunebook_gemm::{Accum, View, ViewMut};

use super::super::vector::{dot, scale, vectorized};
use super::segments::Segment;
use super::{Attention, block_rows, exp_of_visible};

/// The gradients of one head in one segment, contiguous; those of k and v are this query head's share.
struct HeadGradients<'a> {
    segment: usize,
    head: usize,
    dq: &'a mut [f32],
    dk: &'a mut [f32],
    dv: &'a mut [f32],
}

/// What a task works in: p, then dp turned into ds, of one block.
#[derive(Default)]
struct Scratch {
    p: Vec<f32>,
    ds: Vec<f32>,
}

impl Attention {
    /// The gradients of q, k and v.
    ///
    /// With p = softmax(s), s = scale q kᵀ: dv = pᵀ do, dp = do vᵀ, ds = p · (dp - rowsum(do · o)),
    /// dq = scale ds k, dk = scale dsᵀ q.
    pub(super) fn backward(
        &self,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        o: &[f32],
        d_o: &[f32],
    ) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let segments: Vec<Segment> = self.segments.iter().collect();
        let mut dq = vec![0f32; q.len()];
        let mut dk = vec![0f32; k.len() * self.group()];
        let mut dv = vec![0f32; v.len() * self.group()];
        let tasks = self.tasks(&segments, &mut dq, &mut dk, &mut dv);
        tasks.into_par_iter().for_each_init(Scratch::default, |scratch, task| {
            self.backward_head(&segments[task.segment], [q, k, v, o, d_o], scratch, task);
        });
        (
            self.pack(&dq, |segment| segments[segment].q.clone(), 1),
            self.pack(&dk, |segment| segments[segment].k.clone(), self.group()),
            self.pack(&dv, |segment| segments[segment].k.clone(), self.group()),
        )
    }

    fn tasks<'a>(
        &self,
        segments: &[Segment],
        mut dq: &'a mut [f32],
        mut dk: &'a mut [f32],
        mut dv: &'a mut [f32],
    ) -> Vec<HeadGradients<'a>> {
        let mut tasks = Vec::with_capacity(segments.len() * self.heads);
        for (index, segment) in segments.iter().enumerate() {
            for head in 0..self.heads {
                let take = |from: &mut &'a mut [f32], rows: usize| {
                    let (own, rest) = std::mem::take(from).split_at_mut(rows * self.head_dim);
                    *from = rest;
                    own
                };
                tasks.push(HeadGradients {
                    segment: index,
                    head,
                    dq: take(&mut dq, segment.q.len()),
                    dk: take(&mut dk, segment.k.len()),
                    dv: take(&mut dv, segment.k.len()),
                });
            }
        }
        tasks
    }

    fn backward_head(
        &self,
        segment: &Segment,
        [q, k, v, o, d_o]: [&[f32]; 5],
        scratch: &mut Scratch,
        gradients: HeadGradients<'_>,
    ) {
        let (head, kv_head, head_dim) = (gradients.head, gradients.head / self.group(), self.head_dim);
        let HeadGradients { dq, dk, dv, .. } = gradients;
        let block = block_rows(segment.k.len());
        for first in (0..segment.q.len()).step_by(block) {
            let queries = first..segment.q.len().min(first + block);
            let (rows, keys) = (queries.len(), segment.visible(queries.end - 1));
            let first_row = segment.q.start + first;
            let q = self.rows_of_head(q, first_row, rows, head, self.heads);
            let d_o_rows = self.rows_of_head(d_o, first_row, rows, head, self.heads);
            let k = self.rows_of_head(k, segment.k.start, keys, kv_head, self.kv_heads);
            let v = self.rows_of_head(v, segment.k.start, keys, kv_head, self.kv_heads);
            let Scratch { p, ds } = &mut *scratch;
            p.resize(rows * keys, 0.0);
            ds.resize(rows * keys, 0.0);

            self.gemm(self.scale(), q, k.t(), ViewMut::rows(p, [rows, keys]), Accum::Replace);
            self.gemm(1.0, d_o_rows, v.t(), ViewMut::rows(ds, [rows, keys]), Accum::Replace);
            vectorized(
                #[inline(always)]
                || {
                    let blocks = p.chunks_exact_mut(keys).zip(ds.chunks_exact_mut(keys));
                    for (query, (p, ds)) in queries.clone().zip(blocks) {
                        let reciprocal = exp_of_visible(p, segment.visible(query));
                        scale(p, reciprocal);
                        let at = ((segment.q.start + query) * self.heads + head) * head_dim;
                        let mean = dot(&d_o[at..at + head_dim], &o[at..at + head_dim]);
                        for (ds, p) in ds.iter_mut().zip(p) {
                            *ds = *p * (*ds - mean);
                        }
                    }
                },
            );
            let (p, ds) = (View::rows(p, [rows, keys]), View::rows(ds, [rows, keys]));
            self.gemm(1.0, p.t(), d_o_rows, ViewMut::rows(dv, [keys, head_dim]), Accum::Add);
            let dq = &mut dq[first * head_dim..];
            self.gemm(self.scale(), ds, k, ViewMut::rows(dq, [rows, head_dim]), Accum::Replace);
            self.gemm(self.scale(), ds.t(), q, ViewMut::rows(dk, [keys, head_dim]), Accum::Add);
        }
    }
}
