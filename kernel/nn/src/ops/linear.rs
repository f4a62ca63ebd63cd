//! A linear layer with a frozen weight.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use tunebook_gemm::{Plus, Precision, matmul_nn, matmul_nt};

use super::buffer::{borrow, floats, matrix, overwrite};
use super::error::OpError;
use crate::frozen::FrozenMatrix;

const OP: &str = "frozen_linear";

/// y = x Wᵀ + bias, with gradient dx = dy W and none for W or the bias.
///
/// x is `[T, in]`, `weight` `[out, in]`, `bias` `[out]`, y `[T, out]`. Another width of x is an error.
pub fn frozen_linear(
    x: &Tensor,
    weight: &FrozenMatrix,
    bias: Option<&Arc<[f32]>>,
    precision: Precision,
) -> Result<Tensor> {
    let op = FrozenLinear { weight: weight.clone(), bias: bias.cloned(), precision };
    op.check(OP, x)?;
    x.contiguous()?.apply_op1(op)
}

/// The captured part of a linear layer.
pub(super) struct FrozenLinear {
    pub weight: FrozenMatrix,
    pub bias: Option<Arc<[f32]>>,
    pub precision: Precision,
}

impl FrozenLinear {
    /// Whether x and the bias fit the weight.
    pub fn check(&self, op: &'static str, x: &Tensor) -> Result<()> {
        let (inputs, outputs) = (self.weight.cols, self.weight.rows);
        let (rows, width) = matrix(op, "x", x)?;
        if width != inputs {
            let expected = format!("[{rows}, {inputs}] for a weight of [{outputs}, {inputs}]");
            return Err(OpError::Shape { op, operand: "x", found: x.dims().to_vec(), expected }.into());
        }
        if let Some(bias) = self.bias.as_ref().filter(|bias| bias.len() != outputs) {
            let problem = format!("{} biases for a weight of [{outputs}, {inputs}]", bias.len());
            return Err(OpError::Argument { op, problem }.into());
        }
        Ok(())
    }

    /// x Wᵀ + bias.
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.weight.cols, self.weight.rows);
        let rows = x.len() / inputs.max(1);
        let plus = Plus { bias: self.bias.as_deref(), low_rank: None };
        let mut y = Vec::new();
        // SAFETY: `matmul_nt` writes all of y.
        unsafe {
            overwrite(&mut y, rows * outputs, |y| {
                matmul_nt(x, self.weight.weights(), plus, y, [rows, outputs, inputs], self.precision);
            });
        }
        y
    }

    /// dy W.
    pub fn backward(&self, dy: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (self.weight.cols, self.weight.rows);
        let rows = dy.len() / outputs.max(1);
        let mut dx = Vec::new();
        // SAFETY: `matmul_nn` writes all of dx.
        unsafe {
            overwrite(&mut dx, rows * inputs, |dx| {
                let dims = [rows, outputs, inputs];
                matmul_nn(dy, self.weight.weights(), Plus::default(), dx, dims, self.precision);
            });
        }
        dx
    }
}

impl CustomOp1 for FrozenLinear {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, _) = layout.shape().dims2()?;
        let y = self.forward(floats(OP, "x", storage, layout)?);
        Ok((CpuStorage::F32(y), (rows, self.weight.rows).into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dx = self.backward(&borrow(OP, "dy", &dy.contiguous()?)?);
        Ok(Some(Tensor::from_vec(dx, x.dims(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::super::testing::{check, random};
    use super::*;

    #[test]
    fn value_and_gradient_equal_the_reference() {
        for (rows, inputs, outputs, with_bias) in [(1, 1, 1, false), (3, 7, 5, true), (2, 18, 9, false)] {
            let (w, b) = (random(1, outputs * inputs), random(2, outputs));
            let weight = FrozenMatrix::from_f32(&w, outputs, inputs);
            let bias: Option<Arc<[f32]>> = with_bias.then(|| b.into());
            let reference = |x: &[Vec<f64>]| {
                let out = |x: &[f64], o: usize| {
                    let product: f64 = x.iter().zip(&w[o * inputs..]).map(|(x, w)| x * f64::from(*w)).sum();
                    product + bias.as_ref().map_or(0.0, |bias| f64::from(bias[o]))
                };
                x[0].chunks(inputs).flat_map(|x| (0..outputs).map(move |o| out(x, o))).collect()
            };
            check(&[(rows, inputs)], |x| frozen_linear(&x[0], &weight, bias.as_ref(), Precision::F32), reference);
        }
    }

    #[test]
    fn bf16_differs_from_f32_by_rounding_only() {
        let (rows, inputs, outputs) = (9, 64, 40);
        let weight = FrozenMatrix::from_f32(&random(1, outputs * inputs), outputs, inputs);
        let x = Var::from_vec(random(2, rows * inputs), (rows, inputs), &Device::Cpu).unwrap();
        let run = |precision| {
            let y = frozen_linear(&x, &weight, None, precision).unwrap();
            let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let dx = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            (y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), dx)
        };
        let ((y, dx), (y_bf16, dx_bf16)) = (run(Precision::F32), run(Precision::Bf16));
        for (exact, rounded) in [(y, y_bf16), (dx, dx_bf16)] {
            let largest = exact.iter().fold(0f32, |m, v| m.max(v.abs()));
            let worst = exact.iter().zip(&rounded).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(worst > 0.0 && worst < 0.01 * largest, "{worst} of {largest}");
        }
    }

    #[test]
    fn backward_stores_no_gradient_but_that_of_the_input() {
        let weight = FrozenMatrix::from_f32(&random(1, 15), 5, 3);
        let bias: Arc<[f32]> = random(2, 5).into();
        let x = Var::from_vec(random(3, 6), (2, 3), &Device::Cpu).unwrap();
        let y = frozen_linear(&x, &weight, Some(&bias), Precision::F32).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert_eq!(gradients.get_ids().collect::<Vec<_>>(), [&x.id()]);
    }

    #[test]
    fn widths_that_do_not_fit_are_refused() {
        let weight = FrozenMatrix::from_f32(&random(1, 15), 5, 3);
        let x = Tensor::from_vec(random(3, 8), (2, 4), &Device::Cpu).unwrap();
        let message = frozen_linear(&x, &weight, None, Precision::F32).unwrap_err().to_string();
        assert!(message.contains("`x` has shape [2, 4], expected [2, 3] for a weight of [5, 3]"), "{message}");
        let x = x.narrow(1, 1, 3).unwrap();
        let bias: Arc<[f32]> = random(2, 4).into();
        let message = frozen_linear(&x, &weight, Some(&bias), Precision::F32).unwrap_err().to_string();
        assert!(message.contains("4 biases for a weight of [5, 3]"), "{message}");
        assert!(frozen_linear(&x, &weight, None, Precision::F32).is_ok(), "a view is made contiguous");
    }
}
