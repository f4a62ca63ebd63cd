//! The language-model head and its loss, as one operation over the labelled rows only.

mod on_device;
mod scores;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor};
use rayon::prelude::*;
use tunebook_gemm::{Accum, Gemm, Matmul, OutputMut, Par, Precision, View, ViewMut, WeightView};

use super::buffer::{borrow, expect_shape, floats_mut, matrix, overwrite, tensor};
use super::error::OpError;
use super::on_device::is_on_device;
use super::vector::{axpy, exp_of_row, scale, vectorized};
use super::weight::Weight;

pub use scores::{TokenScore, token_score, token_scores};

const OP: &str = "linear_cross_entropy";

/// Which rows of the hidden states are scored, and how: one entry of each slice per labelled row.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// Rows of x, each the position before the token that it predicts. A row may occur more than once.
    pub rows: &'a [u32],
    /// The token to predict.
    pub targets: &'a [u32],
    /// The weight of the row in the sum: 1 / (labelled rows) for the mean.
    pub weights: &'a [f32],
}

/// L = Σᵢ weightᵢ · (log Σⱼ e^(zᵢⱼ) - zᵢ,targetᵢ) with logits zᵢ = x\[rowᵢ\] Wᵀ.
///
/// x is `[T, hidden]` and `head` (W) `[vocab, hidden]`. Logits exist for a chunk of rows at a time, and only
/// for labelled rows. As `torch.nn.functional.cross_entropy(reduction="none")` weighted and summed. A row or target
/// out of range is an error.
pub fn linear_cross_entropy<'a>(
    x: &Tensor,
    head: impl Into<Weight<'a>>,
    labels: Labels<'_>,
    precision: Precision,
) -> Result<f64> {
    let head = head.into();
    check(x, head, labels)?;
    if is_on_device(x) {
        let head = head.tensor(x.device(), precision)?;
        return on_device::linear_cross_entropy(x, &head, labels, precision, None);
    }
    for_chunks(x, head, labels, precision, None)
}

/// Where gradients go.
#[derive(Clone, Copy)]
struct GradientSums<'a, X> {
    /// That of x is added to it, `[T, hidden]`.
    x: X,
    /// Where the head trains, its own is added to it, `[vocab, hidden]`.
    head: Option<&'a Tensor>,
    goes_on: &'a dyn Fn() -> bool,
}

/// The loss, and its gradient with respect to x, `[T, hidden]`. They are computed together, since making the logits
/// again would cost a third more. Where the head trains, its gradient is added to `head_sum`, `[vocab, hidden]`.
/// `goes_on` is asked before each chunk of rows, which takes about as long as a decoder layer; what is returned after it has
/// said no is of no use.
pub fn linear_cross_entropy_with_gradient<'a>(
    x: &Tensor,
    head: impl Into<Weight<'a>>,
    labels: Labels<'_>,
    precision: Precision,
    head_sum: Option<&Tensor>,
    goes_on: &dyn Fn() -> bool,
) -> Result<(f64, Tensor)> {
    let head = head.into();
    let [vocab, hidden] = check(x, head, labels)?;
    if let Some(sum) = head_sum {
        expect_shape(OP, "head_sum", sum, vocab, hidden)?;
    }
    if is_on_device(x) {
        let (head, dx) = (head.tensor(x.device(), precision)?, x.zeros_like()?);
        let sums = GradientSums { x: &dx, head: head_sum, goes_on };
        let loss = on_device::linear_cross_entropy(x, &head, labels, precision, Some(sums))?;
        return Ok((loss, dx));
    }
    let rows = x.dim(0)?;
    let mut dx = vec![0f32; rows * hidden];
    let loss = for_chunks(x, head, labels, precision, Some(GradientSums { x: &mut dx[..], head: head_sum, goes_on }))?;
    Ok((loss, tensor(dx, rows, hidden)?))
}

/// The most rows of which logits exist at a time, for a vocabulary of this size: 64 MiB of them, enough rows for the
/// matmuls to be fast, few enough to be reused from one allocation.
pub fn head_chunk(vocab: usize) -> usize {
    ((1 << 24) / vocab.max(1)).clamp(16, 512)
}

fn for_chunks(
    x: &Tensor,
    head: Weight<'_>,
    labels: Labels<'_>,
    precision: Precision,
    mut sums: Option<GradientSums<'_, &mut [f32]>>,
) -> Result<f64> {
    let (vocab, hidden) = head.shape(OP)?;
    let x = x.contiguous()?;
    let values = borrow(OP, "x", &x)?;
    let mut buffers = Buffers::default();
    let mut loss = 0f64;
    let chunk = head_chunk(vocab);
    for first in (0..labels.rows.len()).step_by(chunk) {
        let range = first..labels.rows.len().min(first + chunk);
        let labels = Labels {
            rows: &labels.rows[range.clone()],
            targets: &labels.targets[range.clone()],
            weights: &labels.weights[range],
        };
        let with_gradient = sums.is_some();
        if sums.as_ref().is_some_and(|sums| !(sums.goes_on)()) {
            break;
        }
        loss += head.read(OP, |head| Ok(chunk_loss(&values, head, labels, precision, with_gradient, &mut buffers)))?;
        if let Some(sums) = &mut sums {
            for (&row, gradient) in labels.rows.iter().zip(buffers.dx.chunks_exact(hidden.max(1))) {
                axpy(&mut sums.x[row as usize * hidden..][..hidden], 1.0, gradient);
            }
            if let Some(sum) = sums.head {
                sum.inplace_op1(&AddHeadGradient { buffers: &buffers, sizes: [vocab, hidden] })?;
            }
        }
    }
    Ok(loss)
}

/// sum += dlogitsᵀ x, over the labelled rows of a chunk.
struct AddHeadGradient<'a> {
    buffers: &'a Buffers,
    sizes: [usize; 2],
}

impl InplaceOp1 for AddHeadGradient<'_> {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Buffers { x, logits, .. } = self.buffers;
        let [vocab, hidden] = self.sizes;
        let rows = logits.len() / vocab.max(1);
        Gemm {
            a: View::rows(logits, [rows, vocab]).t(),
            b: View::rows(x, [rows, hidden]),
            c: ViewMut::rows(floats_mut(OP, "head_sum", storage, layout)?, self.sizes),
            alpha: 1.0,
            accum: Accum::Add,
            par: Par::Rayon,
            precision: Precision::F32,
        }
        .run();
        Ok(())
    }
}

/// The sizes of the vocabulary and of a hidden state.
fn check(x: &Tensor, head: Weight<'_>, labels: Labels<'_>) -> Result<[usize; 2]> {
    let (rows, width) = matrix(OP, "x", x)?;
    let (vocab, hidden) = head.shape(OP)?;
    if width != hidden {
        let expected = format!("[{rows}, {hidden}] for a head of [{vocab}, {hidden}]");
        return Err(OpError::Shape { op: OP, operand: "x", found: x.dims().to_vec(), expected }.into());
    }
    let Labels { rows: label_rows, targets, weights } = labels;
    let problem = if targets.len() != label_rows.len() || weights.len() != label_rows.len() {
        format!("{} labelled rows, {} targets and {} weights", label_rows.len(), targets.len(), weights.len())
    } else if let Some(row) = label_rows.iter().find(|&&row| row as usize >= rows) {
        format!("row {row} is labelled, but there are only {rows} rows")
    } else if let Some(target) = targets.iter().find(|&&target| target as usize >= vocab) {
        format!("token {target} is to be predicted, but the head knows only {vocab} tokens")
    } else {
        return Ok([vocab, hidden]);
    };
    Err(OpError::Argument { op: OP, problem }.into())
}

#[derive(Default)]
struct Buffers {
    x: Vec<f32>,
    /// Logits, then their gradients.
    logits: Vec<f32>,
    dx: Vec<f32>,
}

/// The loss of some labelled rows, and with `with_gradient` their dx in the buffers. The head is `[vocab, hidden]`.
fn chunk_loss(
    x: &[f32],
    head: WeightView<'_>,
    labels: Labels<'_>,
    precision: Precision,
    with_gradient: bool,
    buffers: &mut Buffers,
) -> f64 {
    let (count, [vocab, hidden]) = (labels.rows.len(), head.dims());
    let Buffers { x: labelled, logits, dx } = buffers;
    labelled.clear();
    for &row in labels.rows {
        labelled.extend_from_slice(&x[row as usize * hidden..][..hidden]);
    }
    // SAFETY: `Matmul` writes all of the logits.
    unsafe {
        overwrite(logits, count * vocab, |logits| {
            let (x, y) = (View::rows(labelled, [count, hidden]), OutputMut::F32(logits));
            Matmul { x, w: head.t(), bias: None, low_rank: None, y, precision }.run();
        });
    }
    let losses: Vec<f64> = logits
        .par_chunks_exact_mut(vocab)
        .zip(labels.targets)
        .zip(labels.weights)
        .map(|((logits, &target), &weight)| {
            let of_target = logits[target as usize];
            let (max, sum) = vectorized(
                #[inline(always)]
                || {
                    let (max, sum) = exp_of_row(logits);
                    if with_gradient {
                        scale(logits, weight / sum);
                    }
                    (max, sum)
                },
            );
            // d nll / d logits = softmax(logits) - onehot(target).
            logits[target as usize] -= weight;
            f64::from(weight) * (f64::from(sum).ln() + f64::from(max - of_target))
        })
        .collect();
    if with_gradient {
        // SAFETY: `Matmul` writes all of dx.
        unsafe {
            overwrite(dx, count * hidden, |dx| {
                let (x, y) = (View::rows(logits, [count, vocab]), OutputMut::F32(dx));
                Matmul { x, w: head, bias: None, low_rank: None, y, precision }.run();
            });
        }
    }
    losses.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::super::testing::{assert_close, both_ways, check, random};
    use super::*;
    use crate::frozen::FrozenMatrix;

    #[test]
    fn value_and_gradients_equal_the_reference() {
        let (tokens, hidden, vocab) = (6, 5, 11);
        let labels = Labels { rows: &[1, 4, 4, 5], targets: &[10, 0, 3, 7], weights: &[0.25, 0.5, 1.0, 2.0] };
        let reference = |operands: &[Vec<f64>]| {
            let (x, w) = (&operands[0], &operands[1]);
            let nll = |row: usize, target: usize| {
                let logit =
                    |token: usize| -> f64 { (0..hidden).map(|i| x[row * hidden + i] * w[token * hidden + i]).sum() };
                (0..vocab).map(|token| logit(token).exp()).sum::<f64>().ln() - logit(target)
            };
            let terms = labels.rows.iter().zip(labels.targets).zip(labels.weights);
            vec![terms.map(|((&row, &target), &weight)| f64::from(weight) * nll(row as usize, target as usize)).sum()]
        };
        let loss = |x: &[Tensor]| linear_cross_entropy(&x[0], Weight::Trained(&x[1]), labels, Precision::F32);
        check(
            &[(tokens, hidden), (vocab, hidden)],
            |x| Tensor::new(&[loss(x)? as f32], &Device::Cpu),
            |x, d_loss| {
                let (head, sum) = (Weight::Trained(&x[1]), x[1].zeros_like()?);
                let (_, dx) =
                    linear_cross_entropy_with_gradient(&x[0], head, labels, Precision::F32, Some(&sum), &|| true)?;
                Ok(vec![dx.broadcast_mul(d_loss)?, sum.broadcast_mul(d_loss)?])
            },
            reference,
        );
    }

    /// More rows than a chunk holds, and logits far from zero.
    #[test]
    fn many_rows_equal_candles_mean_cross_entropy() {
        let (tokens, hidden, vocab) = (1200, 12, 301);
        let head_values = random(1, vocab * hidden);
        let head = FrozenMatrix::from_f32(&head_values, vocab, hidden);
        let x = Var::from_vec(
            random(2, tokens * hidden).iter().map(|v| 20.0 * v).collect(),
            (tokens, hidden),
            &Device::Cpu,
        )
        .unwrap();
        let rows: Vec<u32> = (0..tokens as u32).filter(|row| row % 7 != 3).collect();
        let targets: Vec<u32> = rows.iter().map(|row| (row * 13) % vocab as u32).collect();
        let weights = vec![1.0 / rows.len() as f32; rows.len()];
        let labels = Labels { rows: &rows, targets: &targets, weights: &weights };
        let ours = both_ways(|| {
            let (loss, dx) =
                linear_cross_entropy_with_gradient(&x, &head, labels, Precision::F32, None, &|| true).unwrap();
            assert_eq!(loss, linear_cross_entropy(&x, &head, labels, Precision::F32).unwrap());
            (loss, dx)
        });

        let head = Tensor::from_vec(head_values, (vocab, hidden), &Device::Cpu).unwrap();
        let index = |values: &[u32]| Tensor::new(values, &Device::Cpu).unwrap();
        let logits = x.index_select(&index(&rows), 0).unwrap().matmul(&head.t().unwrap()).unwrap();
        let theirs = candle_nn::loss::cross_entropy(&logits, &index(&targets)).unwrap();
        let expected = theirs.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
        let values = |x: &Tensor| (x * 1000.0).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let gradients = theirs.backward().unwrap();
        let theirs: Vec<f64> = values(gradients.get(&x).unwrap()).into_iter().map(f64::from).collect();
        for (loss, dx) in ours {
            assert_close("value", &[loss as f32], &[expected]);
            assert_close("gradient", &values(&dx), &theirs);
        }
    }

    #[test]
    fn no_labels_give_a_loss_and_a_gradient_of_zero() {
        let head = FrozenMatrix::from_f32(&random(1, 9 * 4), 9, 4);
        let x = Tensor::from_vec(random(2, 12), (3, 4), &Device::Cpu).unwrap();
        let labels = Labels { rows: &[], targets: &[], weights: &[] };
        let (loss, dx) = linear_cross_entropy_with_gradient(&x, &head, labels, Precision::F32, None, &|| true).unwrap();
        assert_eq!(loss, 0.0);
        assert_eq!(dx.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [0.0; 12]);
    }

    #[test]
    fn labels_out_of_range_are_refused_with_the_numbers() {
        let head = FrozenMatrix::from_f32(&random(1, 9 * 4), 9, 4);
        let x = Tensor::from_vec(random(2, 12), (3, 4), &Device::Cpu).unwrap();
        let refuse = |rows: &[u32], targets: &[u32], weights: &[f32]| {
            let labels = Labels { rows, targets, weights };
            linear_cross_entropy(&x, &head, labels, Precision::F32).unwrap_err().to_string()
        };
        assert!(refuse(&[3], &[0], &[1.0]).contains("row 3 is labelled, but there are only 3 rows"));
        assert!(refuse(&[0], &[9], &[1.0]).contains("token 9 is to be predicted, but the head knows only 9 tokens"));
        assert!(refuse(&[0, 1], &[8], &[1.0]).contains("2 labelled rows, 1 targets and 1 weights"));
    }
}
