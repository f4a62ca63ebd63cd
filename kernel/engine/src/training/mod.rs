//! The training loop.

mod between_steps;
pub(crate) mod grouping;
mod not_finite;

use std::iter;
use std::path::Path;
use std::path::PathBuf;
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
use crate::micro_batch::Manner;
use crate::micro_batch::MicroBatches;
use crate::model::Model;
use crate::optimizer::norm;
use crate::output::Log;
use crate::output::OutputFolder;
use crate::output::Trained;
use crate::pictures::Features;
use crate::recovery;
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
use crate::training_state::Snapshot;
use crate::training_state::TrainingState;

use grouping::Grouping;
use grouping::MicroBatchGroup;

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
    watch: TrainingMonitor,
    bad_samples: BadSamples,
}

/// What some micro-batches came to.
#[derive(Default)]
struct Computed {
    /// Summed over them.
    loss: f64,
    tokens: usize,
    /// How many had a sample that could be used.
    micro_batches: usize,
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
        let TrainInputs { data: ChosenData { train: samples, .. }, settings, .. } = inputs;
        check(inputs)?;
        // While the weight files are as they were loaded.
        inputs.model.fingerprint();
        let start = Instant::now();
        let (elapsed_before, tokens_before, first) = (self.state.run.elapsed, self.state.run.tokens, self.step());
        self.bad_samples.begin();
        let mut total_steps = self.total_steps(samples.len(), settings);
        let last_of = |total: usize| steps.map_or(total, |n| total.min(first.saturating_add(n)));
        let mut last = last_of(total_steps);
        let accumulation = settings.gradient_accumulation_steps;
        let sampler = sampler(samples.len(), settings);
        self.state.run.position = self.position(settings);
        let mut passes = Grouping {
            position: self.state.run.position,
            done: self.open_micro_batches(),
            accumulation,
            tokens: self.tokens_at_once(inputs, cx),
            tokens_of: |index: usize| samples[index].iter().map(|sample| sample.input_ids.len()).sum(),
            sampler: sampler.clone(),
        };
        let count = last.saturating_sub(first).saturating_mul(accumulation);
        self.watch.begin(inputs, passes.clone(), count, (&self.state.run.records, last), cx)?;
        let mut pass = passes.advance();
        self.open_output(inputs, cx)?;
        self.state.run.batch = settings.per_device_train_batch_size;

        let mut end = loop {
            // Between two steps. An earlier call may have been stopped before it came to this.
            if self.open_micro_batches() == 0 && self.step() > 0 {
                self.state.run.elapsed = elapsed_before + start.elapsed();
                if let Some(end) = self.between_steps(inputs, features, total_steps, cx)? {
                    break end;
                }
            }
            if self.step() >= last {
                break TrainEnd::Paused;
            }
            if cx.is_cancelled() {
                break TrainEnd::Interrupted;
            }
            // Some micro-batches: losses and gradients.
            let MicroBatchGroup { micro_batches, next } = pass;
            let chosen = |places: &Vec<usize>| places.iter().flat_map(|&index| &samples[index]).collect();
            let chosen: Vec<Vec<_>> = micro_batches.iter().map(chosen).collect();
            pass = passes.advance();
            let coming = pass.micro_batches.iter().flatten().flat_map(|&index| &samples[index]);
            let (step, open, count) = (self.step() + 1, self.open_micro_batches(), chosen.len());
            let on_progress = |part: f64| {
                let done = open as f64 + part * count as f64;
                cx.emit(Event::MicroBatch { step, last_step: last, total_steps, done, total: accumulation });
                // What others of the step have summed up is not to be lost.
                if open == 0 { cx.check_cancelled() } else { Ok(()) }
            };
            let computed = match self.gradients(inputs, features, chosen, coming, &on_progress, cx) {
                Ok(computed) => computed,
                Err(error) => {
                    if open == 0 {
                        self.state.gradients = Gradients::default();
                    }
                    match error {
                        Error::Cancelled => break TrainEnd::Interrupted,
                        error => return Err(self.failed(error, inputs, cx)),
                    }
                }
            };
            // What is reported of a step is the sum.
            let loss = computed.loss / computed.micro_batches as f64;
            self.state.run.losses.extend(iter::repeat_n(loss, computed.micro_batches));
            self.state.run.left_out += count - computed.micro_batches;
            self.state.run.micro_batches += count as u64;
            self.state.run.tokens += computed.tokens;
            self.state.run.position = next;
            self.state.run.elapsed = elapsed_before + start.elapsed();
            let done = self.open_micro_batches();
            let through = done as f64;
            cx.emit(Event::MicroBatch { step, last_step: last, total_steps, done: through, total: accumulation });

            // The window is full, or the epoch is over: one optimizer step.
            if done < accumulation && self.state.run.position.micro_batch != 0 {
                continue;
            }
            if self.state.run.losses.is_empty() {
                self.state.run.left_out = 0;
                total_steps = self.total_steps(samples.len(), settings);
                last = last_of(total_steps);
                continue;
            }
            let record = match self.optimizer_step(inputs, sampler.micro_batches_per_epoch(), total_steps) {
                Ok(record) => record,
                Err(error) => return Err(self.failed(error, inputs, cx)),
            };
            cx.emit(Event::Step(record.clone()));
            self.state.run.records.push(record);
            self.watch.step(&self.state.run.records, settings, last, cx);
        };
        if end == TrainEnd::Paused && self.step() >= total_steps {
            end = TrainEnd::Finished;
        }
        let best = self.end(inputs, end, cx)?;
        let made = &self.state.run.records[first..];
        let elapsed = start.elapsed();
        Ok(TrainReport {
            end,
            steps: made.len(),
            step: self.step(),
            total_steps,
            loss: (!made.is_empty()).then(|| made.iter().map(|r| r.loss).sum::<f64>() / made.len() as f64),
            best,
            left_out: self.bad_samples.left_out().to_vec(),
            tokens_per_second: (self.state.run.tokens - tokens_before) as f64 / elapsed.as_secs_f64(),
            elapsed,
        })
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

    /// Adds the gradients of some micro-batches to the window's; bad samples are left out. Pictures of the samples that are
    /// `coming` are read meanwhile.
    fn gradients<'a>(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        mut micro_batches: Vec<Vec<&Encoded>>,
        coming: impl Iterator<Item = &'a Encoded> + Clone,
        on_progress: &dyn Fn(f64) -> Result<()>,
        cx: &Context,
    ) -> Result<Computed> {
        while !micro_batches.is_empty() {
            let bad = match self.forward_backward(inputs, features, &micro_batches, coming.clone(), on_progress) {
                Ok(Some(computed)) => {
                    self.bad_samples.end_row();
                    return Ok(computed);
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
        Ok(Computed::default())
    }

    /// The same with all samples; none if the loss of one is not finite.
    fn forward_backward<'a>(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        micro_batches: &[Vec<&Encoded>],
        coming: impl Iterator<Item = &'a Encoded>,
        on_progress: &dyn Fn(f64) -> Result<()>,
    ) -> Result<Option<Computed>> {
        let TrainInputs { model, adapter, processor, settings, .. } = *inputs;
        let count = micro_batches.len();
        let dropout = adapter.config.as_ref().is_some_and(|config| config.lora_dropout > 0.0);
        let share = !dropout && settings.neftune_noise_alpha == 0.0;
        let stop = || on_progress(0.0).is_err();
        let micro_batches =
            MicroBatches::new(&model.net, Some(adapter), processor, features, micro_batches, share, &stop)?;
        features.read_ahead(processor, coming.flat_map(|sample| &sample.images));
        model.net.release_vision();
        let (tokens, made, labels) = (micro_batches.tokens(), micro_batches.made(), micro_batches.labels());
        let memory = StepMemory::new(&model.net, Trainable::of(adapter), made, labels);
        let manner = Manner {
            dropout: DropoutRun { seed: settings.seed, micro_batch: self.state.run.micro_batches },
            neftune_noise_alpha: settings.neftune_noise_alpha,
            layers: memory.layers(settings.memory)?,
        };
        let loss = micro_batches.backward(&model.net, adapter, manner, &mut self.state.gradients, on_progress)?;
        if let Err(error) = model.net.check_unchanged() {
            self.drop_window();
            return Err(error.into());
        }
        Ok(loss.map(|loss| Computed { loss, tokens, micro_batches: count }))
    }

    /// Micro-batches since the last optimizer step go, and will not be made again.
    fn drop_window(&mut self) {
        self.state.gradients = Gradients::default();
        self.state.run.losses.clear();
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

    /// Averages the window, clips, and moves the parameters.
    fn optimizer_step(&mut self, inputs: &TrainInputs, per_epoch: usize, total_steps: usize) -> Result<StepRecord> {
        let settings = inputs.settings;
        let gradients = std::mem::take(&mut self.state.gradients);
        let losses = std::mem::take(&mut self.state.run.losses);
        self.state.run.left_out = 0;
        let count = losses.len() as f64;
        let parameters = inputs.adapter.vars();
        let grad_norm = norm(&gradients, &parameters)? / count;
        let loss = losses.iter().sum::<f64>() / count;
        let eval_losses: Vec<_> = self.state.run.evaluations.iter().map(|record| record.loss).collect();
        let learning_rate = learning_rate(settings, self.step(), total_steps, &eval_losses);
        advice::check(self.step() + 1, loss, grad_norm, learning_rate)
            .map_err(|error| finite::weights(inputs.model, Some(inputs.adapter)).unwrap_or(error))?;
        // As torch's clip_grad_norm_; 0 means no clipping.
        let clip = if settings.max_grad_norm > 0.0 { settings.max_grad_norm / (grad_norm + 1e-6) } else { 1.0 };
        self.state.optimizer.step(&parameters, &gradients, clip.min(1.0) / count, learning_rate, settings)?;
        inputs.adapter.changed();
        let RunState { position, tokens, elapsed, .. } = self.state.run;
        Ok(StepRecord {
            step: self.step() + 1,
            total_steps,
            loss,
            grad_norm,
            learning_rate,
            epoch: position.epoch as f64 + position.micro_batch as f64 / per_epoch as f64,
            tokens,
            elapsed: elapsed.as_secs_f64(),
        })
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
