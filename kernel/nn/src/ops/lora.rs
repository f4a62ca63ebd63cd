//! The low-rank matmuls of an adapter. What was a layer's input, and the gradient of its output, may be
//! [`rounded`](mod@super::rounded).
//!
//! The gradients of A and B multiply a narrow operand with one as wide as the layer. The narrow one is packed whole;
//! the wide one is read once, block by block.

use candle_core::{CpuStorage, InplaceOp3, Layout, Result, Tensor};
use tunebook_gemm::{Accum, Gemm, Par, Precision, View, ViewMut};

use super::buffer::{
    activations, borrow, borrow_operand, expect_operand, expect_shape, floats_mut, matrix, operand_sizes, tensor,
};
use super::on_device::{accumulate, is_on_device, product_nn, product_nt, product_tn};

const OP: &str = "lora";

/// h = scaling · x Aᵀ, `[T, r]`: the input of B. x is `[T, in]`, A `[r, in]`.
///
/// Hu et al. 2021 (arXiv 2106.09685): y = x Wᵀ + h Bᵀ, with A, B and scaling as PEFT's `lora_A.weight`,
/// `lora_B.weight` and `scaling`.
pub fn lora_down(x: &Tensor, a: &Tensor, scaling: f32, precision: Precision) -> Result<Tensor> {
    let (rows, inputs) = operand_sizes(OP, "x", x)?;
    let (rank, _) = matrix(OP, "lora_A", a)?;
    expect_shape(OP, "lora_A", a, rank, inputs)?;
    if is_on_device(x) {
        return product_nt(x, a, precision)? * f64::from(scaling);
    }
    let x = x.contiguous()?;
    let mut h = vec![0f32; rows * rank];
    let (x, a) = (borrow_operand(OP, "x", &x)?, borrow(OP, "lora_A", a)?);
    Gemm {
        a: View::of_activations(x.elements(), [rows, inputs]),
        b: View::rows(&a, [rank, inputs]).t(),
        c: ViewMut::rows(&mut h, [rows, rank]),
        alpha: scaling,
        accum: Accum::Replace,
        par: Par::Rayon,
        precision,
    }
    .run();
    tensor(h, rows, rank)
}

/// scaling · dy F: what reaches the input of a factor F, `[out, in]`, of which dy, `[T, out]`, is the gradient of the
/// output. With B it is dh, the gradient of x Aᵀ; with A it is what x gets through the adapter.
pub fn lora_factor_backward(dy: &Tensor, factor: &Tensor, scaling: f32, precision: Precision) -> Result<Tensor> {
    let (rows, outputs) = operand_sizes(OP, "dy", dy)?;
    let (_, inputs) = matrix(OP, "factor", factor)?;
    expect_shape(OP, "factor", factor, outputs, inputs)?;
    if is_on_device(dy) {
        return product_nn(dy, factor, precision)? * f64::from(scaling);
    }
    let dy = dy.contiguous()?;
    let mut dx = vec![0f32; rows * inputs];
    let (dy, factor) = (borrow_operand(OP, "dy", &dy)?, borrow(OP, "factor", factor)?);
    Gemm {
        a: View::of_activations(dy.elements(), [rows, outputs]),
        b: View::rows(&factor, [outputs, inputs]),
        c: ViewMut::rows(&mut dx, [rows, inputs]),
        alpha: scaling,
        accum: Accum::Replace,
        par: Par::Rayon,
        precision,
    }
    .run();
    tensor(dx, rows, inputs)
}

/// sum += leftᵀ right, in place: a weight's gradient, added to that of earlier rows. left is `[T, m]`, right
/// `[T, n]`, sum `[m, n]`.
pub fn add_weight_gradient(sum: &Tensor, left: &Tensor, right: &Tensor, precision: Precision) -> Result<()> {
    let (rows, m) = operand_sizes(OP, "left", left)?;
    let (_, n) = operand_sizes(OP, "right", right)?;
    expect_operand(OP, "right", right, rows, n)?;
    expect_shape(OP, "sum", sum, m, n)?;
    if is_on_device(left) {
        return accumulate(sum, &product_tn(left, right, precision)?);
    }
    sum.inplace_op3(&left.contiguous()?, &right.contiguous()?, &AddWeightGradient { rows, m, n, precision })
}

struct AddWeightGradient {
    rows: usize,
    m: usize,
    n: usize,
    precision: Precision,
}

impl InplaceOp3 for AddWeightGradient {
    fn name(&self) -> &'static str {
        "add_weight_gradient"
    }

    fn cpu_fwd(
        &self,
        s1: &mut CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<()> {
        let Self { rows, m, n, precision } = *self;
        let sum = floats_mut(OP, "sum", s1, l1)?;
        let (left, right) = (activations(OP, "left", s2, l2)?, activations(OP, "right", s3, l3)?);
        Gemm {
            a: View::of_activations(left, [rows, m]).t(),
            b: View::of_activations(right, [rows, n]),
            c: ViewMut::rows(sum, [m, n]),
            alpha: 1.0,
            accum: Accum::Add,
            par: Par::Rayon,
            precision,
        }
        .run();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::linear::{LowRank, linear, linear_backward, lora_linear, lora_linear_backward};
    use super::super::testing::{check, random};
    use super::*;
    use crate::frozen::FrozenMatrix;

    const SCALING: f32 = 1.5;

    #[test]
    fn a_linear_layer_with_an_adapter_equals_the_reference_in_value_and_gradients() {
        for (rows, inputs, outputs, rank) in [(1, 1, 1, 1), (3, 5, 7, 2), (4, 6, 3, 2)] {
            let w = random(1, outputs * inputs);
            let weight = FrozenMatrix::from_f32(&w, outputs, inputs);
            let reference = |operands: &[Vec<f64>]| {
                let (x, a, b) = (&operands[0], &operands[1], &operands[2]);
                let down = |row: usize, r: usize| -> f64 {
                    (0..inputs).map(|i| x[row * inputs + i] * a[r * inputs + i]).sum()
                };
                let out = |row: usize, o: usize| {
                    let base: f64 = (0..inputs).map(|i| x[row * inputs + i] * f64::from(w[o * inputs + i])).sum();
                    let adapter: f64 = (0..rank).map(|r| down(row, r) * b[o * rank + r]).sum();
                    base + f64::from(SCALING) * adapter
                };
                (0..rows * outputs).map(|i| out(i / outputs, i % outputs)).collect()
            };
            let zeros = |shape: (usize, usize)| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            check(
                &[(rows, inputs), (rank, inputs), (outputs, rank)],
                |x| {
                    let h = lora_down(&x[0], &x[1], SCALING, Precision::F32)?;
                    linear(&x[0], &weight, None, Some(LowRank { h: &h, factor: &x[2] }), Precision::F32, DType::F32)
                },
                |x, dy| {
                    let (da, db) = (zeros((rank, inputs)), zeros((outputs, rank)));
                    let h = lora_down(&x[0], &x[1], SCALING, Precision::F32)?;
                    let dh = lora_factor_backward(dy, &x[2], SCALING, Precision::F32)?;
                    add_weight_gradient(&da, &dh, &x[0], Precision::F32)?;
                    add_weight_gradient(&db, dy, &h, Precision::F32)?;
                    let low_rank = Some(LowRank { h: &dh, factor: &x[1] });
                    Ok(vec![linear_backward(dy, &weight, low_rank, Precision::F32, DType::F32)?, da, db])
                },
                reference,
            );
            check(
                &[(rows, inputs), (rank, inputs), (outputs, rank)],
                |x| Ok(lora_linear(&x[0], &weight, None, [&x[1], &x[2]], SCALING, Precision::F32, DType::F32)?.0),
                |x, dy| {
                    let (da, db) = (zeros((rank, inputs)), zeros((outputs, rank)));
                    let (_, h) =
                        lora_linear(&x[0], &weight, None, [&x[1], &x[2]], SCALING, Precision::F32, DType::F32)?;
                    let (dx, dh) =
                        lora_linear_backward(dy, &weight, [&x[1], &x[2]], SCALING, Precision::F32, DType::F32)?;
                    add_weight_gradient(&da, &dh, &x[0], Precision::F32)?;
                    add_weight_gradient(&db, dy, &h, Precision::F32)?;
                    Ok(vec![dx, da, db])
                },
                reference,
            );
        }
    }

    #[test]
    fn gradients_of_several_batches_add_up() {
        let [left, right] = [1, 2].map(|seed| Tensor::from_vec(random(seed, 6), (3, 2), &Device::Cpu).unwrap());
        let sum = Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
        for _ in 0..2 {
            add_weight_gradient(&sum, &left, &right, Precision::F32).unwrap();
        }
        let expected = (left.t().unwrap().matmul(&right).unwrap() * 2.0).unwrap();
        let worst = (sum - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(worst < 1e-6, "{worst}");
    }

    #[test]
    fn operands_that_do_not_fit_are_refused_by_name() {
        let zeros =
            |shape: (usize, usize)| Tensor::from_vec(vec![0f32; shape.0 * shape.1], shape, &Device::Cpu).unwrap();
        let message = lora_down(&zeros((4, 3)), &zeros((2, 4)), 1.0, Precision::F32).unwrap_err().to_string();
        assert!(message.contains("`lora_A` has shape [2, 4], expected [2, 3]"), "{message}");
        let message =
            lora_factor_backward(&zeros((4, 5)), &zeros((6, 2)), 1.0, Precision::F32).unwrap_err().to_string();
        assert!(message.contains("`factor` has shape [6, 2], expected [5, 2]"), "{message}");
        let refused = add_weight_gradient(&zeros((2, 2)), &zeros((3, 2)), &zeros((4, 2)), Precision::F32);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("`right` has shape [4, 2], expected [3, 2]"), "{message}");
    }
}
