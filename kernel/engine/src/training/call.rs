//! One call of `train`: where it begins, how far it goes, and what it reports.

use std::collections::BTreeSet;
use std::time::Duration;
use std::time::Instant;

use tunebook_data::Origin;
use tunebook_data::Position;
use tunebook_data::Sampler;

use super::Run;
use super::TrainInputs;
use super::grouping::Grouping;
use super::grouping::MicroBatchGroup;
use crate::chosen_data::Split;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::memory;
use crate::memory::Trainable;
use crate::report::BestReport;
use crate::report::TrainEnd;
use crate::report::TrainReport;
use crate::schedule;
use crate::settings::EvalStrategy;
use crate::settings::LrSchedulerType;
use crate::settings::SaveStrategy;
use crate::settings::Settings;
use crate::step_metrics::StepMetrics;

/// One call of [`Run::train`]: where it began, how far it goes, and what comes next.
pub(crate) struct Call {
    pub(super) begun: Begun,
    /// The step after which it ends.
    pub(super) last: usize,
    pub(crate) total_steps: usize,
    pub(super) groups: Grouping,
    /// The group that comes next: its images are read ahead.
    pub(super) next: MicroBatchGroup,
    /// The samples that are dropped.
    pub(super) dropped: BTreeSet<Origin>,
    /// Whether workers compute the gradients.
    pub(super) has_workers: bool,
}

/// Where a call began.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub(super) at: Instant,
    /// Time, tokens and optimizer steps of the calls before it.
    pub(super) elapsed: Duration,
    pub(super) tokens: usize,
    pub(super) step: usize,
    /// How many steps are asked for; none makes all that are left.
    pub(super) steps: Option<usize>,
}

impl Call {
    /// Time spent in training so far, earlier calls included.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed + self.begun.at.elapsed()
    }

    /// The group whose turn it is.
    pub(super) fn advance(&mut self) -> MicroBatchGroup {
        let coming = self.groups.advance();
        std::mem::replace(&mut self.next, coming)
    }
}

impl Run {
    /// Optimizer steps in all, if the settings stay as they are: `max_steps`, or those made and those that the rest
    /// of `num_train_epochs` holds.
    pub fn total_steps(&self, samples: usize, settings: &Settings) -> usize {
        if let Ok(steps @ 1..) = usize::try_from(settings.max_steps) {
            return steps;
        }
        let accumulation = settings.micro_batches_per_step();
        let an_epoch = sampler(samples, settings).steps_per_epoch();
        let place = self.position(settings);
        let behind = place.epoch * an_epoch + place.micro_batch / accumulation;
        let planned = (settings.num_train_epochs * an_epoch as f64).ceil() as usize;
        self.step() + planned.saturating_sub(behind)
    }

    /// A call of [`Run::train`] that is to make `steps` optimizer steps, or all that are left.
    ///
    /// # Errors
    /// Settings that exclude each other; a file cannot be written, the memory does not suffice. Nothing is changed.
    pub(crate) fn begin(&mut self, inputs: &TrainInputs, steps: Option<usize>, cx: &Context) -> Result<Call> {
        // While the weight files are as they were loaded.
        inputs.model.fingerprint();
        self.bad_samples.begin();
        let (elapsed, tokens) = (self.state.run.elapsed, self.state.run.tokens);
        let call = self.plan(inputs, Begun { at: Instant::now(), elapsed, tokens, step: self.step(), steps }, cx)?;
        self.keep_beginning(inputs)?;
        Ok(call)
    }

    /// How a call goes on from where the training stands.
    ///
    /// # Errors
    /// As [`Run::begin`].
    pub(super) fn plan(&mut self, inputs: &TrainInputs, begun: Begun, cx: &Context) -> Result<Call> {
        let TrainInputs { data, settings, .. } = inputs;
        check(inputs)?;
        let samples = &data.train;
        let (total_steps, position) = (self.total_steps(samples.len(), settings), self.position(settings));
        let mut groups = Grouping {
            sampler: sampler(samples.len(), settings),
            position,
            done: self.open_micro_batches(),
            accumulation: settings.micro_batches_per_step(),
            // What depends on chance is drawn for each micro-batch by itself.
            limit: if settings.has_noise(&inputs.adapter) { 0 } else { self.tokens_at_once(inputs, cx) },
            tokens: samples.iter().map(|pack| pack.iter().map(|sample| sample.input_ids.len()).sum()).collect(),
        };
        let last = last_step(begun.step, begun.steps, total_steps);
        let count = last.saturating_sub(self.step()).saturating_mul(groups.accumulation);
        self.monitor.begin(inputs, groups.clone(), count, (&self.state.run.records, last), cx)?;
        let has_workers = inputs.workers.as_ref().is_some_and(|workers| workers.free().is_some());
        if has_workers {
            // All micro-batches of a step are shared out at once, and each worker groups its own.
            groups.limit = usize::MAX;
        }
        self.open_output(inputs, cx)?;
        (self.state.run.position, self.state.run.batch) = (position, settings.per_device_train_batch_size);
        self.state.run.dropped.clone_from(&inputs.dropped);
        let numbered = data.samples(Split::Train).into_iter().enumerate();
        let dropped = numbered.filter(|(number, _)| inputs.dropped.contains(number));
        let dropped = dropped.map(|(_, sample)| sample.origin.clone()).collect();
        let next = groups.advance();
        Ok(Call { begun, last, total_steps, groups, next, dropped, has_workers })
    }

    pub(super) fn report(&self, call: &Call, end: TrainEnd, best: Option<BestReport>) -> TrainReport {
        let run = &self.state.run;
        let made = &run.records[call.begun.step..];
        let elapsed = call.begun.at.elapsed();
        TrainReport {
            end,
            steps: made.len(),
            step: self.step(),
            total_steps: call.total_steps,
            loss: StepMetrics::mean(made.iter().map(|record| &record.metrics)).map(|mean| mean.loss()),
            best,
            left_out: self.bad_samples.left_out().to_vec(),
            tokens_per_second: (run.tokens - call.begun.tokens) as f64 / elapsed.as_secs_f64(),
            elapsed,
        }
    }

    /// See [`memory::tokens_at_once`].
    fn tokens_at_once(&mut self, inputs: &TrainInputs, cx: &Context) -> usize {
        let TrainInputs { model, adapter, settings, .. } = inputs;
        let before = self.state.run.tokens_at_once.filter(|_| self.state.run.micro_batches > 0);
        let tokens = memory::tokens_at_once(&model.net, Trainable::of(adapter), settings.memory, before);
        if before.is_some_and(|before| before != tokens) {
            cx.emit(Event::Note(Note::OtherBits));
        }
        *self.state.run.tokens_at_once.insert(tokens)
    }

    /// The next micro-batch, counted in micro-batches of today's size: a batch size that was changed since
    /// continues at the same sample, or at most a batch before it.
    fn position(&self, settings: &Settings) -> Position {
        let micro_batch =
            self.state.run.position.micro_batch * self.state.run.batch / settings.per_device_train_batch_size;
        Position { micro_batch, ..self.state.run.position }
    }
}

/// The step after which a call ends that is to make `steps`, or all.
pub(super) fn last_step(first: usize, steps: Option<usize>, total_steps: usize) -> usize {
    steps.map_or(total_steps, |steps| total_steps.min(first.saturating_add(steps)))
}

/// Refuses settings that cannot be followed before anything is computed.
fn check(inputs: &TrainInputs) -> Result<()> {
    let settings = &inputs.settings;
    schedule::check(settings)?;
    let needs_evaluation = [
        ("load_best_model_at_end", settings.load_best_model_at_end),
        ("early_stopping_steps", settings.early_stopping_steps.is_some()),
        ("save_strategy=best", settings.save_strategy == SaveStrategy::Best),
        ("lr_scheduler_type=reduce_lr_on_plateau", settings.lr_scheduler_type == LrSchedulerType::ReduceLrOnPlateau),
    ];
    let evaluates = settings.eval_strategy != EvalStrategy::No && !inputs.data.eval.is_empty();
    if let Some((key, _)) = needs_evaluation.into_iter().find(|(_, is_set)| *is_set && !evaluates) {
        return Err(Error::NothingToEvaluate { key });
    }
    if settings.load_best_model_at_end && settings.output_dir.is_none() {
        return Err(Error::BestNeedsOutput);
    }
    Ok(())
}

fn sampler(samples: usize, settings: &Settings) -> Sampler {
    let (batch, accumulation) = (settings.per_device_train_batch_size, settings.micro_batches_per_step());
    let seed = settings.data_seed.unwrap_or(settings.seed);
    Sampler::new(samples, batch, accumulation, seed, !settings.disable_shuffling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_samples_can_have_a_seed_of_its_own() {
        let order = |seed, data_seed| {
            let settings = Settings { seed, data_seed, per_device_train_batch_size: 40, ..Settings::default() };
            sampler(40, &settings).micro_batch(Position::default()).to_vec()
        };
        assert_eq!(order(7, None), order(1, Some(7)));
        assert_ne!(order(1, None), order(1, Some(7)));
    }
}
