//! What training minimizes.

use candle_core::Tensor;
use tunebook_nn::Precision;
use tunebook_nn::ops::Labels;
use tunebook_nn::ops::Weight;
use tunebook_nn::ops::linear_cross_entropy;
use tunebook_nn::ops::linear_cross_entropy_with_gradient;

use crate::error::Result;
use crate::step_metrics::StepMetrics;

/// The matrix that makes logits of hidden states, `[vocabulary, hidden]`.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub weight: Weight<'a>,
    /// How its matrix products are formed.
    pub precision: Precision,
    /// Where it trains, the sum of its gradients.
    pub gradient: Option<&'a Tensor>,
}

/// A loss on the final hidden states of a packed batch, `[rows, hidden]`, and whatever else it measures.
///
/// It gets the head and not the logits: these exist for a few rows at a time only.
pub trait Objective {
    /// The metrics, without gradients.
    ///
    /// # Errors
    /// The device fails.
    fn metrics(&self, hidden: &Tensor, head: Head, labels: Labels) -> Result<StepMetrics>;

    /// The metrics, and the gradient of the loss with respect to `hidden`. The head's is added to [`Head::gradient`].
    /// `goes_on` is asked every now and then, as between two layers; what is returned after it has said no is of no use.
    ///
    /// # Errors
    /// The device fails.
    fn gradient(
        &self,
        hidden: &Tensor,
        head: Head,
        labels: Labels,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(StepMetrics, Tensor)>;
}

/// Supervised fine-tuning: L = Σᵢ weightᵢ · -log p(targetᵢ), see [`linear_cross_entropy`].
pub struct CrossEntropy;

impl Objective for CrossEntropy {
    fn metrics(&self, hidden: &Tensor, head: Head, labels: Labels) -> Result<StepMetrics> {
        let loss = linear_cross_entropy(hidden, head.weight, labels, head.precision)?;
        Ok(StepMetrics::of_loss(loss))
    }

    fn gradient(
        &self,
        hidden: &Tensor,
        head: Head,
        labels: Labels,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(StepMetrics, Tensor)> {
        let Head { weight, precision, gradient } = head;
        let (loss, dhidden) = linear_cross_entropy_with_gradient(hidden, weight, labels, precision, gradient, goes_on)?;
        Ok((StepMetrics::of_loss(loss), dhidden))
    }
}
