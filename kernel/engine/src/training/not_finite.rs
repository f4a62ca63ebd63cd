//! Where a loss that is not finite comes from: some of the samples, or an adapter that has diverged.
//!
//! Whether the last hidden states are finite is checked before the head, so nothing has been added to the gradients
//! yet. Then each sample is tried alone. If all are bad, a few other samples of the data are tried with and without the
//! adapter. Only if the adapter alone makes the difference has the training diverged; the error then names the last
//! checkpoint from before the loss began to rise.

use std::path::PathBuf;

use tunebook_data::Encoded;
use tunebook_data::SkipReason;
use tunebook_data::Skipped;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::layers::ForwardContext;

use super::Run;
use super::TrainInputs;
use super::collate::Collator;
use super::objective::CrossEntropy;
use super::step::evaluate_batch;
use crate::checkpoint::folder;
use crate::error::Error;
use crate::error::Result;
use crate::finite;
use crate::output::OutputFolder;
use crate::pictures::Features;

/// Other samples of the data that are asked where each sample of a group has a loss that is not finite.
const WITNESSES: usize = 4;

impl Run {
    /// The samples whose own loss is not finite.
    ///
    /// # Errors
    /// No sample has a finite loss with the adapter: weights hold values that are no numbers, or [`Error::Diverged`] if one
    /// has it without the adapter. [`Error::NotFinite`] if each has one by itself. A stop.
    pub(super) fn not_finite(
        &self,
        inputs: &TrainInputs,
        features: &mut Features,
        samples: &[&Encoded],
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Skipped>> {
        let TrainInputs { model, adapter, data, processor, settings, .. } = inputs;
        let mut is_finite = |sample: &Encoded, adapter: Option<&Adapter>| {
            let mut collator = Collator { net: &model.net, adapter, processor, features, shares_prefixes: false, stop };
            let alone = collator.collate(&[vec![sample]])?;
            let ctx = ForwardContext { adapter, stop: Some(stop), ..ForwardContext::default() };
            Ok::<_, Error>(evaluate_batch(&model.net, &CrossEntropy, alone, ctx)?.loss().is_finite())
        };
        let mut bad = Vec::new();
        for &sample in samples {
            if !is_finite(sample, Some(adapter))? {
                bad.push(sample);
            }
        }
        let step = self.step() + 1;
        let learning_rate = self.state.run.records.last().map_or(settings.learning_rate, |record| record.learning_rate);
        if bad.is_empty() {
            return Err(Error::NotFinite { step, loss: f64::NAN, grad_norm: f64::NAN, learning_rate });
        }
        if bad.len() == samples.len() {
            let train: Vec<_> = data.train.iter().flatten().collect();
            let witnesses = train.iter().copied().step_by(train.len().div_ceil(WITNESSES)).chain(bad.iter().copied());
            let witnesses: Vec<_> = witnesses.collect();
            let mut any = |adapter: Option<&Adapter>| {
                for &sample in &witnesses {
                    match is_finite(sample, adapter) {
                        Ok(true) => return Ok(true),
                        Ok(false) | Err(Error::BadSample(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(false)
            };
            if !any(Some(adapter))? {
                let checkpoint = self.checkpoint_before_rise();
                return Err(match finite::weights(model, Some(adapter)) {
                    Some(error) => error,
                    None if any(None)? => Error::Diverged { step, learning_rate, checkpoint },
                    None => Error::OutputNotFinite,
                });
            }
        }
        let skipped = |sample: &Encoded| Skipped { origin: sample.origin.clone(), reason: SkipReason::LossNotFinite };
        Ok(bad.into_iter().map(skipped).collect())
    }

    /// The last checkpoint from before the loss began to rise; without one, the last.
    fn checkpoint_before_rise(&self) -> Option<PathBuf> {
        let lowest = self.state.run.records.iter().min_by(|a, b| a.loss().total_cmp(&b.loss()))?.step;
        let output = self.output.as_ref().map(OutputFolder::folder)?;
        folder::latest_until(output, lowest).or_else(|| folder::latest(output))
    }
}
