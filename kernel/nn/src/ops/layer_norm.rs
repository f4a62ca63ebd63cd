//! Layer normalisation.

use candle_core::{Result, Tensor};

use super::buffer::{borrow, expect_normable, expect_shape, expect_vector, matrix, new_rows, written};
use super::column_sums::add_column_sums;
use super::on_device::{self, is_on_device};

const OP: &str = "layer_norm";

/// y = (x - mean(x)) / sqrt(var(x) + eps) · weight + bias, row by row; the variance is that of the row itself (1 / n).
///
/// x and y are `[T, width]`, weight and bias `[width]`. Ba et al. 2016 (arXiv 1607.06450), as `torch.nn.LayerNorm`. An
/// operand of another width or type is an error.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    let (rows, width) = expect_normable(OP, x, weight)?;
    expect_vector(OP, "bias", bias, width)?;
    if is_on_device(x) {
        return on_device::layer_norm(x, weight, bias, eps);
    }
    let x = x.contiguous()?;
    let (x, weight, bias) = (borrow(OP, "x", &x)?, borrow(OP, "weight", weight)?, borrow(OP, "bias", bias)?);
    let [y] = new_rows(
        rows,
        width,
        #[inline(always)]
        |row, y| {
            let x = &x[row * width..][..width];
            let (mean, root) = moments(x, eps);
            let affine = weight.iter().zip(&*bias);
            written(y, x.iter().zip(affine).map(|(x, (w, b))| [(x - mean) * root * w + b]))
        },
    )?;
    Ok(y)
}

/// The gradient of x given dy, plus `residual`: what reaches x along the connection that passes the norm by.
///
/// With r = 1 / sqrt(var(x) + eps), n = (x - mean(x)) r and g = dy · weight: dx = r (g - mean(g) - n mean(g n)) +
/// residual.
pub fn layer_norm_backward(
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
        let dx = on_device::layer_norm_backward(x, weight, eps, dy)?;
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
            let (mean, root) = moments(x, eps);
            let [dx] = written(dx, dy.iter().zip(&*weight).map(|(dy, w)| [dy * w]));
            let mean_g = sum(dx.iter().copied()) / width as f32;
            let slope = root * root * sum(dx.iter().zip(x).map(|(g, x)| g * (x - mean))) / width as f32;
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx = (*dx - mean_g - (x - mean) * slope) * root;
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

/// sum += the gradient of the weight, `[width]`, given dy: Σ over rows of dy (x - mean(x)) / sqrt(var(x) + eps).
pub fn add_layer_norm_gradient(sum: &Tensor, x: &Tensor, eps: f32, dy: &Tensor) -> Result<()> {
    let (rows, width) = matrix(OP, "x", x)?;
    expect_shape(OP, "dy", dy, rows, width)?;
    if is_on_device(x) {
        expect_vector(OP, "sum", sum, width)?;
        return on_device::add_layer_norm_gradient(sum, x, eps, dy);
    }
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let (x, dy) = (borrow(OP, "x", &x)?, borrow(OP, "dy", &dy)?);
    add_column_sums(sum, [rows, width], |row, sums| {
        let (x, dy) = (&x[row * width..][..width], &dy[row * width..][..width]);
        let (mean, root) = moments(x, eps);
        for ((sum, x), dy) in sums.iter_mut().zip(x).zip(dy) {
            *sum += dy * (x - mean) * root;
        }
    })
}

/// mean(x) and 1 / sqrt(var(x) + eps).
#[inline(always)]
fn moments(x: &[f32], eps: f32) -> (f32, f32) {
    let mean = sum(x.iter().copied()) / x.len() as f32;
    let variance = sum(x.iter().map(|x| (x - mean) * (x - mean))) / x.len() as f32;
    (mean, 1.0 / (variance + eps).sqrt())
}

/// The sum in parts side by side, which the compiler can vectorise.
#[inline(always)]
fn sum(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0f32; LANES];
    let mut values = values;
    while values.len() >= LANES {
        for sum in &mut sums {
            *sum += values.next().unwrap_or_default();
        }
    }
    values.zip(&mut sums).for_each(|(value, sum)| *sum += value);
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::testing::{check, random};
    use super::*;

    const EPS: f64 = 1e-6;

    fn vector(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    /// (x - mean) / sqrt(var + eps).
    fn normed(x: &[f64]) -> Vec<f64> {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
        x.iter().map(|x| (x - mean) / (variance + EPS).sqrt()).collect()
    }

    #[test]
    fn value_and_gradient_equal_the_reference() {
        for (rows, width) in [(1, 2), (3, 5), (2, 33)] {
            let [weight, bias] = [7, 8].map(|seed| random(seed, width));
            let (of_norm, added) = (vector(&weight), vector(&bias));
            let reference = |inputs: &[Vec<f64>]| {
                let normed = inputs[0].chunks(width).flat_map(normed).enumerate();
                normed.map(|(i, v)| v * f64::from(weight[i % width]) + f64::from(bias[i % width])).collect()
            };
            check(
                &[(rows, width)],
                |x| layer_norm(&x[0], &of_norm, &added, EPS as f32),
                |x, dy| Ok(vec![layer_norm_backward(&x[0], &of_norm, EPS as f32, dy, None)?]),
                reference,
            );
        }
    }

    #[test]
    fn the_gradient_of_the_weight_equals_the_reference() {
        for (rows, width) in [(1, 2), (3, 5), (70, 33)] {
            let x = Tensor::from_vec(random(3, rows * width), (rows, width), &Device::Cpu).unwrap();
            let values: Vec<f64> = random(3, rows * width).into_iter().map(f64::from).collect();
            let bias = vector(&vec![0.0; width]);
            let reference = |weight: &[Vec<f64>]| {
                let normed = values.chunks(width).flat_map(normed).enumerate();
                normed.map(|(i, v)| v * weight[0][i % width]).collect()
            };
            check(
                &[(1, width)],
                |weight| layer_norm(&x, &weight[0].flatten_all()?, &bias, EPS as f32),
                |weight, dy| {
                    let sum = weight[0].flatten_all()?.zeros_like()?;
                    add_layer_norm_gradient(&sum, &x, EPS as f32, dy)?;
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
        let apart = (layer_norm_backward(&x, &weight, 1e-6, &dy, None).unwrap() + &residual).unwrap();
        let together = layer_norm_backward(&x, &weight, 1e-6, &dy, Some(&residual)).unwrap();
        assert_eq!(together.to_vec2::<f32>().unwrap(), apart.to_vec2::<f32>().unwrap());
    }

    #[test]
    fn a_large_mean_costs_no_digits() {
        let x: Vec<f32> = random(5, 64).into_iter().map(|x| 1000.0 + x).collect();
        let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let (one, zero) = (vector(&[1.0; 64]), vector(&[0.0; 64]));
        let y = layer_norm(&Tensor::from_vec(x, (1, 64), &Device::Cpu).unwrap(), &one, &zero, EPS as f32).unwrap();
        let worst = y.to_vec2::<f32>().unwrap()[0]
            .iter()
            .zip(normed(&exact))
            .fold(0f64, |worst, (&found, expected)| worst.max((f64::from(found) - expected).abs()));
        assert!(worst < 1e-3, "{worst}");
    }

    #[test]
    fn other_operands_are_refused_by_name() {
        let weight = vector(&[1.0; 4]);
        let narrow = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        let message = layer_norm(&narrow, &weight, &weight, 1e-6).unwrap_err().to_string();
        assert!(message.contains("layer_norm") && message.contains("[2, 3]") && message.contains('4'), "{message}");
    }
}
