//! The gated activation of the feed-forward blocks.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{borrow, expect_shape, floats, matrix};
use super::exp::sigmoid;
use super::vector::{for_row_blocks, vectorized};

const OP: &str = "swiglu";

/// y = silu(gate) · up, with silu(x) = x / (1 + e^-x); all three are `[T, width]`.
///
/// Shazeer 2020 (arXiv 2002.05202), as `Qwen2MLP` of transformers computes it. Operands of different shapes are
/// an error.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let (rows, width) = matrix(OP, "gate", gate)?;
    expect_shape(OP, "up", up, rows, width)?;
    gate.contiguous()?.apply_op2(&up.contiguous()?, SwiGlu)
}

struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (floats(OP, "gate", s1, l1)?, floats(OP, "up", s2, l2)?);
        let mut y = vec![0f32; gate.len()];
        for_row_blocks(&mut y, 1, |first, y| {
            let operands = gate[first..].iter().zip(&up[first..]);
            vectorized(
                #[inline(always)]
                || {
                    for (y, (gate, up)) in y.iter_mut().zip(operands) {
                        *y = gate * sigmoid(*gate) * up;
                    }
                },
            )
        });
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    /// With s = sigmoid(gate): dup = dy · gate s, dgate = dy · up · s (1 + gate (1 - s)).
    fn bwd(&self, gate: &Tensor, up: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        const BLOCK: usize = 1 << 15;
        let dy = dy.contiguous()?;
        let mut dgate = vec![0f32; gate.elem_count()];
        let mut dup = vec![0f32; gate.elem_count()];
        {
            let (gate, up, dy) = (borrow(OP, "gate", gate)?, borrow(OP, "up", up)?, borrow(OP, "dy", &dy)?);
            let operands = gate.par_chunks(BLOCK).zip(up.par_chunks(BLOCK)).zip(dy.par_chunks(BLOCK));
            let results = dgate.par_chunks_mut(BLOCK).zip(dup.par_chunks_mut(BLOCK));
            results.zip(operands).for_each(|((dgate, dup), ((gate, up), dy))| {
                vectorized(
                    #[inline(always)]
                    || {
                        for ((dgate, dup), ((gate, up), dy)) in
                            dgate.iter_mut().zip(dup).zip(gate.iter().zip(up).zip(dy))
                        {
                            let s = sigmoid(*gate);
                            *dup = dy * gate * s;
                            *dgate = dy * up * s * (1.0 + gate * (1.0 - s));
                        }
                    },
                )
            });
        }
        let dgate = Tensor::from_vec(dgate, gate.dims(), gate.device())?;
        let dup = Tensor::from_vec(dup, up.dims(), up.device())?;
        Ok((gate.track_op().then_some(dgate), up.track_op().then_some(dup)))
    }
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
            check(&[shape, shape], |x| swiglu(&x[0], &x[1]), reference);
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
