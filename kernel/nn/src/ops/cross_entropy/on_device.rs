//! The same for tensors that do not lie in CPU memory.

use candle_core::{Result, Tensor};
use tunebook_gemm::Precision;

use super::super::on_device::{accumulate, add_rows, product_nn, product_nt, product_tn};
use super::{GradientSums, Labels, head_chunk};

/// The loss; the gradients are added to `sums`.
pub(super) fn linear_cross_entropy(
    x: &Tensor,
    head: &Tensor,
    labels: Labels<'_>,
    precision: Precision,
    sums: Option<GradientSums<'_, &Tensor>>,
) -> Result<f64> {
    let (device, chunk) = (x.device(), head_chunk(head.dim(0)?));
    let chunks = labels.rows.chunks(chunk).zip(labels.targets.chunks(chunk)).zip(labels.weights.chunks(chunk));
    let mut loss = 0f64;
    for ((rows, targets), weights) in chunks {
        if sums.is_some_and(|sums| !(sums.goes_on)()) {
            break;
        }
        let column = (rows.len(), 1);
        let labelled = x.index_select(&Tensor::new(rows, device)?, 0)?;
        let targets = Tensor::from_slice(targets, column, device)?;
        let logits = product_nt(&labelled, head, precision)?;
        let max = logits.max_keepdim(1)?;
        let exponentials = logits.broadcast_sub(&max)?.exp()?;
        let sum = exponentials.sum_keepdim(1)?;
        let of_rows = (sum.log()? + (max - logits.gather(&targets, 1)?)?)?.flatten_all()?.to_vec1::<f32>()?;
        loss += of_rows.iter().zip(weights).map(|(nll, weight)| f64::from(*weight) * f64::from(*nll)).sum::<f64>();

        let Some(sums) = sums else { continue };
        let weights = Tensor::from_slice(weights, column, device)?;
        // d nll / d logits = softmax(logits) - onehot(target).
        let softmax = exponentials.broadcast_mul(&(&weights / sum)?)?;
        let dlogits = softmax.scatter_add(&targets, &weights.neg()?, 1)?;
        add_rows(sums.x, rows, &product_nn(&dlogits, head, precision)?)?;
        if let Some(head_sum) = sums.head {
            accumulate(head_sum, &product_tn(&dlogits, &labelled, Precision::F32)?)?;
        }
    }
    Ok(loss)
}
