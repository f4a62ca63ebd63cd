//! Scaled dot-product attention over packed sequences, with grouped heads.

mod backward;
mod cached;
mod forward;
mod on_device;
mod segments;

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;
use tunebook_gemm::{Accum, Gemm, Par, Precision, View, ViewMut};

use super::buffer::{borrow, expect_shape, matrix, tensor};
use super::error::OpError;
use super::on_device::is_on_device;
use super::vector::exp_of_row;

pub use cached::{CachedKeys, cached_attention};
pub use segments::Segments;

const OP: &str = "attention";

/// o = softmax(q kᵀ / sqrt(head_dim)) v for each head, within each segment.
///
/// q and o are `[Tq, heads * head_dim]`, k and v are `[Tk, kv_heads * head_dim]`; query head h reads key head
/// h / (heads / kv_heads). Which keys a query sees is up to [`Segments`]. Vaswani et al. 2017 (arXiv 1706.03762),
/// grouped as Ainslie et al. 2023 (arXiv 2305.13245). Scores are made for a block of queries at a time and made
/// again in the backward pass, as Dao et al. 2022 (arXiv 2205.14135) do, so memory grows with T and not with T².
///
/// `precision` is that of the two matmuls. Heads that do not divide the widths, or segments that do not cover the rows,
/// are an error.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &Segments,
    [heads, kv_heads]: [usize; 2],
    precision: Precision,
) -> Result<Tensor> {
    let op = Attention::new([q, k, v], segments, [heads, kv_heads], precision)?;
    if is_on_device(q) {
        return op.on_device(q, k, v);
    }
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let (rows, width) = matrix(OP, "q", &q)?;
    let (q, k, v) = (borrow(OP, "q", &q)?, borrow(OP, "k", &k)?, borrow(OP, "v", &v)?);
    tensor(op.forward(&q, &k, &v), rows, width)
}

/// The gradients of q, k and v, given the o that [`attention`] made of them and its gradient.
///
/// With p = softmax(q kᵀ / sqrt(head_dim)): dv = pᵀ do, ds = p (do vᵀ - do · o), dq = ds k / sqrt(head_dim),
/// dk = dsᵀ q / sqrt(head_dim).
pub fn attention_backward(
    [q, k, v, o]: [&Tensor; 4],
    d_o: &Tensor,
    segments: &Segments,
    [heads, kv_heads]: [usize; 2],
    precision: Precision,
) -> Result<[Tensor; 3]> {
    let op = Attention::new([q, k, v], segments, [heads, kv_heads], precision)?;
    let [(q_rows, q_width), (k_rows, k_width)] = [matrix(OP, "q", q)?, matrix(OP, "k", k)?];
    expect_shape(OP, "o", o, q_rows, q_width)?;
    expect_shape(OP, "do", d_o, q_rows, q_width)?;
    if is_on_device(q) {
        return op.backward_on_device([q, k, v, o], d_o);
    }
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let (o, d_o) = (o.contiguous()?, d_o.contiguous()?);
    let (dq, dk, dv) = op.backward(
        &borrow(OP, "q", &q)?,
        &borrow(OP, "k", &k)?,
        &borrow(OP, "v", &v)?,
        &borrow(OP, "o", &o)?,
        &borrow(OP, "do", &d_o)?,
    );
    Ok([tensor(dq, q_rows, q_width)?, tensor(dk, k_rows, k_width)?, tensor(dv, k_rows, k_width)?])
}

/// An attention whose sizes were checked.
struct Attention {
    segments: Segments,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    precision: Precision,
}

impl Attention {
    fn new(
        [q, k, v]: [&Tensor; 3],
        segments: &Segments,
        [heads, kv_heads]: [usize; 2],
        precision: Precision,
    ) -> Result<Self> {
        let (q_rows, q_width) = matrix(OP, "q", q)?;
        let (k_rows, _) = matrix(OP, "k", k)?;
        let head_dim = head_dim(q_width, [heads, kv_heads])?;
        expect_shape(OP, "k", k, k_rows, kv_heads * head_dim)?;
        expect_shape(OP, "v", v, k_rows, kv_heads * head_dim)?;
        segments.check(q_rows, k_rows).map_err(|problem| OpError::Argument { op: OP, problem })?;
        Ok(Self { segments: segments.clone(), heads, kv_heads, head_dim, precision })
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// c = alpha · a b, or c += alpha · a b, by the task at hand alone: tasks are many.
    fn gemm(&self, alpha: f32, a: View<'_>, b: View<'_>, c: ViewMut<'_>, accum: Accum) {
        Gemm { a, b, c, alpha, accum, par: Par::Seq, precision: self.precision }.run();
    }

    /// Query heads that share a key head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Brings one head's rows after the other, as the tasks write them (`[segment][head][row][head_dim]`), into
    /// packed rows (`[row][target head][head_dim]`), summing the `group` heads of each target.
    fn pack(&self, by_head: &[f32], rows_of: impl Fn(usize) -> Range<usize>, group: usize) -> Vec<f32> {
        let (targets, head_dim) = (self.heads / group, self.head_dim);
        let width = targets * head_dim;
        let mut packed = vec![0f32; by_head.len() / group];
        let mut rest = packed.as_mut_slice();
        let mut segments = Vec::with_capacity(self.segments.len());
        for segment in 0..self.segments.len() {
            let rows = rows_of(segment);
            let (own, others) = std::mem::take(&mut rest).split_at_mut(rows.len() * width);
            segments.push((own, &by_head[rows.start * self.heads * head_dim..], rows.len()));
            rest = others;
        }
        segments.into_par_iter().for_each(|(packed, by_head, rows)| {
            packed.par_chunks_mut(width).with_min_len(64).enumerate().for_each(|(row, packed)| {
                for (target, packed) in packed.chunks_exact_mut(head_dim).enumerate() {
                    let source = |member| &by_head[((target * group + member) * rows + row) * head_dim..][..head_dim];
                    packed.copy_from_slice(source(0));
                    for member in 1..group {
                        packed.iter_mut().zip(source(member)).for_each(|(sum, value)| *sum += value);
                    }
                }
            });
        });
        packed
    }
}

/// The width of a head, of which so many make a row of `width` elements.
fn head_dim(width: usize, [heads, kv_heads]: [usize; 2]) -> Result<usize> {
    let divided = heads > 0 && kv_heads > 0 && heads.is_multiple_of(kv_heads);
    if !divided || !width.is_multiple_of(heads) || width == 0 {
        let problem = format!("{heads} heads over {kv_heads} key heads do not divide rows of {width} elements");
        return Err(OpError::Argument { op: OP, problem }.into());
    }
    Ok(width / heads)
}

/// The most queries of a block.
const MAX_BLOCK: usize = 128;

/// Queries of a block, so that its scores against `keys` keys take 2 MiB, a second-level cache, or a little more
/// where that would leave a block too few queries to be worth reading the keys for.
fn block_rows(keys: usize) -> usize {
    const SCORES: usize = 1 << 19;
    (SCORES / keys.max(1)).clamp(16, MAX_BLOCK)
}

/// Replaces the scores of a query by e^(score - max) for the keys it sees and 0 for the others; returns 1 / sum.
#[inline(always)]
fn exp_of_visible(scores: &mut [f32], visible: usize) -> f32 {
    let (seen, unseen) = scores.split_at_mut(visible);
    unseen.fill(0.0);
    let (_, sum) = exp_of_row(seen);
    1.0 / sum
}

#[cfg(test)]
mod tests;
