//! The language-model head and its loss, as one operation over the labelled rows only.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use tunebook_gemm::{Plus, Precision, matmul_nn, matmul_nt};

use super::buffer::{borrow, matrix, overwrite};
use super::error::OpError;
use super::vector::{axpy, exp_of_row, scale, vectorized};
use crate::frozen::FrozenMatrix;

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

/// L = Σᵢ weightᵢ · (log Σⱼ e^(zᵢⱼ) - zᵢ,targetᵢ) with logits zᵢ = x[rowᵢ] Wᵀ, a scalar.
///
/// x is `[T, hidden]` and `head` (W, frozen) `[vocab, hidden]`. Logits exist for a chunk of rows at a time, and only
/// for labelled rows. If x asks for a gradient, dx is computed along with the loss and kept (`[labels, hidden]`),
/// since making the logits again would cost a third more; otherwise the loss alone is computed. As
/// `torch.nn.functional.cross_entropy(reduction="none")` weighted and summed. A row or target out of range is an error.
pub fn linear_cross_entropy(
    x: &Tensor,
    head: &FrozenMatrix,
    labels: Labels<'_>,
    precision: Precision,
) -> Result<Tensor> {
    check(x, head, labels)?;
    let x = x.contiguous()?;
    let values = borrow(OP, "x", &x)?;
    let with_gradient = x.track_op();
    let mut op = LinearCrossEntropy { loss: 0.0, rows: labels.rows.to_vec(), dx: Vec::new() };
    let mut buffers = Buffers::default();
    let mut loss = 0f64;
    // 64 MiB of logits: enough rows for the products to be fast, few enough to be reused from one allocation.
    let chunk = ((1 << 24) / head.rows.max(1)).clamp(16, 512);
    for first in (0..labels.rows.len()).step_by(chunk) {
        let range = first..labels.rows.len().min(first + chunk);
        let labels = Labels {
            rows: &labels.rows[range.clone()],
            targets: &labels.targets[range.clone()],
            weights: &labels.weights[range],
        };
        loss += chunk_loss(&values, head, labels, precision, with_gradient, &mut buffers);
        op.dx.extend_from_slice(&buffers.dx);
    }
    op.loss = loss as f32;
    drop(values);
    x.apply_op1(op)
}

fn check(x: &Tensor, head: &FrozenMatrix, labels: Labels<'_>) -> Result<()> {
    let (rows, width) = matrix(OP, "x", x)?;
    if width != head.cols {
        let expected = format!("[{rows}, {}] for a head of [{}, {}]", head.cols, head.rows, head.cols);
        return Err(OpError::Shape { op: OP, operand: "x", found: x.dims().to_vec(), expected }.into());
    }
    let Labels { rows: label_rows, targets, weights } = labels;
    let problem = if targets.len() != label_rows.len() || weights.len() != label_rows.len() {
        format!("{} labelled rows, {} targets and {} weights", label_rows.len(), targets.len(), weights.len())
    } else if let Some(row) = label_rows.iter().find(|&&row| row as usize >= rows) {
        format!("row {row} is labelled, but there are only {rows} rows")
    } else if let Some(target) = targets.iter().find(|&&target| target as usize >= head.rows) {
        format!("token {target} is to be predicted, but the head knows only {} tokens", head.rows)
    } else {
        return Ok(());
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

/// The loss of some labelled rows, and with `with_gradient` their dx in the buffers.
fn chunk_loss(
    x: &[f32],
    head: &FrozenMatrix,
    labels: Labels<'_>,
    precision: Precision,
    with_gradient: bool,
    buffers: &mut Buffers,
) -> f64 {
    let (count, vocab, hidden) = (labels.rows.len(), head.rows, head.cols);
    let Buffers { x: labelled, logits, dx } = buffers;
    labelled.clear();
    for &row in labels.rows {
        labelled.extend_from_slice(&x[row as usize * hidden..][..hidden]);
    }
    // SAFETY: `matmul_nt` writes all of the logits.
    unsafe {
        overwrite(logits, count * vocab, |logits| {
            matmul_nt(labelled, head.weights(), Plus::default(), logits, [count, vocab, hidden], precision);
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
        // SAFETY: `matmul_nn` writes all of dx.
        unsafe {
            overwrite(dx, count * hidden, |dx| {
                matmul_nn(logits, head.weights(), Plus::default(), dx, [count, vocab, hidden], precision);
            });
        }
    }
    losses.into_iter().sum()
}

/// The loss, known before the operation is applied, and its gradient.
struct LinearCrossEntropy {
    loss: f32,
    rows: Vec<u32>,
    /// The gradient of each labelled row, `[labels, hidden]`; empty if none was asked for.
    dx: Vec<f32>,
}

impl CustomOp1 for LinearCrossEntropy {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, _storage: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![self.loss]), Shape::from(())))
    }

    fn bwd(&self, x: &Tensor, _loss: &Tensor, d_loss: &Tensor) -> Result<Option<Tensor>> {
        let d_loss = d_loss.to_scalar::<f32>()?;
        let (_, hidden) = x.dims2()?;
        let mut dx = vec![0f32; x.elem_count()];
        for (row, gradient) in self.rows.iter().zip(self.dx.chunks_exact(hidden.max(1))) {
            axpy(&mut dx[*row as usize * hidden..][..hidden], d_loss, gradient);
        }
        Ok(Some(Tensor::from_vec(dx, x.dims(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::super::testing::{assert_close, check, random};
    use super::*;

    #[test]
    fn value_and_gradient_equal_the_reference() {
        let (tokens, hidden, vocab) = (6, 5, 11);
        let w = random(1, vocab * hidden);
        let head = FrozenMatrix::from_f32(&w, vocab, hidden);
        let labels = Labels { rows: &[1, 4, 4, 5], targets: &[10, 0, 3, 7], weights: &[0.25, 0.5, 1.0, 2.0] };
        let reference = |x: &[Vec<f64>]| {
            let nll = |row: usize, target: usize| {
                let logit = |token: usize| -> f64 {
                    (0..hidden).map(|i| x[0][row * hidden + i] * f64::from(w[token * hidden + i])).sum()
                };
                (0..vocab).map(|token| logit(token).exp()).sum::<f64>().ln() - logit(target)
            };
            let terms = labels.rows.iter().zip(labels.targets).zip(labels.weights);
            vec![terms.map(|((&row, &target), &weight)| f64::from(weight) * nll(row as usize, target as usize)).sum()]
        };
        check(&[(tokens, hidden)], |x| linear_cross_entropy(&x[0], &head, labels, Precision::F32), reference);
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
        let ours = linear_cross_entropy(&x, &head, labels, Precision::F32).unwrap();

        let head = Tensor::from_vec(head_values, (vocab, hidden), &Device::Cpu).unwrap();
        let index = |values: &[u32]| Tensor::new(values, &Device::Cpu).unwrap();
        let logits = x.index_select(&index(&rows), 0).unwrap().matmul(&head.t().unwrap()).unwrap();
        let theirs = candle_nn::loss::cross_entropy(&logits, &index(&targets)).unwrap();
        let scalar = |x: &Tensor| x.to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap();
        assert_close("value", &[scalar(&ours) as f32], &[scalar(&theirs)]);

        // A factor after the loss reaches the gradient.
        let gradient = |loss: &Tensor| {
            let gradients = (loss * 1000.0).unwrap().backward().unwrap();
            gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let theirs: Vec<f64> = gradient(&theirs).into_iter().map(f64::from).collect();
        assert_close("gradient", &gradient(&ours), &theirs);
    }

    #[test]
    fn evaluation_gives_the_same_loss_and_makes_no_graph() {
        let head = FrozenMatrix::from_f32(&random(1, 9 * 4), 9, 4);
        let x = Var::from_vec(random(2, 12), (3, 4), &Device::Cpu).unwrap();
        let labels = Labels { rows: &[0, 2], targets: &[8, 1], weights: &[0.5, 0.5] };
        let trained = linear_cross_entropy(&x, &head, labels, Precision::F32).unwrap();
        let evaluated = linear_cross_entropy(&x.detach(), &head, labels, Precision::F32).unwrap();
        assert_eq!(trained.to_scalar::<f32>().unwrap(), evaluated.to_scalar::<f32>().unwrap());
        assert!(!evaluated.track_op());
        let gradients = trained.backward().unwrap();
        assert!(gradients.get_ids().all(|id| *id == x.id()), "a gradient of something other than x");
    }

    #[test]
    fn no_labels_give_a_loss_and_a_gradient_of_zero() {
        let head = FrozenMatrix::from_f32(&random(1, 9 * 4), 9, 4);
        let x = Var::from_vec(random(2, 12), (3, 4), &Device::Cpu).unwrap();
        let labels = Labels { rows: &[], targets: &[], weights: &[] };
        let loss = linear_cross_entropy(&x, &head, labels, Precision::F32).unwrap();
        assert_eq!(loss.to_scalar::<f32>().unwrap(), 0.0);
        let dx = loss.backward().unwrap().get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(dx, [0.0; 12]);
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
