//! The forward pass for segments of one query each, as in generation: no matmuls, one pass over the cache.

use rayon::prelude::*;

use super::super::vector::{axpy, dot, exp_of_row, scale, vectorized};
use super::Attention;
use super::segments::Segment;

/// Elements of k that are worth a task of their own.
const TASK: usize = 1 << 16;

impl Attention {
    /// o for the rows of q, k and v, where every segment has one query.
    pub(super) fn decode(&self, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let segments: Vec<Segment> = self.segments.iter().collect();
        let width = self.group() * self.head_dim;
        let mut o = vec![0f32; q.len()];
        let group_of = |(index, (o, q)): (usize, (&mut [f32], &[f32]))| {
            let (segment, kv_head) = (&segments[index / self.kv_heads], index % self.kv_heads);
            vectorized(
                #[inline(always)]
                || self.decode_group(segment, kv_head, q, k, v, o),
            );
        };
        if k.len() <= TASK {
            o.chunks_mut(width).zip(q.chunks(width)).enumerate().for_each(group_of);
        } else {
            o.par_chunks_mut(width).zip(q.par_chunks(width)).enumerate().for_each(group_of);
        }
        o
    }

    /// The query heads that share one key head, so that its keys and values are read once for all of them.
    #[inline(always)]
    fn decode_group<'a>(
        &self,
        segment: &Segment,
        kv_head: usize,
        q: &[f32],
        k: &'a [f32],
        v: &'a [f32],
        o: &mut [f32],
    ) {
        let (keys, head_dim, scores_scale) = (segment.k.len(), self.head_dim, self.scale());
        let head_of = |packed: &'a [f32], key: usize| {
            &packed[((segment.k.start + key) * self.kv_heads + kv_head) * head_dim..][..head_dim]
        };
        let mut scores = vec![0f32; self.group() * keys];
        for key in 0..keys {
            let k = head_of(k, key);
            for (member, q) in q.chunks_exact(head_dim).enumerate() {
                scores[member * keys + key] = dot(q, k) * scores_scale;
            }
        }
        for scores in scores.chunks_exact_mut(keys) {
            let (_, sum) = exp_of_row(scores);
            scale(scores, 1.0 / sum);
        }
        for key in 0..keys {
            let v = head_of(v, key);
            for (member, o) in o.chunks_exact_mut(head_dim).enumerate() {
                axpy(o, scores[member * keys + key], v);
            }
        }
    }
}
