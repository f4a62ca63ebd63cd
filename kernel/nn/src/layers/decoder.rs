//! The decoder layers one after another: the forward pass, the activations that it saves, and the backward pass.

use candle_core::Tensor;

use crate::error::Result;
use crate::gradients::Gradients;

use super::decoder_input::DecoderInput;
use super::decoder_input::DeepStack;
use super::decoder_layer::Activations;
use super::linear::ForwardContext;
use super::sequences::DecoderSequences;
use super::text_model::TextModel;

/// Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): what becomes of the layers' memory in a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointPlan {
    /// How many of the last layers save their activations for the backward pass. The others save their input only and
    /// recompute the rest, which costs up to a third of the step.
    pub saved_layers: usize,
    /// How many of the first layers evict their weights from memory after each use; if any does, the head does too. To map
    /// all of them again costs about one percent of the step: the system keeps their bytes as long as it has room.
    pub evicted_layers: usize,
}

/// What [`TextModel::backward`] needs of the forward pass.
pub struct SavedForward {
    plan: CheckpointPlan,
    layers: Vec<SavedLayer>,
    /// Where a gradient of the input is needed.
    deepstack: DeepStack,
    /// What goes into the final norm, `[queries, hidden]`.
    hidden: Tensor,
}

/// The gradients of a [`DecoderInput`].
pub struct DecoderGradients {
    /// Of the embeddings, `[T, hidden]`, or of what goes into the lowest layer that saved something.
    pub embeddings: Tensor,
    /// Of DeepStack's features, a matrix for each layer that has some; none unless a gradient of the input was needed.
    pub deepstack: Vec<Tensor>,
}

/// A layer from which a gradient goes on to something that trains.
struct SavedLayer {
    index: usize,
    /// Its input, `[T, hidden]`.
    x: Tensor,
    /// None where they are to be recomputed.
    activations: Option<Activations>,
}

/// The share of a training step's time that the forward pass takes: one matrix product of three.
pub const FORWARD: f64 = 1.0 / 3.0;

impl TextModel {
    /// The hidden states after the final norm, `[queries, hidden]`.
    ///
    /// # Errors
    /// The device fails; [`Error::Cancelled`](crate::Error::Cancelled) if `ctx` says so before a layer.
    pub fn forward(&self, input: DecoderInput, sequences: &DecoderSequences, ctx: ForwardContext) -> Result<Tensor> {
        let DecoderInput { embeddings, deepstack } = input;
        let x = self.forward_layers(embeddings, &deepstack, sequences, 0, ctx, &|_| Ok(()), |_| {})?;
        Ok(self.norm(&x, ctx)?)
    }

    /// The same, and what the backward pass needs. Layers below the first one that trains save nothing, unless a gradient of
    /// their input is needed: `input_trains`. Before each layer, `on_progress` gets the fraction of the forward and the
    /// backward pass that is done; its error cancels the pass.
    ///
    /// # Errors
    /// The device fails; that of `on_progress`.
    pub fn forward_saving(
        &self,
        input: DecoderInput,
        sequences: &DecoderSequences,
        input_trains: bool,
        plan: CheckpointPlan,
        ctx: ForwardContext,
        on_progress: &dyn Fn(f64) -> Result<()>,
    ) -> Result<(Tensor, SavedForward)> {
        let count = self.layers.len();
        let first_saved = count.saturating_sub(plan.saved_layers);
        let first_trained = match input_trains || self.embedding_trains(ctx) {
            true => 0,
            false => self.layers.iter().position(|layer| layer.trains(ctx)).unwrap_or(count),
        };
        let before = |index: usize| on_progress(FORWARD * index as f64 / count as f64);
        let DecoderInput { embeddings, deepstack } = input;
        let mut layers = Vec::with_capacity(count);
        let save = |(index, x, activations)| {
            if index >= first_trained {
                layers.push(SavedLayer { index, x, activations: (index >= first_saved).then_some(activations) });
            }
        };
        let hidden = self.forward_layers(embeddings, &deepstack, sequences, plan.evicted_layers, ctx, &before, save)?;
        let deepstack = if input_trains { deepstack } else { DeepStack::default() };
        Ok((self.norm(&hidden, ctx)?, SavedForward { plan, layers, deepstack, hidden }))
    }

    /// The loop over the layers: `before` hears of each by its index, `after` gets what it has read and computed.
    #[expect(clippy::too_many_arguments, reason = "two call sites, side by side")]
    fn forward_layers(
        &self,
        embeddings: Vec<f32>,
        deepstack: &DeepStack,
        sequences: &DecoderSequences,
        evicted: usize,
        ctx: ForwardContext,
        before: &dyn Fn(usize) -> Result<()>,
        mut after: impl FnMut((usize, Tensor, Activations)),
    ) -> Result<Tensor> {
        let mut x = self.rows(embeddings)?;
        for (index, layer) in self.layers.iter().enumerate() {
            ctx.check_cancelled()?;
            before(index)?;
            if index < evicted {
                layer.map();
            }
            let attention = sequences.of(index, self.layers.len());
            let mut activations = layer.activations(&x, attention, ctx)?;
            let y = deepstack.add(index, layer.output(&mut activations, ctx)?)?;
            if index < evicted {
                layer.release();
            }
            after((index, x, activations));
            x = y;
        }
        Ok(x)
    }

    /// The gradients of the input, given that of the final hidden states, `[queries, hidden]`. The gradients of what trains
    /// are added to `gradients`.
    ///
    /// # Errors
    /// The device fails; that of `on_progress`, after which `gradients` hold a part of the sums.
    pub fn backward(
        &self,
        saved: SavedForward,
        sequences: &DecoderSequences,
        dhidden: &Tensor,
        ctx: ForwardContext,
        gradients: &mut Gradients,
        on_progress: &dyn Fn(f64) -> Result<()>,
    ) -> Result<DecoderGradients> {
        let SavedForward { plan, layers, deepstack, hidden } = saved;
        let count = layers.len() as f64;
        let mut dx = self.norm_backward(&hidden, dhidden, ctx, gradients)?;
        let mut ddeepstack = Vec::new();
        for (done, SavedLayer { index, x, activations }) in layers.into_iter().rev().enumerate() {
            on_progress(FORWARD + (1.0 - FORWARD) * done as f64 / count)?;
            let (layer, attention) = (&self.layers[index], sequences.of(index, self.layers.len()));
            if index < plan.evicted_layers {
                layer.map();
            }
            let recomputed = || layer.activations(&x, attention, ctx);
            let activations = activations.map_or_else(recomputed, Ok)?;
            ddeepstack.extend(deepstack.backward(index, &dx)?);
            dx = layer.backward(&x, &activations, &dx, attention, ctx, gradients)?;
            if index < plan.evicted_layers {
                layer.release();
            }
        }
        ddeepstack.reverse();
        Ok(DecoderGradients { embeddings: dx, deepstack: ddeepstack })
    }
}
