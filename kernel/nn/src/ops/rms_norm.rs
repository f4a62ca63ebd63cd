//! Root mean square normalisation.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::buffer::{borrow, floats, matrix};
use super::error::OpError;
use super::vector::{dot, for_row_blocks, vectorized};

const OP: &str = "rms_norm";

/// y = x / sqrt(mean(x²) + eps) · weight, row by row.
///
/// x and y are `[T, width]`, the frozen weight is `[width]`. Zhang and Sennrich 2019 (arXiv 1910.07467), with
/// eps under the root as `Qwen2RMSNorm` of transformers has it. An operand of another width or type is an error.
pub fn rms_norm(x: &Tensor, weight: &Arc<[f32]>, eps: f32) -> Result<Tensor> {
    let (rows, width) = matrix(OP, "x", x)?;
    if width != weight.len() || width == 0 {
        let expected = format!("[{rows}, {}], as wide as the weight", weight.len());
        return Err(OpError::Shape { op: OP, operand: "x", found: x.dims().to_vec(), expected }.into());
    }
    x.contiguous()?.apply_op1(RmsNorm { weight: weight.clone(), eps })
}

struct RmsNorm {
    weight: Arc<[f32]>,
    eps: f32,
}

impl RmsNorm {
    /// 1 / sqrt(mean(x²) + eps).
    #[inline(always)]
    fn reciprocal_root(&self, x: &[f32]) -> f32 {
        1.0 / (dot(x, x) / x.len() as f32 + self.eps).sqrt()
    }
}

impl CustomOp1 for RmsNorm {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(OP, "x", storage, layout)?;
        let width = self.weight.len();
        let mut y = vec![0f32; x.len()];
        for_row_blocks(&mut y, width, |first, y| {
            vectorized(
                #[inline(always)]
                || {
                    for (y, x) in y.chunks_exact_mut(width).zip(x[first * width..].chunks_exact(width)) {
                        let root = self.reciprocal_root(x);
                        for ((y, x), w) in y.iter_mut().zip(x).zip(&*self.weight) {
                            *y = x * root * w;
                        }
                    }
                },
            )
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    /// With g = dy · weight and r = 1 / sqrt(mean(x²) + eps): dx = r g - x r³ mean(g x).
    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let width = self.weight.len();
        let mut dx = vec![0f32; x.elem_count()];
        {
            let (x, dy) = (borrow(OP, "x", x)?, borrow(OP, "dy", &dy)?);
            for_row_blocks(&mut dx, width, |first, dx| {
                let rows = x[first * width..].chunks_exact(width).zip(dy[first * width..].chunks_exact(width));
                vectorized(
                    #[inline(always)]
                    || {
                        for (dx, (x, dy)) in dx.chunks_exact_mut(width).zip(rows) {
                            let root = self.reciprocal_root(x);
                            for ((dx, dy), w) in dx.iter_mut().zip(dy).zip(&*self.weight) {
                                *dx = dy * w;
                            }
                            let slope = root * root * root * dot(dx, x) / width as f32;
                            for (dx, x) in dx.iter_mut().zip(x) {
                                *dx = *dx * root - x * slope;
                            }
                        }
                    },
                )
            });
        }
        Ok(Some(Tensor::from_vec(dx, x.dims(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::testing::{check, random};
    use super::*;

    #[test]
    fn value_and_gradient_equal_the_reference() {
        for (rows, width) in [(1, 1), (3, 5), (2, 33)] {
            let weight: Arc<[f32]> = random(7, width).into();
            let reference = |inputs: &[Vec<f64>]| {
                let normed = inputs[0].chunks(width).flat_map(|x| {
                    let mean = x.iter().map(|v| v * v).sum::<f64>() / width as f64;
                    x.iter().map(move |v| v / (mean + 1e-6).sqrt()).collect::<Vec<_>>()
                });
                normed.enumerate().map(|(i, v)| v * f64::from(weight[i % width])).collect()
            };
            check(&[(rows, width)], |x| rms_norm(&x[0], &weight, 1e-6), reference);
        }
    }

    #[test]
    fn many_rows_equal_one_at_a_time() {
        let (rows, width) = (300, 257);
        let weight: Arc<[f32]> = random(1, width).into();
        let x = Tensor::from_vec(random(2, rows * width), (rows, width), &Device::Cpu).unwrap();
        let all = rms_norm(&x, &weight, 1e-6).unwrap().to_vec2::<f32>().unwrap();
        for row in [0, 1, 127, 128, 299] {
            let one = rms_norm(&x.narrow(0, row, 1).unwrap(), &weight, 1e-6).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(one[0], all[row]);
        }
    }

    #[test]
    fn other_operands_are_refused_by_name() {
        let weight: Arc<[f32]> = vec![1.0; 4].into();
        let narrow = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
        let message = rms_norm(&narrow, &weight, 1e-6).unwrap_err().to_string();
        assert!(message.contains("rms_norm") && message.contains("[2, 3]") && message.contains('4'), "{message}");
        let half = Tensor::zeros((2, 4), DType::BF16, &Device::Cpu).unwrap();
        let message = rms_norm(&half, &weight, 1e-6).unwrap_err().to_string();
        assert!(message.contains("BF16") && message.contains("f32"), "{message}");
    }
}
