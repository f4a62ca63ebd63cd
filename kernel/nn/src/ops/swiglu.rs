//! The gated activation of the feed-forward blocks.

use candle_core::{Result, Tensor};

use super::buffer::{borrow, expect_shape, matrix, new_rows};
use super::exp::sigmoid;
use super::on_device::{self, is_on_device};
use super::vector::vectorized;

const OP: &str = "swiglu";

/// y = silu(gate) · up, with silu(x) = x / (1 + e^-x); all three are `[T, width]`.
///
/// Shazeer 2020 (arXiv 2002.05202), as `Qwen2MLP` of transformers computes it. Operands of different shapes are
/// an error.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let (rows, width) = matrix(OP, "gate", gate)?;
    expect_shape(OP, "up", up, rows, width)?;
    if is_on_device(gate) {
        return on_device::swiglu(gate, up);
    }
    let (gate, up) = (gate.contiguous()?, up.contiguous()?);
    let (gate, up) = (borrow(OP, "gate", &gate)?, borrow(OP, "up", &up)?);
    let [y] = new_rows(rows, width, |first, [y]| {
        let operands = gate[first * width..].iter().zip(&up[first * width..]);
        vectorized(
            #[inline(always)]
            || {
                for (y, (gate, up)) in y.iter_mut().zip(operands) {
                    *y = gate * sigmoid(*gate) * up;
                }
            },
        )
    })?;
    Ok(y)
}

/// The gradients of gate and up. With s = sigmoid(gate): dup = dy · gate s, dgate = dy · up · s (1 + gate (1 - s)).
pub fn swiglu_backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<[Tensor; 2]> {
    let (rows, width) = matrix(OP, "gate", gate)?;
    expect_shape(OP, "up", up, rows, width)?;
    expect_shape(OP, "dy", dy, rows, width)?;
    if is_on_device(gate) {
        return on_device::swiglu_backward(gate, up, dy);
    }
    let (gate, up, dy) = (gate.contiguous()?, up.contiguous()?, dy.contiguous()?);
    let (gate, up, dy) = (borrow(OP, "gate", &gate)?, borrow(OP, "up", &up)?, borrow(OP, "dy", &dy)?);
    new_rows(rows, width, |first, [dgate, dup]| {
        let at = first * width;
        let operands = gate[at..].iter().zip(&up[at..]).zip(&dy[at..]);
        vectorized(
            #[inline(always)]
            || {
                for ((dgate, dup), ((gate, up), dy)) in dgate.iter_mut().zip(dup).zip(operands) {
                    let s = sigmoid(*gate);
                    *dup = dy * gate * s;
                    *dgate = dy * up * s * (1.0 + gate * (1.0 - s));
                }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::testing::{check, random};
    use super::*;

    #[test]
    fn value_and_gradients_equal_the_reference() {
        for shape in [(1, 1), (3, 7), (2, 20)] {
            let reference = |inputs: &[Vec<f64>]| {
                inputs[0].iter().zip(&inputs[1]).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect()
            };
            check(
                &[shape, shape],
                |x| swiglu(&x[0], &x[1]),
                |x, dy| Ok(swiglu_backward(&x[0], &x[1], dy)?.into()),
                reference,
            );
        }
    }

    #[test]
    fn large_operands_equal_candles_silu() {
        let shape = (130, 511);
        let [gate, up] = [1, 2].map(|seed| Tensor::from_vec(random(seed, 130 * 511), shape, &Device::Cpu).unwrap());
        let gate = (gate * 20.0).unwrap();
        let expected = (gate.silu().unwrap() * &up).unwrap();
        let worst = (swiglu(&gate, &up).unwrap() - expected).unwrap().abs().unwrap().max_all().unwrap();
        assert!(worst.to_scalar::<f32>().unwrap() < 1e-5);
    }

    #[test]
    fn different_shapes_are_refused() {
        let gate = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        let up = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
        let message = swiglu(&gate, &up).unwrap_err().to_string();
        assert!(message.contains("`up` has shape [3, 2], expected [2, 3]"), "{message}");
    }
}
