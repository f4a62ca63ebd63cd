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
mod call;
pub mod changes;
pub mod collate;
mod followed;
pub(crate) mod grouping;
pub mod job;
pub(crate) mod micro_batch;
mod not_finite;
pub mod objective;
mod probes;
pub(crate) mod saving;
mod states;
pub mod step;
mod undo;
mod window;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tunebook_data::ImageProcessor;
use tunebook_nn::adapter::Adapter;

use crate::advice::TrainingMonitor;
use crate::bad_sample::BadSamples;
use crate::checkpoint::Checkpoint;
use crate::chosen_data::ChosenData;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::model::Model;
use crate::output::Log;
use crate::output::OutputFolder;
use crate::pictures::Features;
use crate::probes::Probe;
use crate::report::EvaluationRecord;
use crate::report::StepRecord;
use crate::report::TrainEnd;
use crate::report::TrainReport;
use crate::settings::Settings;
use crate::training_state::TrainingState;
use crate::workers::SharedWorkers;
use call::Call;
use changes::Changes;
use saving::output_dir;
use states::States;
use undo::Undone;

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
    states: States,
    /// What `undo` has taken back since the last micro-batch.
    undone: Vec<Undone>,
    /// The step after which the adapter and the results were written last.
    finished: Option<usize>,
}

/// What a training reads.
#[derive(Clone)]
pub struct TrainInputs {
    pub model: Arc<Model>,
    /// The adapter's name in the session.
    pub name: String,
    /// It began as a branch of another adapter, to whose training `output_dir` belongs.
    pub is_branch: bool,
    /// It shares its tensors with that of the session.
    pub adapter: Adapter,
    pub data: Arc<ChosenData>,
    pub processor: ImageProcessor,
    pub settings: Settings,
    pub probes: Vec<Probe>,
    /// Training samples that are left out because somebody says so, by their numbers.
    pub dropped: BTreeSet<usize>,
    /// Who computes gradients and evaluations in place of this process.
    pub(crate) workers: Option<SharedWorkers>,
}

impl TrainInputs {
    /// The folder that the training is written to: a branch has one of its own in `output_dir`.
    fn output_dir(&self) -> Option<PathBuf> {
        output_dir(&self.settings, self.is_branch.then_some(&self.name))
    }
}

impl Run {
    /// The training that stopped at a checkpoint in the output folder `output`.
    pub fn resume(checkpoint: Checkpoint, output: PathBuf) -> (Adapter, Self) {
        let Checkpoint { adapter, state, log } = checkpoint;
        let (saved, kept, resumed) = (state.run.step(), state.run.micro_batches, Some((output, log)));
        (adapter, Self { state, resumed, saved, kept, ..Self::default() })
    }

    pub fn records(&self) -> &[StepRecord] {
        &self.state.run.records
    }

    pub fn evaluations(&self) -> &[EvaluationRecord] {
        &self.state.run.evaluations
    }

    /// The samples that it leaves out, by their numbers.
    pub fn dropped(&self) -> &BTreeSet<usize> {
        &self.state.run.dropped
    }

    /// Optimizer steps made.
    pub fn step(&self) -> usize {
        self.state.run.step()
    }

    /// Micro-batches since the last optimizer step.
    pub fn open_micro_batches(&self) -> usize {
        self.state.run.open_micro_batches()
    }

    /// Makes the optimizer steps of a call that [`Run::begin`] began. Stops when it is asked to: between two batches of an
    /// evaluation, or within micro-batches if they are the first of a step, which are then computed again, or else after
    /// them. The next call goes on from there. `changes` count from the next step on.
    ///
    /// A sample that cannot be used is left out, unless `on_bad_sample` is `stop`; a step is the mean over the
    /// micro-batches that have a sample left.
    ///
    /// # Errors
    /// A file cannot be written, the memory does not suffice. A bad sample that is not left out, or too many in a row; a
    /// step whose gradient is not finite is not made, nor is one of a training that has diverged. The micro-batches that
    /// failed have left no trace, and where the training can go on, a checkpoint is written.
    pub(crate) fn train(
        &mut self,
        inputs: &mut TrainInputs,
        features: &mut Features,
        call: &mut Call,
        changes: &Changes,
        cx: &Context,
    ) -> Result<TrainReport> {
        if self.step() > 0 {
            let losses = self.records().iter().map(|record| (record.step as f64, record.loss())).collect();
            let evaluations = self.evaluations().iter().map(|record| (record.step as f64, record.loss)).collect();
            cx.emit(Event::Earlier { losses, evaluations });
        }
        let end = loop {
            // An earlier call may have been stopped before it came to this.
            if self.open_micro_batches() == 0 && !self.answer_probes(inputs, features, call.total_steps, cx)? {
                break TrainEnd::Interrupted;
            }
            if self.is_between_steps() {
                self.state.run.elapsed = call.elapsed();
                if let Some(end) = self.between_steps(inputs, features, call.total_steps, cx)? {
                    break end;
                }
            }
            if self.open_micro_batches() == 0 {
                self.take_changes(changes, inputs, call, cx)?;
            }
            if self.step() >= call.last {
                break if self.step() >= call.total_steps { TrainEnd::Finished } else { TrainEnd::Paused };
            }
            if cx.is_cancelled() {
                break TrainEnd::Interrupted;
            }
            if self.open_micro_batches() == 0 {
                self.keep_step(inputs)?;
            }
            match self.micro_batch_group(inputs, features, call, cx) {
                Ok(()) => self.undone.clear(),
                Err(Error::Cancelled) => break TrainEnd::Interrupted,
                Err(error) => return Err(self.failed(error, inputs, cx)),
            }
            if self.is_window_full(&inputs.settings)
                && let Err(error) = self.optimizer_step(inputs, call, cx)
            {
                return Err(self.failed(error, inputs, cx));
            }
        };
        let best = self.end(inputs, end, cx)?;
        Ok(self.report(call, end, best))
    }

    /// Neither within a window nor before the first step.
    fn is_between_steps(&self) -> bool {
        self.open_micro_batches() == 0 && self.step() > 0
    }
}
