//! A packed batch through the model: forward pass, objective, backward pass.

use std::cell::Cell;

use candle_core::Tensor;
use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;
use tunebook_nn::layers::CheckpointPlan;
use tunebook_nn::layers::DecoderGradients;
use tunebook_nn::layers::DropoutRun;
use tunebook_nn::layers::FORWARD;
use tunebook_nn::layers::ForwardContext;
use tunebook_nn::layers::SavedForward;
use tunebook_nn::models::VisionBackward;
use tunebook_nn::ops::TokenScore;
use tunebook_nn::ops::token_scores;

use super::collate::Images;
use super::collate::PackedBatch;
use super::objective::Head;
use super::objective::Objective;
use crate::error::Result;
use crate::neftune::add_noise;
use crate::step_metrics::StepMetrics;

/// How batches are trained on.
#[derive(Clone, Copy)]
pub struct StepOptions {
    /// What dropout masks and noise are drawn from.
    pub dropout: DropoutRun,
    /// The strength of the noise on the embeddings; 0 is none.
    pub neftune_noise_alpha: f64,
    /// Which layers save activations, and which evict weights.
    pub checkpoint_plan: CheckpointPlan,
}

/// A training step's passes, without the optimizer.
pub struct Step<'a> {
    pub net: &'a VisionLanguageModel,
    pub adapter: &'a Adapter,
    pub objective: &'a dyn Objective,
    pub options: StepOptions,
    /// Gets the fraction of forward and backward pass that is done, before each layer; its error cancels the step.
    pub on_progress: &'a dyn Fn(f64) -> tunebook_nn::Result<()>,
}

/// What the backward pass needs beside the batch.
struct Saved<'a> {
    /// None where the images were features already.
    vision: Option<VisionBackward<'a>>,
    text: SavedForward,
}

impl Step<'_> {
    /// The objective's metrics, summed over the micro-batches of `batch`; their gradients are added to `gradients`.
    ///
    /// None where the hidden states are not all finite, so that the loss would not be either: nothing is added then.
    ///
    /// # Errors
    /// The device fails; that of [`Step::on_progress`], after which `gradients` hold a part of the sums.
    pub fn forward_backward(&self, mut batch: PackedBatch, gradients: &mut Gradients) -> Result<Option<StepMetrics>> {
        if batch.labels().rows.is_empty() {
            return Ok(Some(StepMetrics::of_loss(0.0)));
        }
        let (hidden, saved) = self.forward(&mut batch)?;
        // NaN and infinity reach the sum.
        if !hidden.sum_all()?.to_scalar::<f32>()?.is_finite() {
            return Ok(None);
        }
        let (metrics, dhidden) = self.objective(&hidden, &batch, gradients)?;
        self.backward(&batch, saved, &dhidden, gradients)?;
        Ok(Some(metrics))
    }

    fn context(&self) -> ForwardContext<'_> {
        ForwardContext { adapter: Some(self.adapter), dropout: Some(self.options.dropout), ..ForwardContext::default() }
    }

    /// The final hidden states. The images are taken out of the batch.
    fn forward(&self, batch: &mut PackedBatch) -> Result<(Tensor, Saved<'_>)> {
        let (net, ctx) = (self.net, self.context());
        let (features, vision) = match std::mem::take(&mut batch.images) {
            Images::Features(features) => (features, None),
            Images::Patches { patches, grids } => {
                let (features, backward) = net.vision.forward_saving(patches, &grids, ctx)?;
                (vec![features], Some(backward))
            }
        };
        let mut input = net.embed(&batch.input_ids, &features, ctx)?;
        let StepOptions { neftune_noise_alpha, dropout, checkpoint_plan } = self.options;
        if neftune_noise_alpha > 0.0 {
            let bounds = &batch.sequences.all.segments.q;
            let text: Vec<bool> = batch.input_ids.iter().map(|&id| self.is_text(id)).collect();
            add_noise(&mut input.embeddings, &text, (bounds, &batch.sample_tokens), neftune_noise_alpha, dropout);
        }
        let input_trains = vision.is_some();
        let (hidden, text) =
            net.text.forward_saving(input, &batch.sequences, input_trains, checkpoint_plan, ctx, self.on_progress)?;
        Ok((hidden, Saved { vision, text }))
    }

    /// The metrics, and the gradient of the hidden states.
    fn objective(
        &self,
        hidden: &Tensor,
        batch: &PackedBatch,
        gradients: &mut Gradients,
    ) -> Result<(StepMetrics, Tensor)> {
        let (text, ctx) = (&self.net.text, self.context());
        let evicts = self.options.checkpoint_plan.evicted_layers > 0;
        let gradient = text.trained_head(ctx).map(|head| gradients.sum(head)).transpose()?;
        let head = Head { weight: text.lm_head(ctx), precision: self.net.precision, gradient: gradient.as_ref() };
        if evicts {
            text.map_head();
        }
        let stopped = Cell::new(None);
        let goes_on = || match (self.on_progress)(FORWARD) {
            Ok(()) => true,
            Err(error) => {
                stopped.set(Some(error));
                false
            }
        };
        let found = self.objective.gradient(hidden, head, batch.labels(), &goes_on);
        if evicts {
            text.release_head();
        }
        match stopped.take() {
            Some(error) => Err(error.into()),
            None => found,
        }
    }

    fn backward(&self, batch: &PackedBatch, saved: Saved, dhidden: &Tensor, gradients: &mut Gradients) -> Result<()> {
        let (net, ctx) = (self.net, self.context());
        let DecoderGradients { embeddings: dx, deepstack } =
            net.text.backward(saved.text, &batch.sequences, dhidden, ctx, gradients, self.on_progress)?;
        let ids: Vec<Option<u32>> = batch.input_ids.iter().map(|&id| Some(id).filter(|&id| self.is_text(id))).collect();
        net.text.embed_backward(&ids, &dx, ctx, gradients)?;
        if let Some(vision_backward) = saved.vision {
            let rows: Vec<u32> = (0u32..).zip(&ids).filter(|(_, id)| id.is_none()).map(|(row, _)| row).collect();
            let mut dfeatures = vec![dx.index_select(&Tensor::new(rows, &net.device)?, 0)?];
            dfeatures.extend(deepstack);
            vision_backward(&Tensor::cat(&dfeatures, 1)?, gradients)?;
        }
        Ok(())
    }

    fn is_text(&self, id: u32) -> bool {
        id != self.net.config.image_token_id()
    }
}

/// The objective's metrics, summed over the micro-batches of `batch`, without gradients.
///
/// # Errors
/// The device fails; a stop.
pub fn evaluate_batch(
    net: &VisionLanguageModel,
    objective: &dyn Objective,
    mut batch: PackedBatch,
    ctx: ForwardContext,
) -> Result<StepMetrics> {
    if batch.labels().rows.is_empty() {
        return Ok(StepMetrics::of_loss(0.0));
    }
    let hidden = hidden_states(net, &mut batch, ctx)?;
    let head = Head { weight: net.text.lm_head(ctx), precision: net.precision, gradient: None };
    objective.metrics(&hidden, head, batch.labels())
}

/// The score of each label, sample by sample, with its `most` likeliest tokens.
///
/// # Errors
/// The device fails; a stop.
pub fn score_batch(
    net: &VisionLanguageModel,
    mut batch: PackedBatch,
    most: usize,
    ctx: ForwardContext,
) -> Result<Vec<TokenScore>> {
    if batch.labels().rows.is_empty() {
        return Ok(Vec::new());
    }
    let hidden = hidden_states(net, &mut batch, ctx)?;
    Ok(token_scores(&hidden, net.text.lm_head(ctx), batch.labels(), most, net.precision)?)
}

/// The final hidden states, without what a backward pass needs. The images are taken out of the batch.
fn hidden_states(net: &VisionLanguageModel, batch: &mut PackedBatch, ctx: ForwardContext) -> Result<Tensor> {
    let features = match std::mem::take(&mut batch.images) {
        Images::Features(features) => features,
        Images::Patches { patches, grids } => vec![net.vision.forward(patches, &grids, ctx)?],
    };
    let input = net.embed(&batch.input_ids, &features, ctx)?;
    Ok(net.text.forward(input, &batch.sequences, ctx)?)
}
