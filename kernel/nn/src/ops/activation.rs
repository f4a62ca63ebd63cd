//! Activations of two-layer perceptrons: GELU and its approximations.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use candle_core::cpu::erf::erf_f64;
use candle_core::{Result, Tensor};

use super::buffer::{borrow, expect_shape, matrix, new_rows, written};
use super::exp::sigmoid;
use super::on_device::{self, is_on_device};

const OP: &str = "activation";

/// An activation by the name that `hidden_act` in config.json has for it. Hendrycks and Gimpel 2016 (arXiv 1606.08415).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `gelu`: x Φ(x), with Φ(x) = (1 + erf(x / √2)) / 2.
    Gelu,
    /// `gelu_pytorch_tanh`: x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2.
    GeluTanh,
    /// `quick_gelu`: x sigmoid(1.702 x).
    QuickGelu,
}

impl Activation {
    /// y = f(x); both are `[T, width]`.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        if is_on_device(x) {
            return on_device::activation(self, x);
        }
        match self {
            Self::Gelu => map(x, |x| (f64::from(x) * below(f64::from(x))) as f32),
            Self::GeluTanh => map(x, |x| x * sigmoid(tanh_argument(x))),
            Self::QuickGelu => map(x, |x| x * sigmoid(QUICK * x)),
        }
    }

    /// The gradient of x given dy: dy f'(x).
    ///
    /// The approximations are x s with s = sigmoid(u(x)), so that f'(x) = s + x s (1 - s) u'(x).
    pub fn backward(self, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let (rows, width) = matrix(OP, "x", x)?;
        expect_shape(OP, "dy", dy, rows, width)?;
        if is_on_device(x) {
            return on_device::activation_backward(self, x, dy);
        }
        match self {
            Self::Gelu => map_backward(x, dy, |x| {
                let x = f64::from(x);
                (below(x) + x * (-0.5 * x * x).exp() / TAU.sqrt()) as f32
            }),
            Self::GeluTanh => map_backward(x, dy, |x| {
                let s = sigmoid(tanh_argument(x));
                s + x * s * (1.0 - s) * (TANH + 3.0 * TANH_CUBIC * x * x)
            }),
            Self::QuickGelu => map_backward(x, dy, |x| {
                let s = sigmoid(QUICK * x);
                s + QUICK * x * s * (1.0 - s)
            }),
        }
    }
}

pub(super) const QUICK: f32 = 1.702;
/// 2 √(2/π): (1 + tanh(z)) / 2 = sigmoid(2 z).
pub(super) const TANH: f32 = 1.595_769;
pub(super) const TANH_CUBIC: f32 = 0.044_715 * TANH;

#[inline(always)]
fn tanh_argument(x: f32) -> f32 {
    TANH * x + TANH_CUBIC * x * x * x
}

/// Φ: the share of a normal distribution that lies below `x`.
fn below(x: f64) -> f64 {
    0.5 * (1.0 + erf_f64(x * FRAC_1_SQRT_2))
}

#[inline(always)]
fn map(x: &Tensor, f: impl Fn(f32) -> f32 + Sync) -> Result<Tensor> {
    let (rows, width) = matrix(OP, "x", x)?;
    let x = x.contiguous()?;
    let x = borrow(OP, "x", &x)?;
    let [y] = new_rows(
        rows,
        width,
        #[inline(always)]
        |row, y| written(y, x[row * width..].iter().map(|&x| [f(x)])),
    )?;
    Ok(y)
}

#[inline(always)]
fn map_backward(x: &Tensor, dy: &Tensor, slope: impl Fn(f32) -> f32 + Sync) -> Result<Tensor> {
    let (rows, width) = matrix(OP, "x", x)?;
    let (x, dy) = (x.contiguous()?, dy.contiguous()?);
    let (x, dy) = (borrow(OP, "x", &x)?, borrow(OP, "dy", &dy)?);
    let [dx] = new_rows(
        rows,
        width,
        #[inline(always)]
        |row, dx| {
            let operands = x[row * width..].iter().zip(&dy[row * width..]);
            written(dx, operands.map(|(&x, &dy)| [dy * slope(x)]))
        },
    )?;
    Ok(dx)
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    const ALL: [Activation; 3] = [Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu];

    #[test]
    fn values_and_gradients_equal_the_reference() {
        for activation in ALL {
            let f = |x: f64| match activation {
                Activation::Gelu => x * below(x),
                Activation::GeluTanh => {
                    0.5 * x * (1.0 + ((2.0 / (TAU / 2.0)).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
                }
                Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
            };
            check(
                &[(3, 37)],
                |x| activation.forward(&(&x[0] * 4.0)?),
                |x, dy| Ok(vec![(activation.backward(&(&x[0] * 4.0)?, dy)? * 4.0)?]),
                |x| x[0].iter().map(|&x| f(4.0 * x)).collect(),
            );
        }
    }

    #[test]
    fn far_from_zero_it_is_x_or_nothing() {
        let x = Tensor::new(&[[-30f32, 0.0, 30.0]], &candle_core::Device::Cpu).unwrap();
        for activation in ALL {
            let y = activation.forward(&x).unwrap().to_vec2::<f32>().unwrap();
            assert!(y[0][0].abs() < 1e-12 && y[0][1..] == [0.0, 30.0], "{activation:?}: {y:?}");
            let dx = activation.backward(&x, &x.ones_like().unwrap()).unwrap().to_vec2::<f32>().unwrap();
            assert!(dx[0][0].abs() < 1e-12 && dx[0][1..] == [0.5, 1.0], "{activation:?}: {dx:?}");
        }
    }
}
