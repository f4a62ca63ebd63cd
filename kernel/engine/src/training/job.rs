//! A training that has begun, apart from its session.
//!
//! It has all that it needs and borrows nothing, so that its session can answer in between: the loop tells its progress
//! before every layer, on its own thread, and whoever hears that may use the session before the pass goes on. Answers see
//! the adapter as it was after the last step; they change nothing that the training reads, and draw no random number of its.

use super::Run;
use super::TrainInputs;
use super::call::Call;
use super::changes::Changes;
use crate::error::Result;
use crate::event::Context;
use crate::pictures::Features;
use crate::report::StepRecord;
use crate::report::TrainReport;

/// A call of `train` on its way; see [`Session::begin_training`](crate::Session::begin_training).
pub struct TrainJob {
    pub(crate) inputs: TrainInputs,
    pub(crate) run: Run,
    pub(crate) features: Features,
    pub(crate) call: Call,
    pub(crate) changes: Changes,
}

impl TrainJob {
    /// Makes the steps that are asked for, or all that are left; the rest of [`Session::train`](crate::Session::train).
    ///
    /// # Errors
    /// A file cannot be written, the memory does not suffice, a sample is bad and not to be left out, a step is not
    /// finite, or the training has diverged.
    pub fn train(&mut self, cx: &Context) -> Result<TrainReport> {
        let Self { inputs, run, features, call, changes } = self;
        run.train(inputs, features, call, changes, cx)
    }

    /// The name of the adapter that is trained.
    pub fn adapter_name(&self) -> &str {
        &self.inputs.name
    }

    /// The records of all optimizer steps of the adapter.
    pub fn history(&self) -> &[StepRecord] {
        self.run.records()
    }

    /// The steps of the whole training.
    pub fn total_steps(&self) -> usize {
        self.call.total_steps
    }

    /// The step after which it ends.
    pub fn last_step(&self) -> usize {
        self.call.last
    }
}
