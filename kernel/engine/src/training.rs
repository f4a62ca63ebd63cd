//! The training loop.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use tunebook_data::Encoded;
use tunebook_data::ImageProcessor;
use tunebook_data::Position;
use tunebook_data::Sampler;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;
use tunebook_nn::qwen2_5_vl::DropoutRun;

use crate::advice::Watch;
use crate::advice::check;
use crate::advice::micro_batches;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::memory::StepMemory;
use crate::micro_batch::Manner;
use crate::micro_batch::MicroBatch;
use crate::model::Model;
use crate::optimizer::AdamW;
use crate::optimizer::norm;
use crate::output::OutputFolder;
use crate::output::TrainingState;
use crate::pictures::Features;
use crate::report::SaveReport;
use crate::report::StepRecord;
use crate::report::TrainEnd;
use crate::report::TrainReport;
use crate::schedule::learning_rate;
use crate::settings::Settings;

/// The training of one adapter on one choice of data, from its first step to where it stands.
#[derive(Default)]
pub struct Run {
    optimizer: AdamW,
    /// The next micro-batch.
    position: Position,
    /// Samples a micro-batch, as `position` counts them.
    batch: usize,
    /// What the micro-batches since the last optimizer step left: their losses and the sum of their gradients.
    losses: Vec<f64>,
    gradients: Gradients,
    micro_batches: u64,
    records: Vec<StepRecord>,
    tokens: usize,
    elapsed: Duration,
    /// Where `output_dir` says.
    output: Option<OutputFolder>,
    watch: Watch,
}

/// What a training reads.
pub struct Material<'a> {
    pub model: &'a Model,
    pub adapter: &'a Adapter,
    /// Each is taken as one: samples, or packs of them.
    pub samples: &'a [Vec<Encoded>],
    pub processor: &'a ImageProcessor,
    pub settings: &'a Settings,
}

impl Run {
    pub fn records(&self) -> &[StepRecord] {
        &self.records
    }

    /// Optimizer steps made.
    pub fn step(&self) -> usize {
        self.records.len()
    }

    /// Optimizer steps in all, if the settings stay as they are: `max_steps`, or those made and those that the rest
    /// of `num_train_epochs` holds.
    pub fn total_steps(&self, samples: usize, settings: &Settings) -> usize {
        if let Ok(steps @ 1..) = usize::try_from(settings.max_steps) {
            return steps;
        }
        let accumulation = settings.gradient_accumulation_steps;
        let an_epoch = sampler(samples, settings).steps_per_epoch();
        let place = self.place(settings);
        let behind = place.epoch * an_epoch + place.micro_batch / accumulation;
        let planned = (settings.num_train_epochs * an_epoch as f64).ceil() as usize;
        self.step() + planned.saturating_sub(behind)
    }

    /// Makes `steps` optimizer steps, or all that are left. Stops between two micro-batches when it is asked to;
    /// the next call goes on with the very next micro-batch.
    ///
    /// # Errors
    /// A picture cannot be read, a file cannot be written, the memory does not suffice. The micro-batch that failed has
    /// left no trace. A step whose loss or gradient is no number is not made.
    pub fn train(
        &mut self,
        material: &Material,
        features: &mut Features,
        steps: Option<usize>,
        cx: &Context,
    ) -> Result<TrainReport> {
        let Material { model, adapter, samples, processor, settings } = material;
        let start = Instant::now();
        let (elapsed_before, tokens_before, first) = (self.elapsed, self.tokens, self.step());
        let total_steps = self.total_steps(samples.len(), settings);
        let last = steps.map_or(total_steps, |n| total_steps.min(first.saturating_add(n)));
        let count = last.saturating_sub(first).saturating_mul(settings.gradient_accumulation_steps);
        let coming = micro_batches(sampler(samples.len(), settings), self.place(settings), count);
        self.watch.begin(material, coming, (&self.records, last), cx)?;
        if self.output.as_ref().map(OutputFolder::folder) != settings.output_dir.as_deref() {
            self.output = None;
        }
        if self.output.is_none()
            && let Some(folder) = &settings.output_dir
        {
            let base_model = &model.report.name;
            self.output = Some(OutputFolder::create(folder, settings.overwrite_output_dir, base_model)?);
        }
        let accumulation = settings.gradient_accumulation_steps;
        let mut sampler = sampler(samples.len(), settings);
        self.position = self.place(settings);
        self.batch = settings.per_device_train_batch_size;
        let mut end = TrainEnd::Paused;

        while self.step() < last {
            if cx.is_cancelled() {
                end = TrainEnd::Interrupted;
                break;
            }
            // One micro-batch: loss and gradients.
            let chosen: Vec<_> = sampler.micro_batch(self.position).iter().flat_map(|&i| &samples[i]).collect();
            let micro_batch = MicroBatch::new(&model.net, Some(*adapter), processor, features, &chosen)?;
            let next = sampler.next(self.position);
            let next = sampler.micro_batch(next).iter().flat_map(|&i| &samples[i]).flat_map(|sample| &sample.images);
            features.read_ahead(processor, next);
            let tokens = micro_batch.tokens();
            let dropout = DropoutRun { seed: settings.seed, micro_batch: self.micro_batches };
            if settings.memory.is_some() {
                model.net.vision.release();
            }
            let memory = StepMemory::new(&model.net, adapter.parameter_count(), tokens, micro_batch.labels());
            let kept = memory.kept_layers(settings.memory)?;
            let manner = Manner { dropout, neftune_noise_alpha: settings.neftune_noise_alpha, kept };
            let loss = micro_batch.backward(&model.net, adapter, manner, &mut self.gradients)?;
            self.losses.push(loss);
            self.micro_batches += 1;
            self.tokens += tokens;
            self.position = sampler.next(self.position);
            self.elapsed = elapsed_before + start.elapsed();
            let (step, done) = (self.step() + 1, self.losses.len());
            cx.emit(Event::MicroBatch { step, last_step: last, total_steps, done, total: accumulation });

            // The window is full, or the epoch is over: one optimizer step.
            if done < accumulation && self.position.micro_batch != 0 {
                continue;
            }
            let record = self.optimizer_step(material, sampler.micro_batches_per_epoch(), total_steps)?;
            cx.emit(Event::Step(record.clone()));
            self.records.push(record);
            self.watch.step(&self.records, settings, last, cx);
            if let Some(output) = &mut self.output {
                output.step(state(&self.records, material))?;
            }
        }
        if self.step() >= total_steps {
            end = TrainEnd::Finished;
        }
        // What has been learned so far is there to use, also where somebody stopped early.
        if end != TrainEnd::Paused
            && let Some(output) = &mut self.output
        {
            output.finish(state(&self.records, material))?;
        }
        let made = &self.records[first..];
        let elapsed = start.elapsed();
        Ok(TrainReport {
            end,
            steps: made.len(),
            step: self.step(),
            total_steps,
            loss: (!made.is_empty()).then(|| made.iter().map(|r| r.loss).sum::<f64>() / made.len() as f64),
            tokens_per_second: (self.tokens - tokens_before) as f64 / elapsed.as_secs_f64(),
            elapsed,
        })
    }

    /// Writes the adapter and the log of its training into `folder`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(&self, material: &Material, folder: &Path) -> Result<SaveReport> {
        let base_model = &material.model.report.name;
        OutputFolder::create(folder, true, base_model)?.finish(state(&self.records, material))
    }

    /// Averages the window, clips, and moves the parameters.
    fn optimizer_step(&mut self, material: &Material, per_epoch: usize, total_steps: usize) -> Result<StepRecord> {
        let settings = material.settings;
        let gradients = std::mem::take(&mut self.gradients);
        let losses = std::mem::take(&mut self.losses);
        let count = losses.len() as f64;
        let parameters = material.adapter.vars();
        let grad_norm = norm(&gradients, &parameters)? / count;
        let learning_rate = learning_rate(settings, self.step(), total_steps);
        let loss = losses.iter().sum::<f64>() / count;
        check(self.step() + 1, loss, grad_norm, learning_rate)?;
        // As torch's clip_grad_norm_; 0 means no clipping.
        let clip = if settings.max_grad_norm > 0.0 { settings.max_grad_norm / (grad_norm + 1e-6) } else { 1.0 };
        self.optimizer.step(&parameters, &gradients, clip.min(1.0) / count, learning_rate, settings)?;
        material.adapter.changed();
        Ok(StepRecord {
            step: self.step() + 1,
            total_steps,
            loss,
            grad_norm,
            learning_rate,
            epoch: self.position.epoch as f64 + self.position.micro_batch as f64 / per_epoch as f64,
            tokens: self.tokens,
            elapsed: self.elapsed.as_secs_f64(),
        })
    }

    /// The next micro-batch, counted in micro-batches of today's size: a batch size that was changed since
    /// continues at the same sample, or at most a batch before it.
    fn place(&self, settings: &Settings) -> Position {
        let micro_batch = self.position.micro_batch * self.batch / settings.per_device_train_batch_size;
        Position { micro_batch, ..self.position }
    }
}

fn state<'a>(records: &'a [StepRecord], material: &Material<'a>) -> TrainingState<'a> {
    let Material { model, adapter, samples, settings, .. } = *material;
    TrainingState { records, adapter, linears: &model.net.linears, samples: samples.len(), settings }
}

fn sampler(samples: usize, settings: &Settings) -> Sampler {
    let (batch, accumulation) = (settings.per_device_train_batch_size, settings.gradient_accumulation_steps);
    Sampler::new(samples, batch, accumulation, settings.seed, !settings.disable_shuffling)
}
