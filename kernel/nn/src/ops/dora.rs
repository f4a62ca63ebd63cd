//! The column scaling of DoRA: a row of the weight has a length that is trained by itself.
//!
//! Liu et al. 2024 (arXiv 2402.09353), section 4.3, as PEFT computes it: with V = W + scaling · B A, the layer's weight is
//! magnitude · V / ‖V‖ row by row, and ‖V‖ counts as a constant in the backward pass.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;
use tunebook_gemm::{Accum, Gemm, Par, Precision, View, ViewMut};

use super::buffer::{borrow, expect_shape, expect_vector, matrix, new_rows, written};
use super::column_sums::add_column_sums;
use super::on_device::{self, accumulate, is_on_device};
use crate::frozen::FrozenMatrix;

const OP: &str = "dora";

/// Rows of the weight that are read at a time.
const BLOCK: usize = 64;

/// ‖W + scaling · B A‖, row by row: `[out]`. A is `[r, in]`, B `[out, r]`.
pub fn dora_norms(weight: &FrozenMatrix, a: &Tensor, b: &Tensor, scaling: f32) -> Result<Tensor> {
    let (rank, _) = matrix(OP, "lora_A", a)?;
    expect_shape(OP, "lora_A", a, rank, weight.cols)?;
    expect_shape(OP, "lora_B", b, weight.rows, rank)?;
    if is_on_device(a) {
        return on_device::dora_norms(&weight.tensor(a.device(), DType::F32)?, a, b, scaling);
    }
    let (a, b) = (borrow(OP, "lora_A", a)?, borrow(OP, "lora_B", b)?);
    let cols = weight.cols;
    let mut norms = vec![0f32; weight.rows];
    norms.par_chunks_mut(BLOCK).enumerate().for_each_init(Vec::new, |rows, (block, norms)| {
        let first = block * BLOCK;
        rows.resize(norms.len() * cols, 0.0);
        weight.read(first * cols, rows);
        Gemm {
            a: View::rows(&b[first * rank..], [norms.len(), rank]),
            b: View::rows(&a, [rank, cols]),
            c: ViewMut::rows(rows, [norms.len(), cols]),
            alpha: scaling,
            accum: Accum::Add,
            par: Par::Seq,
            precision: Precision::F32,
        }
        .run();
        for (norm, row) in norms.iter_mut().zip(rows.chunks_exact(cols.max(1))) {
            *norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt() as f32;
        }
    });
    Tensor::from_vec(norms, weight.rows, &Device::Cpu)
}

/// y = factors · z + bias, column by column; y and z are `[T, out]`.
pub fn scale_columns(z: &Tensor, factors: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (rows, width) = matrix(OP, "z", z)?;
    expect_vector(OP, "factors", factors, width)?;
    if let Some(bias) = bias {
        expect_vector(OP, "bias", bias, width)?;
    }
    if is_on_device(z) {
        return on_device::scale_columns(z, factors, bias);
    }
    let z = z.contiguous()?;
    let (z, factors) = (borrow(OP, "z", &z)?, borrow(OP, "factors", factors)?);
    let bias = bias.map(|bias| borrow(OP, "bias", bias)).transpose()?;
    let [y] = new_rows(
        rows,
        width,
        #[inline(always)]
        |row, y| {
            let operands = z[row * width..].iter().zip(&*factors);
            match &bias {
                Some(bias) => written(y, operands.zip(&**bias).map(|((z, factor), bias)| [z * factor + bias])),
                None => written(y, operands.map(|(z, factor)| [z * factor])),
            }
        },
    )?;
    Ok(y)
}

/// sum += the gradient of the magnitudes, `[out]`, given z = x Vᵀ and the gradient dy of magnitude · z / norm:
/// Σ over rows of dy · z / norm.
pub fn add_magnitude_gradient(sum: &Tensor, z: &Tensor, norms: &Tensor, dy: &Tensor) -> Result<()> {
    let (rows, width) = matrix(OP, "z", z)?;
    expect_vector(OP, "norms", norms, width)?;
    expect_shape(OP, "dy", dy, rows, width)?;
    if is_on_device(z) {
        expect_vector(OP, "sum", sum, width)?;
        return accumulate(sum, &((dy * z)?.sum(0)? / norms)?);
    }
    let (z, dy) = (z.contiguous()?, dy.contiguous()?);
    let (z, dy, norms) = (borrow(OP, "z", &z)?, borrow(OP, "dy", &dy)?, borrow(OP, "norms", norms)?);
    add_column_sums(sum, [rows, width], |row, sums| {
        let operands = z[row * width..].iter().zip(&dy[row * width..]).zip(&*norms);
        sums.iter_mut().zip(operands).for_each(|(sum, ((z, dy), norm))| *sum += dy * z / norm);
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::testing::{assert_close, both_ways, check, random};
    use super::*;

    #[test]
    fn norms_are_those_of_the_sum() {
        for (outputs, inputs, rank) in [(1, 1, 1), (70, 33, 3), (130, 5, 2)] {
            let (w, a, b) = (random(1, outputs * inputs), random(2, rank * inputs), random(3, outputs * rank));
            let expected: Vec<f64> = (0..outputs)
                .map(|o| {
                    let value = |i: usize| {
                        let product: f64 =
                            (0..rank).map(|r| f64::from(b[o * rank + r]) * f64::from(a[r * inputs + i])).sum();
                        f64::from(w[o * inputs + i]) + 1.5 * product
                    };
                    (0..inputs).map(|i| value(i) * value(i)).sum::<f64>().sqrt()
                })
                .collect();
            let weight = FrozenMatrix::from_f32(&w, outputs, inputs);
            let tensor = |values, shape: (usize, usize)| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
            let (a, b) = (tensor(a, (rank, inputs)), tensor(b, (outputs, rank)));
            for norms in both_ways(|| dora_norms(&weight, &a, &b, 1.5).unwrap()) {
                assert_close("norms", &norms.to_vec1::<f32>().unwrap(), &expected);
            }
        }
    }

    #[test]
    fn value_and_gradients_equal_the_reference() {
        let (rows, width) = (70, 5);
        let norms: Vec<f32> = random(5, width).iter().map(|v| v + 2.0).collect();
        let bias = random(6, width);
        let [of_norms, of_bias] = [&norms, &bias].map(|values| Tensor::new(&values[..], &Device::Cpu).unwrap());
        let factors = |magnitude: &Tensor| (magnitude.flatten_all().unwrap() / &of_norms).unwrap();
        check(
            &[(rows, width), (1, width)],
            |x| scale_columns(&x[0], &factors(&x[1]), Some(&of_bias)),
            |x, dy| {
                let sum = x[1].flatten_all()?.zeros_like()?;
                add_magnitude_gradient(&sum, &x[0], &of_norms, dy)?;
                Ok(vec![scale_columns(dy, &factors(&x[1]), None)?, sum.reshape((1, width))?])
            },
            |x| {
                let value = |(i, z): (usize, &f64)| {
                    let column = i % width;
                    x[1][column] / f64::from(norms[column]) * z + f64::from(bias[column])
                };
                x[0].iter().enumerate().map(value).collect()
            },
        );
    }

    #[test]
    fn operands_that_do_not_fit_are_refused() {
        let z = Tensor::from_vec(random(1, 6), (2, 3), &Device::Cpu).unwrap();
        let ones = |n: usize| Tensor::ones(n, DType::F32, &Device::Cpu).unwrap();
        let message = scale_columns(&z, &ones(1), None).unwrap_err().to_string();
        assert!(message.contains("`factors` has shape [1], expected [3]"), "{message}");
        let message = scale_columns(&z, &ones(3), Some(&ones(1))).unwrap_err().to_string();
        assert!(message.contains("`bias` has shape [1], expected [3]"), "{message}");
        let weight = FrozenMatrix::from_f32(&random(1, 6), 2, 3);
        assert!(dora_norms(&weight, &z, &z, 1.0).is_err());
    }
}
