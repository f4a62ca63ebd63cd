//! The gradients of some micro-batches that go through the model together, apart from what a training does with them.

use tunebook_data::Encoded;
use tunebook_data::ImageProcessor;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;
use tunebook_nn::layers::DropoutRun;

use super::TrainInputs;
use super::collate::Collator;
use super::objective::CrossEntropy;
use super::step::Step;
use super::step::StepOptions;
use crate::error::Result;
use crate::memory::StepMemory;
use crate::memory::Trainable;
use crate::model::Model;
use crate::pictures::Features;
use crate::settings::Settings;
use crate::step_metrics::StepMetrics;

/// A micro-batch of a training.
#[derive(Clone)]
pub(crate) struct MicroBatch<'a> {
    /// Counted over the whole training: dropout and noise follow from it.
    pub number: u64,
    pub samples: Vec<&'a Encoded>,
}

/// What some micro-batches came to.
pub(crate) enum Outcome<'a> {
    Computed(Computed),
    /// The loss of one of these samples is not finite.
    NotFinite(Vec<&'a Encoded>),
}

pub(crate) struct Computed {
    /// Summed over the micro-batches.
    pub metrics: StepMetrics,
    pub tokens: usize,
    pub micro_batches: usize,
}

/// What gradients are computed of, and how.
#[derive(Clone, Copy)]
pub(crate) struct Learner<'a> {
    pub model: &'a Model,
    pub adapter: &'a Adapter,
    pub processor: &'a ImageProcessor,
    pub settings: &'a Settings,
}

impl TrainInputs {
    pub(super) fn learner(&self) -> Learner<'_> {
        Learner { model: &self.model, adapter: &self.adapter, processor: &self.processor, settings: &self.settings }
    }
}

impl Learner<'_> {
    /// Adds the gradients of micro-batches to `gradients`. Images of the samples that are `coming` are read meanwhile. Where
    /// something depends on chance, dropout or noise, there must be no more than one.
    ///
    /// # Errors
    /// [`BadSample`](crate::Error::BadSample); the memory does not suffice; that of `on_progress`.
    pub(crate) fn forward_backward<'s>(
        self,
        micro_batches: &[MicroBatch<'s>],
        coming: impl Iterator<Item = &'s Encoded>,
        features: &mut Features,
        gradients: &mut Gradients,
        on_progress: &dyn Fn(f64) -> tunebook_nn::Result<()>,
    ) -> Result<Outcome<'s>> {
        let Self { model, adapter, processor, settings } = self;
        let net = &model.net;
        let mut collator = Collator {
            net,
            adapter: Some(adapter),
            processor,
            features,
            shares_prefixes: !settings.has_noise(adapter),
            stop: &|| on_progress(0.0).is_err(),
        };
        let samples: Vec<_> = micro_batches.iter().map(|micro_batch| micro_batch.samples.clone()).collect();
        let batch = collator.collate(&samples)?;
        features.read_ahead(processor, coming.flat_map(|sample| &sample.images));
        net.release_vision();
        let (tokens, labels) = (batch.tokens(), batch.labels().rows.len());
        let memory = StepMemory::new(net, Trainable::of(adapter), batch.computed_tokens(), labels);
        let number = micro_batches.first().map_or(0, |micro_batch| micro_batch.number);
        let options = StepOptions {
            dropout: DropoutRun { seed: settings.seed, micro_batch: number },
            neftune_noise_alpha: settings.neftune_noise_alpha,
            checkpoint_plan: memory.plan(settings.memory)?,
        };
        let step = Step { net, adapter, objective: &CrossEntropy, options, on_progress };
        Ok(match step.forward_backward(batch, gradients)? {
            Some(metrics) => Outcome::Computed(Computed { metrics, tokens, micro_batches: micro_batches.len() }),
            None => Outcome::NotFinite(samples.into_iter().flatten().collect()),
        })
    }
}
