//! Root mean square normalisation.

use candle_core::{Result, Tensor};

use super::buffer::{borrow, expect_normable, expect_shape, expect_vector, matrix, new_rows, written};
use super::column_sums::add_column_sums;
use super::on_device::{self, is_on_device};
use super::vector::dot;

const OP: &str = "rms_norm";

/// y = x / sqrt(mean(x²) + eps) · weight, row by row.
///
/// x and y are `[T, width]`, the weight is `[width]`. Zhang and Sennrich 2019 (arXiv 1910.07467), with
/// eps under the root as `Qwen2RMSNorm` of transformers has it. An operand of another width or type is an error.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    let (rows, width) = expect_normable(OP, x, weight)?;
    if is_on_device(x) {
        return on_device::rms_norm(x, weight, eps);
    }
    let x = x.contiguous()?;
    let (x, weight) = (borrow(OP, "x", &x)?, borrow(OP, "weight", weight)?);
    let [y] = new_rows(
        rows,
        width,
        #[inline(always)]
        |row, y| {
            let x = &x[row * width..][..width];
            let root = reciprocal_root(x, eps);
            written(y, x.iter().zip(&*weight).map(|(x, w)| [x * root * w]))
        },
    )?;
    Ok(y)
}

/// The gradient of x given dy, plus `residual`: what reaches x along the connection that passes the norm by.
///
/// With r = 1 / sqrt(mean(x²) + eps) and g = dy · weight: dx = g r - x r³ mean(g x) + residual.
pub fn rms_norm_backward(
    x: &Tensor,
    weight: &Tensor,
    eps: f32,
    dy: &Tensor,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let (rows, width) = expect_normable(OP, x, weight)?;
    expect_shape(OP, "dy", dy, rows, width)?;
    if let Some(residual) = residual {
        expect_shape(OP, "residual", residual, rows, width)?;
    }
    if is_on_device(x) {
        let dx = on_device::rms_norm_backward(x, weight, eps, dy)?;
        return residual.map_or(Ok(dx.clone()), |residual| dx + residual);
    }
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let residual = residual.map(|residual| residual.contiguous()).transpose()?;
    let (x, dy, weight) = (borrow(OP, "x", &x)?, borrow(OP, "dy", &dy)?, borrow(OP, "weight", weight)?);
    let residual = residual.as_ref().map(|residual| borrow(OP, "residual", residual)).transpose()?;
    let [dx] = new_rows(
        rows,
        width,
        #[inline(always)]
        |row, dx| {
            let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
            let root = reciprocal_root(x, eps);
            let [dx] = written(dx, dy.iter().zip(&*weight).map(|(dy, w)| [dy * w]));
            let slope = root * root * root * dot(dx, x) / width as f32;
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx = *dx * root - x * slope;
            }
            if let Some(residual) = &residual {
                let residual = &residual[row * width..][..width];
                dx.iter_mut().zip(residual).for_each(|(dx, residual)| *dx += residual);
            }
            [dx]
        },
    )?;
    Ok(dx)
}

/// sum += the gradient of the weight, `[width]`, given dy: Σ over rows of dy · x / sqrt(mean(x²) + eps).
pub fn add_rms_norm_gradient(sum: &Tensor, x: &Tensor, eps: f32, dy: &Tensor) -> Result<()> {
    let (rows, width) = matrix(OP, "x", x)?;
    expect_shape(OP, "dy", dy, rows, width)?;
    if is_on_device(x) {
        expect_vector(OP, "sum", sum, width)?;
        return on_device::add_rms_norm_gradient(sum, x, eps, dy);
    }
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let (x, dy) = (borrow(OP, "x", &x)?, borrow(OP, "dy", &dy)?);
    add_column_sums(sum, [rows, width], |row, sums| {
        let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
        let root = reciprocal_root(x, eps);
        for ((sum, x), dy) in sums.iter_mut().zip(x).zip(dy) {
            *sum += dy * x * root;
        }
    })
}

/// 1 / sqrt(mean(x²) + eps).
#[inline(always)]
fn reciprocal_root(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::testing::{check, random};
    use super::*;

    fn vector(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn value_and_gradient_equal_the_reference() {
        for (rows, width) in [(1, 1), (3, 5), (2, 33)] {
            let weight = random(7, width);
            let of_norm = vector(&weight);
            let reference = |inputs: &[Vec<f64>]| {
                let normed = inputs[0].chunks(width).flat_map(|x| {
                    let mean = x.iter().map(|v| v * v).sum::<f64>() / width as f64;
                    x.iter().map(move |v| v / (mean + 1e-6).sqrt()).collect::<Vec<_>>()
                });
                normed.enumerate().map(|(i, v)| v * f64::from(weight[i % width])).collect()
            };
            check(
                &[(rows, width)],
                |x| rms_norm(&x[0], &of_norm, 1e-6),
                |x, dy| Ok(vec![rms_norm_backward(&x[0], &of_norm, 1e-6, dy, None)?]),
                reference,
            );
        }
    }

    #[test]
    fn the_gradient_of_the_weight_equals_the_reference() {
        for (rows, width) in [(1, 1), (3, 5), (70, 33)] {
            let x = Tensor::from_vec(random(3, rows * width), (rows, width), &Device::Cpu).unwrap();
            let values: Vec<f64> = random(3, rows * width).into_iter().map(f64::from).collect();
            let reference = |weight: &[Vec<f64>]| {
                let normed = values.chunks(width).flat_map(|x| {
                    let mean = x.iter().map(|v| v * v).sum::<f64>() / width as f64;
                    x.iter().map(move |v| v / (mean + 1e-6).sqrt()).collect::<Vec<_>>()
                });
                normed.enumerate().map(|(i, v)| v * weight[0][i % width]).collect()
            };
            check(
                &[(1, width)],
                |weight| rms_norm(&x, &weight[0].flatten_all()?, 1e-6),
                |weight, dy| {
                    let sum = weight[0].flatten_all()?.zeros_like()?;
                    add_rms_norm_gradient(&sum, &x, 1e-6, dy)?;
                    Ok(vec![sum.reshape((1, width))?])
                },
                reference,
            );
        }
    }

    #[test]
    fn the_residuals_gradient_is_added() {
        let weight = vector(&random(7, 5));
        let [x, dy, residual] = [1, 2, 3].map(|seed| Tensor::from_vec(random(seed, 15), (3, 5), &Device::Cpu).unwrap());
        let apart = (rms_norm_backward(&x, &weight, 1e-6, &dy, None).unwrap() + &residual).unwrap();
        let together = rms_norm_backward(&x, &weight, 1e-6, &dy, Some(&residual)).unwrap();
        assert_eq!(together.to_vec2::<f32>().unwrap(), apart.to_vec2::<f32>().unwrap());
    }

    #[test]
    fn many_rows_equal_one_at_a_time() {
        let (rows, width) = (300, 257);
        let weight = vector(&random(1, width));
        let x = Tensor::from_vec(random(2, rows * width), (rows, width), &Device::Cpu).unwrap();
        let all = rms_norm(&x, &weight, 1e-6).unwrap().to_vec2::<f32>().unwrap();
        for row in [0, 1, 127, 128, 299] {
            let one = rms_norm(&x.narrow(0, row, 1).unwrap(), &weight, 1e-6).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(one[0], all[row]);
        }
    }

    #[test]
    fn other_operands_are_refused_by_name() {
        let weight = vector(&[1.0; 4]);
        let narrow = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        let message = rms_norm(&narrow, &weight, 1e-6).unwrap_err().to_string();
        assert!(message.contains("rms_norm") && message.contains("[2, 3]") && message.contains('4'), "{message}");
        let half = Tensor::zeros((2, 4), DType::BF16, &Device::Cpu).unwrap();
        let message = rms_norm(&half, &weight, 1e-6).unwrap_err().to_string();
        assert!(message.contains("BF16") && message.contains("f32"), "{message}");
    }
}
