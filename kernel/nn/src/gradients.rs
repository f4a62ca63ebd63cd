//! Sums of gradients.

use std::collections::HashMap;

use candle_core::Result;
use candle_core::Tensor;
use candle_core::TensorId;

/// The gradients of trainable parameters, each added to over the micro-batches of a window.
#[derive(Default)]
pub struct Gradients {
    sums: HashMap<TensorId, Tensor>,
}

impl Gradients {
    /// The sum of `parameter`'s gradients, to be added to in place; zeros at first.
    pub fn sum(&mut self, parameter: &Tensor) -> Result<Tensor> {
        if let Some(sum) = self.sums.get(&parameter.id()) {
            return Ok(sum.clone());
        }
        let sum = parameter.zeros_like()?;
        self.sums.insert(parameter.id(), sum.clone());
        Ok(sum)
    }

    /// The sum of `parameter`'s gradients; none if it had no part in any loss.
    pub fn get(&self, parameter: &Tensor) -> Option<&Tensor> {
        self.sums.get(&parameter.id())
    }

    /// Puts `values` in the place of the sum of `parameter`'s gradients.
    ///
    /// # Errors
    /// They are not as many as the parameter has.
    pub fn put(&mut self, parameter: &Tensor, values: Vec<f32>) -> Result<()> {
        let sum = Tensor::from_vec(values, parameter.shape(), parameter.device())?;
        self.sums.insert(parameter.id(), sum);
        Ok(())
    }

    /// How many parameters have a gradient.
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether no parameter has a gradient.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }
}
