//! The activation of the merger.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use candle_core::cpu::erf::erf_f64;
use candle_core::{Result, Tensor};

use super::buffer::{borrow, expect_shape, matrix, new_rows, written};
use super::on_device::{self, is_on_device};

const OP: &str = "gelu";

/// y = x Φ(x), with Φ(x) = (1 + erf(x / √2)) / 2; both are `[T, width]`.
///
/// Hendrycks and Gimpel 2016 (arXiv 1606.08415), without its approximation, as `torch.nn.GELU`.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    let (rows, width) = matrix(OP, "x", x)?;
    if is_on_device(x) {
        return x.gelu_erf();
    }
    let x = x.contiguous()?;
    let x = borrow(OP, "x", &x)?;
    let [y] = new_rows(
        rows,
        width,
        #[inline(always)]
        |row, y| {
            let x = x[row * width..].iter().copied().map(f64::from);
            written(y, x.map(|x| [(x * below(x)) as f32]))
        },
    )?;
    Ok(y)
}

/// The gradient of x given dy: dy (Φ(x) + x φ(x)), with φ(x) = e^(-x²/2) / √(2π).
pub fn gelu_backward(x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let (rows, width) = matrix(OP, "x", x)?;
    expect_shape(OP, "dy", dy, rows, width)?;
    if is_on_device(x) {
        return on_device::gelu_backward(x, dy);
    }
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let (x, dy) = (borrow(OP, "x", &x)?, borrow(OP, "dy", &dy)?);
    let slope = |x: f64| below(x) + x * (-0.5 * x * x).exp() / TAU.sqrt();
    let [dx] = new_rows(
        rows,
        width,
        #[inline(always)]
        |row, dx| {
            let operands = x[row * width..].iter().zip(&dy[row * width..]);
            written(dx, operands.map(|(x, dy)| [(f64::from(*dy) * slope(f64::from(*x))) as f32]))
        },
    )?;
    Ok(dx)
}

/// Φ: the share of a normal distribution that lies below `x`.
fn below(x: f64) -> f64 {
    0.5 * (1.0 + erf_f64(x * FRAC_1_SQRT_2))
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn value_and_gradient_equal_the_reference() {
        let reference = |x: &[Vec<f64>]| x[0].iter().map(|&x| x * below(x)).collect();
        check(&[(3, 7)], |x| gelu(&x[0]), |x, dy| Ok(vec![gelu_backward(&x[0], dy)?]), reference);
    }

    #[test]
    fn far_from_zero_it_is_x_or_nothing() {
        let x = Tensor::new(&[[-30f32, 0.0, 30.0]], &candle_core::Device::Cpu).unwrap();
        assert_eq!(gelu(&x).unwrap().to_vec2::<f32>().unwrap(), [[0.0, 0.0, 30.0]]);
        assert_eq!(gelu_backward(&x, &x.ones_like().unwrap()).unwrap().to_vec2::<f32>().unwrap(), [[0.0, 0.5, 1.0]]);
    }
}
