//! What a model thinks of each label: its loss, its rank, and what it would have said instead.

use candle_core::{Result, Tensor};
use rayon::prelude::*;
use tunebook_gemm::{Matmul, OutputMut, Precision, View};

use super::super::buffer::{borrow, overwrite};
use super::super::on_device::{is_on_device, product_nt};
use super::super::weight::Weight;
use super::{Labels, OP, check, head_chunk};

/// A label as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenScore {
    /// -log p, with the natural logarithm.
    pub loss: f64,
    /// How many tokens are likelier, and 1: it is 1 where the label is the likeliest.
    pub rank: usize,
    /// The likeliest tokens and their p, the likeliest first; of equal ones that with the smaller number.
    pub likeliest: Vec<(u32, f64)>,
}

/// The score of each labelled row, with its `most` likeliest tokens; weights play no part. x is `[T, hidden]`, `head`
/// `[vocab, hidden]`; logits exist for a chunk of rows at a time. Probabilities are summed in float64. A row or target out of
/// range is an error.
pub fn token_scores<'a>(
    x: &Tensor,
    head: impl Into<Weight<'a>>,
    labels: Labels<'_>,
    most: usize,
    precision: Precision,
) -> Result<Vec<TokenScore>> {
    let head = head.into();
    let [vocab, hidden] = check(x, head, labels)?;
    let of_rows = |logits: &[f32], targets: &[u32]| -> Vec<TokenScore> {
        let rows = logits.par_chunks_exact(vocab.max(1)).zip(targets);
        rows.map(|(logits, target)| token_score(logits, *target, most)).collect()
    };
    let chunk = head_chunk(vocab);
    let mut scores = Vec::with_capacity(labels.rows.len());
    if is_on_device(x) {
        let head = head.tensor(x.device(), precision)?;
        for (rows, targets) in labels.rows.chunks(chunk).zip(labels.targets.chunks(chunk)) {
            let labelled = x.index_select(&Tensor::new(rows, x.device())?, 0)?;
            let logits = product_nt(&labelled, &head, precision)?.flatten_all()?.to_vec1::<f32>()?;
            scores.extend(of_rows(&logits, targets));
        }
        return Ok(scores);
    }
    let x = x.contiguous()?;
    let values = borrow(OP, "x", &x)?;
    let (mut labelled, mut logits) = (Vec::new(), Vec::new());
    for (rows, targets) in labels.rows.chunks(chunk).zip(labels.targets.chunks(chunk)) {
        labelled.clear();
        rows.iter().for_each(|&row| labelled.extend_from_slice(&values[row as usize * hidden..][..hidden]));
        head.read(OP, |head| {
            // SAFETY: `Matmul` writes all of the logits.
            unsafe {
                overwrite(&mut logits, rows.len() * vocab, |logits| {
                    let (x, y) = (View::rows(&labelled, [rows.len(), hidden]), OutputMut::F32(logits));
                    Matmul { x, w: head.t(), bias: None, low_rank: None, y, precision }.run();
                });
            }
            Ok(())
        })?;
        scores.extend(of_rows(&logits, targets));
    }
    Ok(scores)
}

/// The score of the token `target`, and the `most` likeliest tokens, given the logits of all tokens, `[vocabulary]`: p is
/// their softmax.
pub fn token_score(logits: &[f32], target: u32, most: usize) -> TokenScore {
    let of_target = logits[target as usize];
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
    let log_p = |logit: f32| f64::from(logit - max) - sum.ln();
    TokenScore {
        loss: -log_p(of_target),
        rank: 1 + logits.iter().filter(|logit| **logit > of_target).count(),
        likeliest: largest(logits, most).into_iter().map(|id| (id, log_p(logits[id as usize]).exp())).collect(),
    }
}

/// The tokens with the `most` largest logits, the largest first.
fn largest(logits: &[f32], most: usize) -> Vec<u32> {
    if most == 0 {
        return Vec::new();
    }
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if most < ids.len() {
        ids.select_nth_unstable_by(most - 1, by_logit);
        ids.truncate(most);
    }
    ids.sort_unstable_by(by_logit);
    ids
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::super::testing::{both_ways, random};
    use super::super::linear_cross_entropy;
    use super::*;

    #[test]
    fn a_score_is_that_of_the_softmax() {
        let found = token_score(&[1.0, 3.0, 3.0, -2.0], 0, 3);
        let sum = 1f64.exp() + 2.0 * 3f64.exp() + (-2f64).exp();
        assert!((found.loss - (sum.ln() - 1.0)).abs() < 1e-12);
        assert_eq!(found.rank, 3);
        assert_eq!(found.likeliest.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 2, 0]);
        assert!((found.likeliest[0].1 - 3f64.exp() / sum).abs() < 1e-12);
        assert_eq!(token_score(&[0.0, 1.0], 1, 9).likeliest.len(), 2);
    }

    /// More rows than a chunk holds.
    #[test]
    fn their_losses_add_up_to_the_loss() {
        let (tokens, hidden, vocab) = (700, 12, 301);
        let x = Tensor::from_vec(random(1, tokens * hidden), (tokens, hidden), &Device::Cpu).unwrap();
        let head = Tensor::from_vec(random(2, vocab * hidden), (vocab, hidden), &Device::Cpu).unwrap();
        let rows: Vec<u32> = (0..tokens as u32).filter(|row| row % 7 != 3).collect();
        let targets: Vec<u32> = rows.iter().map(|row| (row * 13) % vocab as u32).collect();
        let weights = vec![1.0; rows.len()];
        let labels = Labels { rows: &rows, targets: &targets, weights: &weights };
        for scores in both_ways(|| token_scores(&x, Weight::Trained(&head), labels, 5, Precision::F32).unwrap()) {
            let loss = linear_cross_entropy(&x, Weight::Trained(&head), labels, Precision::F32).unwrap();
            let sum: f64 = scores.iter().map(|score| score.loss).sum();
            assert!((sum - loss).abs() < 1e-5 * loss, "{sum} {loss}");
            assert!(scores.iter().all(|score| score.likeliest.len() == 5 && (1..=vocab).contains(&score.rank)));
            let is_first = |score: &TokenScore| score.likeliest[0].1.ln() <= -score.loss + 1e-9;
            assert!(scores.iter().all(|score| (score.rank == 1) == is_first(score)));
        }
    }
}
