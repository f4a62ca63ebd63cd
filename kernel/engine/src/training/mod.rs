//! The training loop.
//!
//! A stop loses at most the micro-batches in flight. Before each layer, the pass reports its progress and checks for
//! cancellation. If no micro-batch of the step is complete yet, it is abandoned at once with its gradients, because it
//! can take a minute and more for a 3B model on a small machine. Otherwise it is completed, because its gradients go
//! into the same sums as those before it.
//!
//! [`Run`] keeps the open accumulation window (losses and summed gradients), so the next call continues with the very
//! next micro-batch and gives the run that was not interrupted: which micro-batches go together depends only on where
//! the pass begins and on whether `memory` has room for it.

mod between_steps;
pub mod collate;
pub(crate) mod grouping;
mod not_finite;
pub mod objective;
pub mod step;

use std::iter;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use tunebook_data::Encoded;
use tunebook_data::ImageProcessor;
use tunebook_data::Position;
use tunebook_data::Sampler;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;
use tunebook_nn::layers::DropoutRun;

use crate::advice;
use crate::advice::TrainingMonitor;
use crate::bad_sample::BadSamples;
use crate::checkpoint::Checkpoint;
use crate::chosen_data::ChosenData;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::finite;
use crate::memory;
use crate::memory::StepMemory;
use crate::memory::Trainable;
use crate::model::Model;
use crate::optimizer::norm;
use crate::output::Log;
use crate::output::OutputFolder;
use crate::output::Trained;
use crate::pictures::Features;
use crate::recovery;
use crate::report::BestReport;
use crate::report::EvaluationRecord;
use crate::report::SaveReport;
use crate::report::StepRecord;
use crate::report::TrainEnd;
use crate::report::TrainReport;
use crate::run_state::RunState;
use crate::schedule;
use crate::schedule::learning_rate;
use crate::settings::EvalStrategy;
use crate::settings::LrSchedulerType;
use crate::settings::SaveStrategy;
use crate::settings::Settings;
use crate::step_metrics::StepMetrics;
use crate::training_state::Snapshot;
use crate::training_state::TrainingState;

use collate::Collator;
use grouping::Grouping;
use grouping::MicroBatchGroup;
use objective::CrossEntropy;
use step::Step;
use step::StepOptions;

/// The training of one adapter on one choice of data, from its first step to where it stands.
#[derive(Default)]
pub struct Run {
    state: TrainingState,
    /// Where `output_dir` says.
    output: Option<OutputFolder>,
    /// The output folder whose checkpoint this went on from, and what had been logged there.
    resumed: Option<(PathBuf, Log)>,
    /// The step after which the last checkpoint that was due was written.
    saved: usize,
    /// Micro-batches as they were when the training was last written to the disk.
    kept: u64,
    monitor: TrainingMonitor,
    bad_samples: BadSamples,
}

/// What some micro-batches came to.
struct Computed {
    /// Summed over them.
    metrics: StepMetrics,
    tokens: usize,
    /// How many had a sample that could be used.
    micro_batches: usize,
}

/// One call of [`Run::train`]: where it began, how far it goes, and what comes next.
struct Call {
    start: Instant,
    /// Time and tokens of the calls before it.
    elapsed_before: Duration,
    tokens_before: usize,
    /// Optimizer steps made before it.
    first: usize,
    /// How many are asked for; none makes all that are left.
    steps: Option<usize>,
    /// The step after which it ends.
    last: usize,
    total_steps: usize,
    groups: Grouping,
    /// The group that comes next: its images are read ahead.
    next: MicroBatchGroup,
}

impl Call {
    /// Time spent in training so far, earlier calls included.
    fn elapsed(&self) -> Duration {
        self.elapsed_before + self.start.elapsed()
    }

    /// The group whose turn it is.
    fn advance(&mut self) -> MicroBatchGroup {
        let coming = self.groups.advance();
        std::mem::replace(&mut self.next, coming)
    }
}

/// The step after which a call ends that is to make `steps`, or all.
fn last_step(first: usize, steps: Option<usize>, total_steps: usize) -> usize {
    steps.map_or(total_steps, |steps| total_steps.min(first.saturating_add(steps)))
}

/// What a training reads.
pub struct TrainInputs<'a> {
    pub model: &'a Model,
    /// The adapter's name in the session.
    pub name: &'a str,
    pub adapter: &'a Adapter,
    pub data: &'a ChosenData,
    pub processor: &'a ImageProcessor,
    pub settings: &'a Settings,
}

impl Run {
    /// The training that stopped at a checkpoint in the output folder `output`.
    pub fn resume(checkpoint: Checkpoint, output: PathBuf) -> (Adapter, Self) {
        let Checkpoint { adapter, state, log } = checkpoint;
        let (saved, kept, resumed) = (state.run.step(), state.run.micro_batches, Some((output, log)));
        (adapter, Self { state, resumed, saved, kept, ..Self::default() })
    }

    /// Copies what the training and its `adapter` are at present.
    ///
    /// # Errors
    /// The device fails.
    pub fn snapshot(&self, adapter: &Adapter) -> Result<Snapshot> {
        self.state.snapshot(adapter)
    }

    /// Makes both what they were. What has been logged since then is taken back when the training goes on, and later
    /// checkpoints are set aside.
    ///
    /// # Errors
    /// The snapshot is of another adapter's training; the device fails.
    pub fn restore(&mut self, adapter: &Adapter, snapshot: &Snapshot) -> Result<()> {
        self.state.restore(adapter, snapshot)?;
        self.saved = self.saved.min(self.step());
        // As many micro-batches as are on the disk may now be others.
        self.kept = 0;
        if let Some(output) = self.output.take() {
            let log = output.log_until(self.step(), self.state.run.evaluations.len());
            self.resumed = Some((output.folder().to_path_buf(), log));
        }
        Ok(())
    }

    pub fn records(&self) -> &[StepRecord] {
        &self.state.run.records
    }

    pub fn evaluations(&self) -> &[EvaluationRecord] {
        &self.state.run.evaluations
    }

    /// Optimizer steps made.
    pub fn step(&self) -> usize {
        self.state.run.step()
    }

    /// Micro-batches since the last optimizer step.
    pub fn open_micro_batches(&self) -> usize {
        self.state.run.open_micro_batches()
    }

    /// Optimizer steps in all, if the settings stay as they are: `max_steps`, or those made and those that the rest
    /// of `num_train_epochs` holds.
    pub fn total_steps(&self, samples: usize, settings: &Settings) -> usize {
        if let Ok(steps @ 1..) = usize::try_from(settings.max_steps) {
            return steps;
        }
        let accumulation = settings.gradient_accumulation_steps;
        let an_epoch = sampler(samples, settings).steps_per_epoch();
        let place = self.position(settings);
        let behind = place.epoch * an_epoch + place.micro_batch / accumulation;
        let planned = (settings.num_train_epochs * an_epoch as f64).ceil() as usize;
        self.step() + planned.saturating_sub(behind)
    }

    /// Makes `steps` optimizer steps, or all that are left. Stops when it is asked to: between two batches of an evaluation,
    /// or within micro-batches if they are the first of a step, which are then made again, or else after them. The next call
    /// goes on from there.
    ///
    /// A sample that cannot be used is left out, unless `on_bad_sample` is `stop`; a step is the mean over the
    /// micro-batches that have a sample left.
    ///
    /// # Errors
    /// Settings that exclude each other; a file cannot be written, the memory does not suffice. A bad sample that is not
    /// left out, or too many in a row; a step whose gradient is not finite is not made, nor is one of a training that has
    /// diverged. The micro-batches that failed have left no trace, and where the training can go on, a checkpoint is
    /// written.
    pub fn train(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        steps: Option<usize>,
        cx: &Context,
    ) -> Result<TrainReport> {
        let mut call = self.begin(inputs, steps, cx)?;
        let end = loop {
            // An earlier call may have been stopped before it came to this.
            if self.is_between_steps() {
                self.state.run.elapsed = call.elapsed();
                if let Some(end) = self.between_steps(inputs, features, call.total_steps, cx)? {
                    break end;
                }
            }
            if self.step() >= call.last {
                break if self.step() >= call.total_steps { TrainEnd::Finished } else { TrainEnd::Paused };
            }
            if cx.is_cancelled() {
                break TrainEnd::Interrupted;
            }
            match self.micro_batch_group(inputs, features, &mut call, cx) {
                Ok(()) => {}
                Err(Error::Cancelled) => break TrainEnd::Interrupted,
                Err(error) => return Err(self.failed(error, inputs, cx)),
            }
            if self.is_window_full(inputs.settings)
                && let Err(error) = self.optimizer_step(inputs, &mut call, cx)
            {
                return Err(self.failed(error, inputs, cx));
            }
        };
        let best = self.end(inputs, end, cx)?;
        Ok(self.report(&call, end, best))
    }

    /// What a call of [`Run::train`] begins with.
    fn begin(&mut self, inputs: &TrainInputs, steps: Option<usize>, cx: &Context) -> Result<Call> {
        let TrainInputs { data: ChosenData { train: samples, .. }, settings, .. } = inputs;
        check(inputs)?;
        // While the weight files are as they were loaded.
        inputs.model.fingerprint();
        let start = Instant::now();
        self.bad_samples.begin();
        let (first, total_steps) = (self.step(), self.total_steps(samples.len(), settings));
        self.state.run.position = self.position(settings);
        let mut groups = Grouping {
            sampler: sampler(samples.len(), settings),
            position: self.state.run.position,
            done: self.open_micro_batches(),
            accumulation: settings.gradient_accumulation_steps,
            limit: self.tokens_at_once(inputs, cx),
            tokens: samples.iter().map(|pack| pack.iter().map(|sample| sample.input_ids.len()).sum()).collect(),
        };
        let last = last_step(first, steps, total_steps);
        let count = last.saturating_sub(first).saturating_mul(groups.accumulation);
        self.monitor.begin(inputs, groups.clone(), count, (&self.state.run.records, last), cx)?;
        self.open_output(inputs, cx)?;
        self.state.run.batch = settings.per_device_train_batch_size;
        let (elapsed_before, tokens_before) = (self.state.run.elapsed, self.state.run.tokens);
        let next = groups.advance();
        Ok(Call { start, elapsed_before, tokens_before, first, steps, last, total_steps, groups, next })
    }

    /// Neither within a window nor before the first step.
    fn is_between_steps(&self) -> bool {
        self.open_micro_batches() == 0 && self.step() > 0
    }

    /// Whether an optimizer step is due: all micro-batches of the window are done, or the epoch is over.
    fn is_window_full(&self, settings: &Settings) -> bool {
        self.open_micro_batches() >= settings.gradient_accumulation_steps || self.state.run.position.micro_batch == 0
    }

    /// Adds the metrics and gradients of the next group of micro-batches to the window.
    ///
    /// # Errors
    /// Those of [`Run::gradients`]; the group has left no trace then.
    fn micro_batch_group(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        call: &mut Call,
        cx: &Context,
    ) -> Result<()> {
        let samples = &inputs.data.train;
        let MicroBatchGroup { micro_batches, next } = call.advance();
        let chosen = |places: &Vec<usize>| places.iter().flat_map(|&index| &samples[index]).collect();
        let chosen: Vec<Vec<_>> = micro_batches.iter().map(chosen).collect();
        let coming = call.next.micro_batches.iter().flatten().flat_map(|&index| &samples[index]);
        let (open, count) = (self.open_micro_batches(), chosen.len());
        let (step, last_step, total_steps) = (self.step() + 1, call.last, call.total_steps);
        let total = call.groups.accumulation;
        let emit = |done: f64| cx.emit(Event::MicroBatch { step, last_step, total_steps, done, total });
        let on_progress = |fraction: f64| {
            emit(open as f64 + fraction * count as f64);
            // The sums of the window's other groups are not to be lost.
            let stops = open == 0 && cx.is_cancelled();
            if stops { Err(tunebook_nn::Error::Cancelled) } else { Ok(()) }
        };
        let computed = self.gradients(inputs, features, chosen, coming, &on_progress, cx).inspect_err(|_| {
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

    fn report(&self, call: &Call, end: TrainEnd, best: Option<BestReport>) -> TrainReport {
        let run = &self.state.run;
        let made = &run.records[call.first..];
        let elapsed = call.start.elapsed();
        TrainReport {
            end,
            steps: made.len(),
            step: self.step(),
            total_steps: call.total_steps,
            loss: StepMetrics::mean(made.iter().map(|record| &record.metrics)).map(|mean| mean.loss()),
            best,
            left_out: self.bad_samples.left_out().to_vec(),
            tokens_per_second: (run.tokens - call.tokens_before) as f64 / elapsed.as_secs_f64(),
            elapsed,
        }
    }

    /// Writes the adapter and the log of its training into `folder`; an epoch has `samples`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(
        &mut self,
        (model, adapter): (&Model, &Adapter),
        samples: usize,
        settings: &Settings,
        folder: &Path,
    ) -> Result<SaveReport> {
        let state = Trained { run: &self.state.run, adapter, shape: &model.net.shape, samples, settings };
        let report = OutputFolder::to_save(folder, &model.report.name)?.finish(state)?;
        self.kept = self.state.run.micro_batches;
        Ok(report)
    }

    /// Whether nothing would be lost if the process ended now.
    pub fn is_kept(&self) -> bool {
        self.kept == self.state.run.micro_batches
    }

    /// Writes a checkpoint before the process ends: to the output folder, or where that cannot be used, to the
    /// user's [`recovery`] folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn keep(&mut self, inputs: &TrainInputs, cx: &Context) -> Result<Option<PathBuf>> {
        if self.open_output(inputs, cx).is_err() || self.output.is_none() {
            self.output =
                Some(OutputFolder::create(&recovery::place(inputs.name)?, false, &inputs.model.report.name, cx)?);
        }
        self.write_checkpoint(inputs)
    }

    /// Writes a checkpoint of where the training stands to `output_dir`.
    ///
    /// # Errors
    /// There is no `output_dir`, or it holds another training; a file cannot be written.
    pub fn checkpoint(&mut self, inputs: &TrainInputs, cx: &Context) -> Result<PathBuf> {
        self.open_output(inputs, cx)?;
        if let Some(output) = &mut self.output {
            output.log(state(&self.state.run, inputs))?;
        }
        self.write_checkpoint(inputs)?.ok_or(Error::NoOutputDir)
    }

    /// See [`memory::tokens_at_once`].
    fn tokens_at_once(&mut self, inputs: &TrainInputs, cx: &Context) -> usize {
        let TrainInputs { model, adapter, settings, .. } = *inputs;
        let before = self.state.run.tokens_at_once.filter(|_| self.state.run.micro_batches > 0);
        let tokens = memory::tokens_at_once(&model.net, Trainable::of(adapter), settings.memory, before);
        if before.is_some_and(|before| before != tokens) {
            cx.emit(Event::Note(Note::OtherBits));
        }
        *self.state.run.tokens_at_once.insert(tokens)
    }

    /// Adds the gradients of some micro-batches to the window's; bad samples are left out, and it is none where no other is
    /// left. Images of the samples that are `coming` are read meanwhile.
    fn gradients<'a>(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        mut micro_batches: Vec<Vec<&Encoded>>,
        coming: impl Iterator<Item = &'a Encoded> + Clone,
        on_progress: &dyn Fn(f64) -> tunebook_nn::Result<()>,
        cx: &Context,
    ) -> Result<Option<Computed>> {
        while !micro_batches.is_empty() {
            let bad = match self.forward_backward(inputs, features, &micro_batches, coming.clone(), on_progress) {
                Ok(Some(computed)) => {
                    self.bad_samples.end_row();
                    return Ok(Some(computed));
                }
                Ok(None) => {
                    let samples: Vec<_> = micro_batches.iter().flatten().copied().collect();
                    self.not_finite(inputs, features, &samples, &|| cx.is_cancelled())?
                }
                Err(Error::BadSample(sample)) => vec![*sample],
                Err(error) => return Err(error),
            };
            for sample in bad {
                micro_batches.iter_mut().for_each(|samples| samples.retain(|other| other.origin != sample.origin));
                self.bad_samples.leave_out(sample, inputs.settings, cx)?;
            }
            self.list_bad_samples()?;
            micro_batches.retain(|samples| !samples.is_empty());
        }
        Ok(None)
    }

    /// The same with all samples; none if the loss of one is not finite.
    fn forward_backward<'a>(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        micro_batches: &[Vec<&Encoded>],
        coming: impl Iterator<Item = &'a Encoded>,
        on_progress: &dyn Fn(f64) -> tunebook_nn::Result<()>,
    ) -> Result<Option<Computed>> {
        let TrainInputs { model, adapter, processor, settings, .. } = *inputs;
        let net = &model.net;
        let dropout = adapter.config.as_ref().is_some_and(|config| config.lora_dropout > 0.0);
        let mut collator = Collator {
            net,
            adapter: Some(adapter),
            processor,
            features,
            shares_prefixes: !dropout && settings.neftune_noise_alpha == 0.0,
            stop: &|| on_progress(0.0).is_err(),
        };
        let batch = collator.collate(micro_batches)?;
        features.read_ahead(processor, coming.flat_map(|sample| &sample.images));
        net.release_vision();
        let (tokens, labels) = (batch.tokens(), batch.labels().rows.len());
        let memory = StepMemory::new(net, Trainable::of(adapter), batch.computed_tokens(), labels);
        let options = StepOptions {
            dropout: DropoutRun { seed: settings.seed, micro_batch: self.state.run.micro_batches },
            neftune_noise_alpha: settings.neftune_noise_alpha,
            checkpoint_plan: memory.plan(settings.memory)?,
        };
        let step = Step { net, adapter, objective: &CrossEntropy, options, on_progress };
        let metrics = step.forward_backward(batch, &mut self.state.gradients)?;
        if let Err(error) = net.check_unchanged() {
            self.drop_window();
            return Err(error.into());
        }
        Ok(metrics.map(|metrics| Computed { metrics, tokens, micro_batches: micro_batches.len() }))
    }

    /// Micro-batches since the last optimizer step go, and will not be made again.
    fn drop_window(&mut self) {
        self.state.gradients = Gradients::default();
        self.state.run.metrics.clear();
        self.state.run.left_out = 0;
    }

    /// Keeps a training that ends with `error` in a checkpoint, if it can go on.
    fn failed(&mut self, error: Error, inputs: &TrainInputs, cx: &Context) -> Error {
        let goes_on = matches!(
            error,
            Error::BadSample(_)
                | Error::BadSamplesInARow { .. }
                | Error::NotFinite { .. }
                | Error::Model(tunebook_nn::Error::WeightsChanged { .. })
        );
        if goes_on && inputs.settings.save_strategy != SaveStrategy::No {
            // What is wrong is told by the first error.
            if let Ok(Some(checkpoint)) = self.write_checkpoint(inputs) {
                cx.emit(Event::Note(Note::Kept { checkpoint }));
            }
        }
        error
    }

    /// The window's optimizer step, if one of its micro-batches could be used.
    fn optimizer_step(&mut self, inputs: &TrainInputs, call: &mut Call, cx: &Context) -> Result<()> {
        let samples = inputs.data.train.len();
        self.state.run.left_out = 0;
        let Some(metrics) = StepMetrics::mean(self.state.run.metrics.iter()) else {
            call.total_steps = self.total_steps(samples, inputs.settings);
            call.last = last_step(call.first, call.steps, call.total_steps);
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
        self.monitor.step(&self.state.run.records, inputs.settings, call.last, cx);
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
        let TrainInputs { model, adapter, settings, .. } = *inputs;
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

    /// The next micro-batch, counted in micro-batches of today's size: a batch size that was changed since
    /// continues at the same sample, or at most a batch before it.
    fn position(&self, settings: &Settings) -> Position {
        let micro_batch =
            self.state.run.position.micro_batch * self.state.run.batch / settings.per_device_train_batch_size;
        Position { micro_batch, ..self.state.run.position }
    }
}

/// Refuses settings that cannot be followed before anything is computed.
fn check(inputs: &TrainInputs) -> Result<()> {
    let settings = inputs.settings;
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

fn state<'a>(run: &'a RunState, inputs: &TrainInputs<'a>) -> Trained<'a> {
    let TrainInputs { model, adapter, data, settings, .. } = *inputs;
    Trained { run, adapter, shape: &model.net.shape, samples: data.train.len(), settings }
}

fn sampler(samples: usize, settings: &Settings) -> Sampler {
    let (batch, accumulation) = (settings.per_device_train_batch_size, settings.gradient_accumulation_steps);
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
