//! Attention of new tokens over the keys and values of all tokens that were read, which lie in blocks.
//!
//! A few new queries of a sequence, as in decoding, read the blocks where they are. Many, as in prefill, have them laid
//! end to end first, which takes little time beside their matmuls.

use candle_core::{DType, Result, Tensor};
use half::bf16;
use rayon::prelude::*;
use tunebook_gemm::Precision;

use super::super::buffer::{Element, borrow, borrow_of, matrix, tensor};
use super::super::error::OpError;
use super::super::on_device::is_on_device;
use super::super::rounded::widened;
use super::super::vector::{axpy, dot, exp_of_row, scale, vectorized};
use super::{OP, Segments, attention, head_dim};

/// What the queries of one sequence see, which are those of its last tokens.
pub struct CachedKeys<'a> {
    /// Rows of q.
    pub queries: usize,
    /// The tokens that were read, those of the queries included.
    pub tokens: usize,
    /// Blocks of keys and of values, `[block, kv_heads · head_dim]` each, in f32 or bf16; rows behind the last token hold
    /// nothing.
    pub k: Vec<&'a Tensor>,
    pub v: Vec<&'a Tensor>,
}

/// The most queries of a sequence that read its blocks where they are.
const FEW: usize = 16;
/// Keys or values that are widened at a time: they stay in the L1 cache for all queries.
const TILE: usize = 16;

/// [`attention`] of sequences whose queries lie end to end in q, `[T, heads · head_dim]`; each query sees the tokens up to
/// its own. The output of a query has the same bits whatever the other sequences are, and as long as they are few,
/// however many queries its own sequence has.
///
/// # Errors
/// Heads that do not divide the widths; fewer rows than tokens or queries.
pub fn cached_attention(
    q: &Tensor,
    sequences: &[CachedKeys],
    [heads, kv_heads]: [usize; 2],
    precision: Precision,
) -> Result<Tensor> {
    let (rows, width) = matrix(OP, "q", q)?;
    let shape = Shape { heads, kv_heads, head_dim: head_dim(width, [heads, kv_heads])? };
    shape.check(rows, sequences)?;
    if is_on_device(q) {
        return gathered(q, sequences, [heads, kv_heads], precision);
    }
    let (mut few, mut o) = (Vec::new(), vec![0f32; rows * width]);
    let mut first = 0;
    for sequence in sequences {
        let rows = first..first + sequence.queries;
        first = rows.end;
        if rows.len() > FEW {
            let q = q.narrow(0, rows.start, rows.len())?;
            let attended = gathered(&q, std::slice::from_ref(sequence), [heads, kv_heads], precision)?;
            o[rows.start * width..rows.end * width].copy_from_slice(&borrow(OP, "o", &attended)?);
        } else if !rows.is_empty() {
            few.push((rows.start, sequence));
        }
    }
    if !few.is_empty() {
        let q = q.contiguous()?;
        let q = borrow(OP, "q", &q)?;
        match few.iter().find_map(|(_, sequence)| sequence.k.first()).map(|block| block.dtype()) {
            Some(DType::BF16) => shape.decode::<bf16>(&q, &few, &mut o)?,
            _ => shape.decode::<f32>(&q, &few, &mut o)?,
        }
    }
    tensor(o, rows, width)
}

/// The same over keys and values that are laid end to end.
fn gathered(q: &Tensor, sequences: &[CachedKeys], heads: [usize; 2], precision: Precision) -> Result<Tensor> {
    let (mut k, mut v) = (Vec::new(), Vec::new());
    let (mut q_bounds, mut k_bounds) = (vec![0], vec![0]);
    for sequence in sequences.iter().filter(|sequence| sequence.queries > 0) {
        push_rows(&mut k, &sequence.k, sequence.tokens)?;
        push_rows(&mut v, &sequence.v, sequence.tokens)?;
        q_bounds.push(q_bounds[q_bounds.len() - 1] + sequence.queries);
        k_bounds.push(k_bounds[k_bounds.len() - 1] + sequence.tokens);
    }
    let segments = Segments { q: q_bounds.into(), k: k_bounds.into(), causal: true };
    attention(q, &widened(&Tensor::cat(&k, 0)?)?, &widened(&Tensor::cat(&v, 0)?)?, &segments, heads, precision)
}

/// Appends the first `tokens` rows of the blocks.
fn push_rows(all: &mut Vec<Tensor>, blocks: &[&Tensor], tokens: usize) -> Result<()> {
    let mut left = tokens;
    for block in blocks {
        let rows = left.min(block.dim(0)?);
        left -= rows;
        all.push(block.narrow(0, 0, rows)?);
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Shape {
    fn check(self, rows: usize, sequences: &[CachedKeys]) -> Result<()> {
        let width = self.kv_heads * self.head_dim;
        let hold = |blocks: &[&Tensor], tokens: usize| {
            let rows: Vec<usize> =
                blocks.iter().filter(|block| block.dims()[1..] == [width]).map(|b| b.dims()[0]).collect();
            rows.len() == blocks.len() && rows.iter().sum::<usize>() >= tokens
        };
        let fits = |sequence: &CachedKeys| {
            let CachedKeys { queries, tokens, k, v } = sequence;
            queries <= tokens && hold(k, *tokens) && hold(v, *tokens)
        };
        if sequences.iter().map(|sequence| sequence.queries).sum::<usize>() == rows && sequences.iter().all(fits) {
            return Ok(());
        }
        let problem = format!("{rows} queries do not fit the keys and values of {} sequences", sequences.len());
        Err(OpError::Argument { op: OP, problem }.into())
    }

    /// Writes the outputs of sequences, each with the row of its first query.
    fn decode<E: Element>(self, q: &[f32], sequences: &[(usize, &CachedKeys)], o: &mut [f32]) -> Result<()> {
        let (mut k, mut v) = (Vec::new(), Vec::new());
        for (_, sequence) in sequences {
            k.push(sequence.k.iter().map(|block| borrow_of::<E>(OP, "k", block)).collect::<Result<Vec<_>>>()?);
            v.push(sequence.v.iter().map(|block| borrow_of::<E>(OP, "v", block)).collect::<Result<Vec<_>>>()?);
        }
        let k: Vec<Vec<&[E]>> = k.iter().map(|blocks| blocks.iter().map(|block| &**block).collect()).collect();
        let v: Vec<Vec<&[E]>> = v.iter().map(|blocks| blocks.iter().map(|block| &**block).collect()).collect();
        let (width, group) = (self.heads * self.head_dim, self.heads / self.kv_heads * self.head_dim);
        let part = |task: usize| {
            let (index, kv_head) = (task / self.kv_heads, task % self.kv_heads);
            let (first, CachedKeys { queries, tokens, .. }) = sequences[index];
            let rows = (first..first + queries).flat_map(|row| &q[row * width + kv_head * group..][..group]);
            let q: Vec<f32> = rows.copied().collect();
            vectorized(
                #[inline(always)]
                || self.of_kv_head(&q, [*queries, *tokens], kv_head, [&k[index], &v[index]]),
            )
        };
        let parts: Vec<Vec<f32>> = (0..sequences.len() * self.kv_heads).into_par_iter().map(part).collect();
        for (task, part) in parts.iter().enumerate() {
            let (first, kv_head) = (sequences[task / self.kv_heads].0, task % self.kv_heads);
            for (row, part) in (first..).zip(part.chunks_exact(group)) {
                o[row * width + kv_head * group..][..group].copy_from_slice(part);
            }
        }
        Ok(())
    }

    /// The outputs of the query heads that share a key head, `[queries, group, head_dim]` as q is: its keys and values are
    /// read once for all of them.
    #[inline(always)]
    fn of_kv_head<E: Element>(
        self,
        q: &[f32],
        [queries, tokens]: [usize; 2],
        kv_head: usize,
        [k, v]: [&[&[E]]; 2],
    ) -> Vec<f32> {
        let (head_dim, group) = (self.head_dim, self.heads / self.kv_heads);
        let mut tile = vec![0f32; TILE * head_dim];
        let mut scores = vec![0f32; queries * group * tokens];
        for (first, stored) in self.tiles(k, tokens) {
            let k = self.widen(stored, kv_head, &mut tile);
            for (q, scores) in q.chunks_exact(head_dim).zip(scores.chunks_exact_mut(tokens)) {
                for (score, k) in scores[first..].iter_mut().zip(k.chunks_exact(head_dim)) {
                    *score = dot(q, k);
                }
            }
        }
        let scores_scale = 1.0 / (head_dim as f32).sqrt();
        for (row, scores) in scores.chunks_exact_mut(tokens).enumerate() {
            let (seen, unseen) = scores.split_at_mut(tokens - queries + row / group + 1);
            scale(seen, scores_scale);
            let (_, sum) = exp_of_row(seen);
            scale(seen, 1.0 / sum);
            unseen.fill(0.0);
        }
        let mut o = vec![0f32; q.len()];
        for (first, stored) in self.tiles(v, tokens) {
            let v = self.widen(stored, kv_head, &mut tile);
            for (o, p) in o.chunks_exact_mut(head_dim).zip(scores.chunks_exact(tokens)) {
                for (p, v) in p[first..].iter().zip(v.chunks_exact(head_dim)) {
                    axpy(o, *p, v);
                }
            }
        }
        o
    }

    /// The rows of all tokens, a tile at a time, each with its first token.
    fn tiles<'a, E>(self, blocks: &'a [&'a [E]], tokens: usize) -> impl Iterator<Item = (usize, &'a [E])> {
        let width = self.kv_heads * self.head_dim;
        let tiles = blocks.iter().flat_map(move |block| block.chunks(TILE * width));
        let placed = tiles.scan(0, move |next, tile| {
            let first = *next;
            *next += tile.len() / width;
            Some((first, &tile[..tile.len().min(tokens.saturating_sub(first) * width)]))
        });
        placed.take_while(|(_, tile)| !tile.is_empty())
    }

    /// What one head has of a tile.
    #[inline(always)]
    fn widen<'t, E: Element>(self, stored: &[E], kv_head: usize, tile: &'t mut [f32]) -> &'t [f32] {
        let width = self.kv_heads * self.head_dim;
        let rows = stored.chunks_exact(width).map(|row| &row[kv_head * self.head_dim..][..self.head_dim]);
        for (row, wide) in rows.zip(tile.chunks_exact_mut(self.head_dim)) {
            row.iter().zip(wide).for_each(|(value, wide)| *wide = value.widened());
        }
        &tile[..stored.len() / self.kv_heads]
    }
}
