//! The accumulation window: the micro-batches of an optimizer step, and the step.

use std::iter;

use tunebook_data::Encoded;
use tunebook_nn::gradients::Gradients;

use super::Run;
use super::TrainInputs;
use super::call::Call;
use super::call::last_step;
use super::grouping::MicroBatchGroup;
use super::micro_batch::Computed;
use super::micro_batch::MicroBatch;
use super::micro_batch::Outcome;
use crate::advice;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::finite;
use crate::optimizer::norm;
use crate::pictures::Features;
use crate::report::StepRecord;
use crate::run_state::RunState;
use crate::schedule::learning_rate;
use crate::settings::Settings;
use crate::step_metrics::StepMetrics;
use crate::workers::SharedWorkers;
use crate::workers::WorkersError;

/// What computes the gradients of some micro-batches.
type Compute<'c, 'a> = dyn FnMut(&mut Run, &mut Features, &[MicroBatch<'a>]) -> Result<Outcome<'a>> + 'c;

impl Run {
    /// Whether an optimizer step is due: all micro-batches of the window are done, or the epoch is over.
    pub(super) fn is_window_full(&self, settings: &Settings) -> bool {
        self.open_micro_batches() >= settings.micro_batches_per_step() || self.state.run.position.micro_batch == 0
    }

    /// Adds the metrics and gradients of the next group of micro-batches to the window.
    ///
    /// # Errors
    /// Those of [`Run::gradients`]; the group has left no trace then.
    pub(super) fn micro_batch_group(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        call: &mut Call,
        cx: &Context,
    ) -> Result<()> {
        let samples = &inputs.data.train;
        let MicroBatchGroup { micro_batches, next } = call.advance();
        let dropped = &call.dropped;
        let is_kept = |sample: &&Encoded| !dropped.contains(&sample.origin);
        let of_place = |&place: &usize| samples[place].iter().filter(is_kept);
        let of_places = |places: &Vec<usize>| places.iter().flat_map(of_place).collect();
        let numbered = (self.state.run.micro_batches..).zip(&micro_batches);
        let chosen = numbered.map(|(number, places)| MicroBatch { number, samples: of_places(places) }).collect();
        let coming = call.next.micro_batches.iter().flatten().flat_map(of_place);
        let (open, count) = (self.open_micro_batches(), micro_batches.len());
        let (step, last_step, total_steps) = (self.step() + 1, call.last, call.total_steps);
        let (total, begun) = (call.groups.accumulation, call.begun.at);
        let emit = |done: f64| {
            let elapsed = begun.elapsed();
            cx.emit(Event::MicroBatch { step, last_step, total_steps, done, total, elapsed });
        };
        let on_progress = |fraction: f64| {
            emit(open as f64 + fraction * count as f64);
            // The sums of the window's other groups are not to be lost.
            let stops = open == 0 && cx.is_cancelled();
            if stops { Err(tunebook_nn::Error::Cancelled) } else { Ok(()) }
        };
        let gradients = match call.has_workers {
            true => self.gradients_of_workers(inputs, features, chosen, &on_progress, cx),
            false => self.gradients(inputs, features, chosen, coming, &on_progress, cx),
        };
        let computed = gradients.inspect_err(|_| {
            if open == 0 {
                self.state.gradients = Gradients::default();
            }
        })?;
        let run = &mut self.state.run;
        let used = computed.map_or(0, |Computed { metrics, tokens, micro_batches }| {
            // What is reported of a step is the sum.
            run.metrics.extend(iter::repeat_n(metrics.divided_by(micro_batches), micro_batches));
            run.tokens += tokens;
            micro_batches
        });
        run.left_out += count - used;
        run.micro_batches += count as u64;
        run.position = next;
        run.elapsed = call.elapsed();
        emit(self.open_micro_batches() as f64);
        Ok(())
    }

    /// Adds the gradients of some micro-batches to the window's; bad samples are left out, and it is none where no other is
    /// left. Images of the samples that are `coming` are read meanwhile.
    fn gradients<'a>(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        micro_batches: Vec<MicroBatch<'a>>,
        coming: impl Iterator<Item = &'a Encoded> + Clone,
        on_progress: &dyn Fn(f64) -> tunebook_nn::Result<()>,
        cx: &Context,
    ) -> Result<Option<Computed>> {
        self.without_bad_samples(inputs, features, micro_batches, cx, &mut |run, features, micro_batches| {
            let (coming, gradients) = (coming.clone(), &mut run.state.gradients);
            let outcome = inputs.learner().forward_backward(micro_batches, coming, features, gradients, on_progress);
            if let Err(error) = inputs.model.net.check_unchanged() {
                run.drop_window();
                return Err(error.into());
            }
            outcome
        })
    }

    /// The same, shared out among workers.
    fn gradients_of_workers(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        micro_batches: Vec<MicroBatch>,
        on_progress: &dyn Fn(f64) -> tunebook_nn::Result<()>,
        cx: &Context,
    ) -> Result<Option<Computed>> {
        let mut workers = inputs.workers.as_ref().and_then(SharedWorkers::free).ok_or(WorkersError::Busy)?;
        self.without_bad_samples(inputs, features, micro_batches, cx, &mut |run, _, micro_batches| {
            workers.gradients(inputs.learner(), micro_batches, &mut run.state.gradients, on_progress, cx)
        })
    }

    /// What `compute` makes of micro-batches, once the samples that it finds bad are left out.
    fn without_bad_samples<'a>(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        mut micro_batches: Vec<MicroBatch<'a>>,
        cx: &Context,
        compute: &mut Compute<'_, 'a>,
    ) -> Result<Option<Computed>> {
        // All samples of one may be dropped.
        micro_batches.retain(|micro_batch| !micro_batch.samples.is_empty());
        while !micro_batches.is_empty() {
            let bad = match compute(self, features, &micro_batches) {
                Ok(Outcome::Computed(computed)) => {
                    self.bad_samples.end_row();
                    return Ok(Some(computed));
                }
                Ok(Outcome::NotFinite(samples)) => {
                    self.not_finite(inputs, features, &samples, &|| cx.is_cancelled())?
                }
                Err(Error::BadSample(sample)) => vec![*sample],
                Err(error) => return Err(error),
            };
            for sample in bad {
                let is_other = |other: &&Encoded| other.origin != sample.origin;
                micro_batches.iter_mut().for_each(|micro_batch| micro_batch.samples.retain(is_other));
                self.bad_samples.leave_out(sample, &inputs.settings, cx)?;
            }
            self.list_bad_samples()?;
            micro_batches.retain(|micro_batch| !micro_batch.samples.is_empty());
        }
        Ok(None)
    }

    /// Drops the micro-batches since the last optimizer step. They are not computed again.
    fn drop_window(&mut self) {
        self.state.gradients = Gradients::default();
        self.state.run.metrics.clear();
        self.state.run.left_out = 0;
    }

    /// The window's optimizer step, if one of its micro-batches could be used.
    pub(super) fn optimizer_step(&mut self, inputs: &TrainInputs, call: &mut Call, cx: &Context) -> Result<()> {
        let samples = inputs.data.train.len();
        self.state.run.left_out = 0;
        let Some(metrics) = StepMetrics::mean(self.state.run.metrics.iter()) else {
            call.total_steps = self.total_steps(samples, &inputs.settings);
            call.last = last_step(call.begun.step, call.begun.steps, call.total_steps);
            return Ok(());
        };
        let count = std::mem::take(&mut self.state.run.metrics).len();
        let (grad_norm, learning_rate) = self.update_parameters(inputs, metrics.loss(), count, call.total_steps)?;
        let RunState { position, tokens, elapsed, .. } = self.state.run;
        let per_epoch = call.groups.sampler.micro_batches_per_epoch();
        let record = StepRecord {
            step: self.step() + 1,
            total_steps: call.total_steps,
            metrics,
            grad_norm,
            learning_rate,
            epoch: position.epoch as f64 + position.micro_batch as f64 / per_epoch as f64,
            tokens,
            elapsed: elapsed.as_secs_f64(),
        };
        cx.emit(Event::Step(record.clone()));
        self.state.run.records.push(record);
        self.monitor.step(&self.state.run.records, &inputs.settings, call.last, cx);
        Ok(())
    }

    /// Averages the gradients of `count` micro-batches, clips them, and lets AdamW update the parameters. Gives the gradient's
    /// norm before clipping, and the learning rate.
    fn update_parameters(
        &mut self,
        inputs: &TrainInputs,
        loss: f64,
        count: usize,
        total_steps: usize,
    ) -> Result<(f64, f64)> {
        let TrainInputs { model, adapter, settings, .. } = inputs;
        let gradients = std::mem::take(&mut self.state.gradients);
        let parameters = adapter.vars();
        let grad_norm = norm(&gradients, &parameters)? / count as f64;
        let eval_losses: Vec<_> = self.state.run.evaluations.iter().map(|record| record.loss).collect();
        let learning_rate = learning_rate(settings, self.step(), total_steps, &eval_losses);
        advice::check(self.step() + 1, loss, grad_norm, learning_rate)
            .map_err(|error| finite::weights(model, Some(adapter)).unwrap_or(error))?;
        // As torch's clip_grad_norm_; 0 means no clipping.
        let clip = if settings.max_grad_norm > 0.0 { settings.max_grad_norm / (grad_norm + 1e-6) } else { 1.0 };
        self.state.optimizer.step(&parameters, &gradients, clip.min(1.0) / count as f64, learning_rate, settings)?;
        adapter.changed();
        Ok((grad_norm, learning_rate))
    }
}
