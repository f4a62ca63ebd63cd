//! The interface of every vision tower. The backward pass is a closure that owns the activations of the forward pass,
//! so each tower keeps what it needs.

use candle_core::Tensor;

use crate::error::Result;
use crate::gradients::Gradients;
use crate::layers::ForwardContext;
use crate::layers::Linear;
use crate::layers::Matrix;

/// A vision tower with its projector: pictures to tokens of the language model's width.
pub trait VisionTower: Send + Sync {
    /// Features `[tokens, hidden]` of pictures: `patches` holds the rows of all of them, `[Σ t·h·w, values of a patch]`, in
    /// the image processor's order; `grids` their sizes in patches, t, h and w.
    ///
    /// # Errors
    /// `patches` is not as long as the grids ask for; a stop.
    fn forward(&self, patches: Vec<f32>, grids: &[[usize; 3]], ctx: ForwardContext) -> Result<Tensor>;

    /// The same, keeping what the backward pass needs.
    ///
    /// # Errors
    /// As [`VisionTower::forward`].
    fn forward_saving<'a>(
        &'a self,
        patches: Vec<f32>,
        grids: &[[usize; 3]],
        ctx: ForwardContext<'a>,
    ) -> Result<(Tensor, VisionBackward<'a>)>;

    /// The layers that an adapter may be on, in the order in which they were loaded.
    fn linears(&self) -> Vec<&Linear>;

    fn linears_mut(&mut self) -> Vec<&mut Linear>;

    /// Every matrix that matmuls read: the weights of the linear layers, and others.
    fn matrices(&self) -> Vec<&Matrix>;

    fn matrices_mut(&mut self) -> Vec<&mut Matrix>;

    /// How many blocks it has.
    fn depth(&self) -> usize;
}

/// Given the gradient of the features, adds those of what trains in the tower to the sums.
pub type VisionBackward<'a> = Box<dyn FnOnce(&Tensor, &mut Gradients) -> candle_core::Result<()> + 'a>;
