//! Advice about a training: the memory that it will take, and what is wrong with how it goes.
//!
//! Advice is data: numbers, and the settings that would help. The sentences are in `tunebook-commands`. [`MemoryEstimate`] comes
//! from the micro-batches ahead; [`Advice`] from the records of steps and from what the system says about memory and
//! disk. Thresholds come from the noise of the series itself, and the tests hold them against real trainings that went
//! well, which must get no advice. Each advice is given once, and again after a setting that it was about has changed.

mod losses;
mod memory_estimate;
mod speed;

use std::mem::Discriminant;
use std::mem::discriminant;
use std::time::Duration;

use serde::Serialize;

use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::report::StepRecord;
use crate::settings::Settings;
use crate::training::TrainInputs;
use crate::training::grouping::Grouping;

pub use memory_estimate::MemoryEstimate;
pub use memory_estimate::Remedies;
pub use memory_estimate::Remedy;
use memory_estimate::memory_estimate;
use speed::Speed;

/// What is wrong with a training, and the numbers that show it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Advice {
    /// The mean loss of the first steps was `before`, that of the last third of `steps` is `now`.
    NotFalling { steps: usize, before: f64, now: f64, learning_rate: f64 },
    /// The loss has been at `lowest` around step `step`, and is at `now`.
    Rising { lowest: f64, step: usize, now: f64, learning_rate: f64 },
    /// The gradient of the last `steps` steps was 0, at a loss of `loss`.
    NoGradient { steps: usize, loss: f64, learning_rate: f64 },
    /// From step to step the loss moves by `spread` around `mean`; a step learns from `samples` samples.
    Swinging { mean: f64, spread: f64, samples: usize, learning_rate: f64 },
    /// Products are spread over fewer threads than there are processor cores.
    FewThreads { threads: usize, cores: usize },
    /// A step has read `gigabytes` from the disk: the weights, of which there are `weights`, do not stay in memory.
    Rereading { gigabytes: f64, weights: f64 },
    /// So much of the process lies in the swap file.
    Swapped { gigabytes: f64 },
    /// Tokens a second: the best that there were, and now.
    Slower { before: f64, now: f64 },
}

/// Watches the training of one adapter. Each advice is given once, and again after a setting has changed that it was
/// about.
#[derive(Default)]
pub struct TrainingMonitor {
    told: Vec<Discriminant<Advice>>,
    /// The settings that the advice so far was about, and the first record that was made with them.
    tuning: Option<Tuning>,
    since: usize,
    planned: Option<MemoryEstimate>,
    is_timed: bool,
    speed: Speed,
}

/// Learning rate, samples a micro-batch, micro-batches a step.
type Tuning = (f64, usize, usize);

impl TrainingMonitor {
    /// Says what the coming steps take, of `count` micro-batches in all.
    ///
    /// # Errors
    /// The memory does not suffice; what could be lowered is named, with what it would then take.
    pub(crate) fn begin(
        &mut self,
        inputs: &TrainInputs,
        groups: Grouping,
        count: usize,
        (made, last): (&[StepRecord], usize),
        cx: &Context,
    ) -> Result<()> {
        let settings = &inputs.settings;
        let tuning = (settings.learning_rate, settings.per_device_train_batch_size, settings.micro_batches_per_step());
        if self.tuning != Some(tuning) {
            self.told.clear();
            (self.tuning, self.since, self.is_timed) = (Some(tuning), made.len(), false);
        }
        let estimate = memory_estimate(inputs, groups, count)?;
        if self.planned.as_ref().is_none_or(|told| !told.is_like(&estimate)) {
            cx.emit(Event::MemoryEstimate(estimate.clone()));
            self.planned = Some(estimate);
        }
        if let Some(advice) = speed::few_threads() {
            self.tell(advice, cx);
        }
        self.speed.begin(&inputs.model);
        self.estimate(made, last, cx);
        Ok(())
    }

    /// Looks at the step that was made last; `last` is the one at which this call of `train` ends.
    pub(crate) fn step(&mut self, records: &[StepRecord], settings: &Settings, last: usize, cx: &Context) {
        let recent = records.get(self.since..).unwrap_or_default();
        self.estimate(records, last, cx);
        for advice in losses::advice(recent, settings).into_iter().chain(self.speed.advice(recent)) {
            self.tell(advice, cx);
        }
    }

    /// The time that is left, as soon as two steps with these settings say how long one takes: the first also pays for
    /// what is computed once.
    fn estimate(&mut self, records: &[StepRecord], last: usize, cx: &Context) {
        /// A shorter one needs no announcement.
        const LONG: Duration = Duration::from_secs(120);
        let (Some([before, now]), false) = (records.get(self.since..).and_then(<[_]>::last_chunk), self.is_timed)
        else {
            return;
        };
        self.is_timed = true;
        let steps = last.saturating_sub(now.step);
        let time = Duration::try_from_secs_f64((now.elapsed - before.elapsed) * steps as f64).unwrap_or_default();
        if time >= LONG {
            cx.emit(Event::Estimate { steps, time });
        }
    }

    fn tell(&mut self, advice: Advice, cx: &Context) {
        let kind = discriminant(&advice);
        if !self.told.contains(&kind) {
            self.told.push(kind);
            cx.emit(Event::Advice(advice));
        }
    }
}

/// A step whose loss or gradient is no number must not be made: it would make every parameter none.
///
/// # Errors
/// It is such a step.
pub(crate) fn check(step: usize, loss: f64, grad_norm: f64, learning_rate: f64) -> Result<()> {
    match loss.is_finite() && grad_norm.is_finite() {
        true => Ok(()),
        false => Err(Error::NotFinite { step, loss, grad_norm, learning_rate }),
    }
}
