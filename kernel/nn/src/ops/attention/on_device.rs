//! Attention for tensors that do not lie in CPU memory, a batch of queries at a time.

use std::ops::Range;

use candle_core::{D, DType, Device, Result, Tensor};

use super::super::on_device::{product_nn, product_nt, product_tn};
use super::Attention;

/// The most scores that exist at a time: 256 MiB of them.
const SCORES: usize = 1 << 26;

/// Queries that are scored together: those of some segments of the same size, or some of those of one segment.
struct Batch {
    q: Range<usize>,
    k: Range<usize>,
    segments: usize,
    /// How many keys of its segment the first query of each sees, where later ones see one more each; all of them else.
    first_sees: Option<usize>,
}

impl Attention {
    pub(super) fn on_device(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let mut outputs = Vec::new();
        for batch in self.batches() {
            let (q, k, v) = (self.queries(&batch, q)?, self.keys(&batch, k)?, self.keys(&batch, v)?);
            let p = self.probabilities(&batch, &q, &k)?;
            outputs.push(self.packed_queries(&batch, &product_nn(&p, &v, self.precision)?)?);
        }
        match outputs.is_empty() {
            true => q.zeros_like(),
            false => Tensor::cat(&outputs, 0),
        }
    }

    pub(super) fn backward_on_device(&self, [q, k, v, o]: [&Tensor; 4], d_o: &Tensor) -> Result<[Tensor; 3]> {
        let (precision, scale) = (self.precision, f64::from(self.scale()));
        let [dq, dk, dv] = [q.zeros_like()?, k.zeros_like()?, v.zeros_like()?];
        for batch in self.batches() {
            let [q, o, d_o] = [self.queries(&batch, q)?, self.queries(&batch, o)?, self.queries(&batch, d_o)?];
            let (k, v) = (self.keys(&batch, k)?, self.keys(&batch, v)?);
            let p = self.probabilities(&batch, &q, &k)?;
            let passed_on = (&d_o * o)?.sum_keepdim(D::Minus1)?;
            let ds = ((&p * product_nt(&d_o, &v, precision)?.broadcast_sub(&passed_on)?)? * scale)?;
            dq.slice_set(&self.packed_queries(&batch, &product_nn(&ds, &k, precision)?)?, 0, batch.q.start)?;
            for (sum, part) in [(&dk, product_tn(&ds, &q, precision)?), (&dv, product_tn(&p, &d_o, precision)?)] {
                let before = sum.narrow(0, batch.k.start, batch.k.len())?;
                sum.slice_set(&(before + self.packed_keys(&batch, &part)?)?, 0, batch.k.start)?;
            }
        }
        Ok([dq, dk, dv])
    }

    /// All queries, in their order.
    fn batches(&self) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        for segment in self.segments.iter().filter(|segment| !segment.q.is_empty()) {
            let (queries, keys) = (segment.q.len(), segment.k.len());
            let joined = batches.last_mut().filter(|last| {
                let goes_on = |range: &Range<usize>, own: &Range<usize>| {
                    range.end == own.start && range.len() == last.segments * own.len()
                };
                let scores = (last.segments + 1) * self.heads * queries * keys;
                goes_on(&last.q, &segment.q) && goes_on(&last.k, &segment.k) && scores <= SCORES
            });
            if let Some(last) = joined {
                (last.q.end, last.k.end, last.segments) = (segment.q.end, segment.k.end, last.segments + 1);
                continue;
            }
            let at_once = (SCORES / (self.heads * keys)).clamp(1, queries);
            for first in (0..queries).step_by(at_once) {
                let end = queries.min(first + at_once);
                batches.push(Batch {
                    q: segment.q.start + first..segment.q.start + end,
                    k: segment.k.start..segment.k.start + segment.visible(end - 1),
                    segments: 1,
                    first_sees: (segment.causal && end - first > 1).then(|| segment.visible(first)),
                });
            }
        }
        batches
    }

    /// softmax(q kᵀ / sqrt(head_dim)), `[segments · kv_heads, group · n_q, n_k]`.
    fn probabilities(&self, batch: &Batch, q: &Tensor, k: &Tensor) -> Result<Tensor> {
        let mut scores = (product_nt(q, k, self.precision)? * f64::from(self.scale()))?;
        if let Some(first_sees) = batch.first_sees {
            let (heads, rows, keys) = scores.dims3()?;
            let queries = rows / self.group();
            let by_head = scores.reshape((heads * self.group(), queries, keys))?;
            let unseen = unseen(first_sees, queries, keys, scores.device())?;
            scores = by_head.broadcast_add(&unseen)?.reshape((heads, rows, keys))?;
        }
        candle_nn::ops::softmax_last_dim(&scores)
    }

    /// The batch's rows of x, `[segments · n_q, heads · head_dim]`, as `[segments · kv_heads, group · n_q, head_dim]`:
    /// query heads that share a key head are so many more queries of it.
    fn queries(&self, batch: &Batch, x: &Tensor) -> Result<Tensor> {
        let (segments, n) = (batch.segments, batch.q.len() / batch.segments);
        let (kv_heads, group, head_dim) = (self.kv_heads, self.group(), self.head_dim);
        let x = x.narrow(0, batch.q.start, batch.q.len())?.reshape((segments, n, kv_heads, group, head_dim))?;
        x.permute((0, 2, 3, 1, 4))?.reshape((segments * kv_heads, group * n, head_dim))
    }

    /// Back from that.
    fn packed_queries(&self, batch: &Batch, x: &Tensor) -> Result<Tensor> {
        let (segments, n) = (batch.segments, batch.q.len() / batch.segments);
        let x = x.reshape((segments, self.kv_heads, self.group(), n, self.head_dim))?;
        x.permute((0, 3, 1, 2, 4))?.reshape((segments * n, self.heads * self.head_dim))
    }

    /// The batch's rows of x, `[segments · n_k, kv_heads · head_dim]`, as `[segments · kv_heads, n_k, head_dim]`.
    fn keys(&self, batch: &Batch, x: &Tensor) -> Result<Tensor> {
        let (segments, n) = (batch.segments, batch.k.len() / batch.segments);
        let x = x.narrow(0, batch.k.start, batch.k.len())?.reshape((segments, n, self.kv_heads, self.head_dim))?;
        x.transpose(1, 2)?.reshape((segments * self.kv_heads, n, self.head_dim))
    }

    /// Back from that.
    fn packed_keys(&self, batch: &Batch, x: &Tensor) -> Result<Tensor> {
        let (segments, n) = (batch.segments, batch.k.len() / batch.segments);
        let x = x.reshape((segments, self.kv_heads, n, self.head_dim))?;
        x.transpose(1, 2)?.reshape((segments * n, self.kv_heads * self.head_dim))
    }
}

/// 0 for the keys that a query sees and far below any score for the others, `[queries, keys]`, where query i sees
/// the first `first_sees + i`.
fn unseen(first_sees: usize, queries: usize, keys: usize, device: &Device) -> Result<Tensor> {
    const NEVER: f64 = -1e30;
    let seen = Tensor::arange(first_sees as u32, (first_sees + queries) as u32, device)?.reshape((queries, 1))?;
    let unseen = Tensor::arange(0, keys as u32, device)?.reshape((1, keys))?.broadcast_ge(&seen)?;
    unseen.to_dtype(DType::F32)? * NEVER
}
