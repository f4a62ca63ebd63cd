//! The gated activation of the feed-forward blocks.

use candle_core::{DType, Result, Tensor};
use half::bf16;

use super::buffer::{Element, borrow_of, expect_sizes, matrix_of, new_rows, written};
use super::exp::sigmoid;
use super::on_device::{self, is_on_device};

const OP: &str = "swiglu";

/// y = silu(gate) · up, with silu(x) = x / (1 + e^-x); all three are `[T, width]`.
///
/// Shazeer 2020 (arXiv 2002.05202), as `Qwen2MLP` of transformers computes it. Operands of different shapes are
/// an error. Both may be [`rounded`](mod@super::rounded), and y is then, too.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    match gate.dtype() {
        DType::BF16 => forward::<bf16>(gate, up),
        _ => forward::<f32>(gate, up),
    }
}

/// The gradients of gate and up, of their dtype, which dy has too. With s = sigmoid(gate): dup = dy · gate s, dgate = dy · up · s (1 +
/// gate (1 - s)).
pub fn swiglu_backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<[Tensor; 2]> {
    match gate.dtype() {
        DType::BF16 => backward::<bf16>(gate, up, dy),
        _ => backward::<f32>(gate, up, dy),
    }
}

fn forward<E: Element>(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let (rows, width) = sizes::<E>(gate, up)?;
    if is_on_device(gate) {
        return on_device::swiglu(&gate.to_dtype(DType::F32)?, &up.to_dtype(DType::F32)?)?.to_dtype(E::DTYPE);
    }
    let (gate, up) = (gate.contiguous()?, up.contiguous()?);
    let (gate, up) = (borrow_of::<E>(OP, "gate", &gate)?, borrow_of::<E>(OP, "up", &up)?);
    let [y] = new_rows(
        rows,
        width,
        #[inline(always)]
        |row, y| {
            let operands = gate[row * width..].iter().zip(&up[row * width..]);
            written(
                y,
                operands.map(|(gate, up)| {
                    let (gate, up) = (gate.widened(), up.widened());
                    [E::nearest(gate * sigmoid(gate) * up)]
                }),
            )
        },
    )?;
    Ok(y)
}

fn backward<E: Element>(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<[Tensor; 2]> {
    let (rows, width) = sizes::<E>(gate, up)?;
    expect_sizes(OP, "dy", dy, matrix_of::<E>(OP, "dy", dy)?, (rows, width))?;
    if is_on_device(gate) {
        let wide = |x: &Tensor| x.to_dtype(DType::F32);
        let [dgate, dup] = on_device::swiglu_backward(&wide(gate)?, &wide(up)?, &wide(dy)?)?;
        return Ok([dgate.to_dtype(E::DTYPE)?, dup.to_dtype(E::DTYPE)?]);
    }
    let (gate, up, dy) = (gate.contiguous()?, up.contiguous()?, dy.contiguous()?);
    let (gate, up) = (borrow_of::<E>(OP, "gate", &gate)?, borrow_of::<E>(OP, "up", &up)?);
    let dy = borrow_of::<E>(OP, "dy", &dy)?;
    new_rows(
        rows,
        width,
        #[inline(always)]
        |row, gradients| {
            let at = row * width;
            let operands = gate[at..].iter().zip(&up[at..]).zip(&dy[at..]);
            written(
                gradients,
                operands.map(|((gate, up), dy)| {
                    let (gate, up, dy) = (gate.widened(), up.widened(), dy.widened());
                    let s = sigmoid(gate);
                    [dy * up * s * (1.0 + gate * (1.0 - s)), dy * gate * s].map(E::nearest)
                }),
            )
        },
    )
}

/// Those of gate and up, which must be the same.
fn sizes<E: Element>(gate: &Tensor, up: &Tensor) -> Result<(usize, usize)> {
    let (rows, width) = matrix_of::<E>(OP, "gate", gate)?;
    expect_sizes(OP, "up", up, matrix_of::<E>(OP, "up", up)?, (rows, width))?;
    Ok((rows, width))
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::rounded;
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
    fn rounded_operands_are_read_as_they_are_and_give_rounded_results() {
        let tensor = |seed| Tensor::from_vec(random(seed, 130 * 511), (130, 511), &Device::Cpu).unwrap();
        let [gate, up, dy] = [1, 2, 3].map(tensor);
        let [narrow_gate, narrow_up, narrow_dy] = [&gate, &up, &dy].map(|x| rounded(x).unwrap());
        let [gate, up, dy] = [&narrow_gate, &narrow_up, &narrow_dy].map(|x| x.to_dtype(DType::F32).unwrap());
        let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<bf16>().unwrap();
        let nearest = |x: &Tensor| values(&rounded(x).unwrap());
        assert_eq!(values(&swiglu(&narrow_gate, &narrow_up).unwrap()), nearest(&swiglu(&gate, &up).unwrap()));
        let narrow = swiglu_backward(&narrow_gate, &narrow_up, &narrow_dy).unwrap();
        let wide = swiglu_backward(&gate, &up, &dy).unwrap();
        assert_eq!(narrow.each_ref().map(values), wide.each_ref().map(nearest));
    }

    #[test]
    fn different_shapes_are_refused() {
        let gate = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        let up = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
        let message = swiglu(&gate, &up).unwrap_err().to_string();
        assert!(message.contains("`up` has shape [3, 2], expected [2, 3]"), "{message}");
    }
}
