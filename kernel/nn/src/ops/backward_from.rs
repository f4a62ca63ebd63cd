//! The start of a backward pass in the middle of a model.

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// Gradients of everything `y` was made from, given the gradient `dy` of the loss with respect to `y`.
///
/// The product `(y · dy).sum()` that autograd would want is never formed: only its gradient is asked for.
pub fn backward_from(y: &Tensor, dy: &Tensor) -> Result<GradStore> {
    y.apply_op1(Seed { dy: dy.detach() })?.backward()
}

/// A scalar whose gradient is `dy`.
struct Seed {
    dy: Tensor,
}

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "backward_from"
    }

    fn cpu_fwd(&self, _: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        if layout.shape() != self.dy.shape() {
            let (found, expected) = (self.dy.dims(), layout.dims());
            candle_core::bail!("backward_from: a gradient of shape {found:?} for a value of {expected:?}");
        }
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.dy.clone()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn it_is_the_gradient_of_the_product() {
        let x = Var::new(&[1f32, 2.0, 3.0], &Device::Cpu).unwrap();
        let dy = Tensor::new(&[0.5f32, -1.0, 2.0], &Device::Cpu).unwrap();
        let store = backward_from(&x.sqr().unwrap(), &dy).unwrap();
        assert_eq!(store.get(&x).unwrap().to_vec1::<f32>().unwrap(), [1.0, -4.0, 12.0]);
    }

    #[test]
    fn shapes_must_agree() {
        let x = Var::new(&[1f32, 2.0, 3.0], &Device::Cpu).unwrap();
        assert!(backward_from(&x, &Tensor::new(&[1f32], &Device::Cpu).unwrap()).is_err());
    }
}
