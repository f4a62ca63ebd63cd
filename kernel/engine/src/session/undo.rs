//! Going back in the training of the active adapter, and going on from there with another one.

use super::Session;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::report::AdapterReport;
use crate::report::Parent;
use crate::report::UndoReport;

impl Session {
    /// Goes back `steps` optimizer steps, or to where the last [`Session::train`] began: what is trained, moments, order of
    /// samples, records, log and checkpoints are what they were then, to the bit. Settings, probes and dropped samples stay
    /// as they are. A stop leaves all as it was.
    ///
    /// # Errors
    /// No adapter is on, or there is no data; a training runs; there are not so many steps, or that step is not kept; the
    /// disk fails.
    pub fn undo(&mut self, steps: Option<usize>, cx: &Context) -> Result<UndoReport> {
        self.check_no_training()?;
        self.make_room_for_training();
        let mut features = self.features.shared();
        let (inputs, run) = self.train_inputs()?;
        inputs.model.set_training(true);
        let undone = run.undo(&inputs, steps, &mut features, cx);
        inputs.model.set_training(false);
        undone
    }

    /// Takes the last [`Session::undo`] back, if the training has not gone on since.
    ///
    /// # Errors
    /// As [`Session::undo`]; nothing was undone.
    pub fn redo(&mut self) -> Result<UndoReport> {
        self.check_no_training()?;
        let (inputs, run) = self.train_inputs()?;
        run.redo(&inputs)
    }

    /// Makes a copy of the active adapter with a training of its own, which goes on from here or from step `at`, and turns
    /// it on; the other one stays as it is.
    ///
    /// # Errors
    /// The name is taken; as [`Session::undo`].
    pub fn branch(&mut self, name: &str, at: Option<usize>, cx: &Context) -> Result<AdapterReport> {
        self.check_no_training()?;
        self.adapters.check_free(name)?;
        self.make_room_for_training();
        let mut features = self.features.shared();
        let (inputs, run) = self.train_inputs()?;
        inputs.model.set_training(true);
        let branched = inputs.adapter.duplicate().map_err(Error::from);
        let branched = branched.and_then(|adapter| run.branch(&inputs, adapter, at, &mut features, cx));
        inputs.model.set_training(false);
        let (adapter, run) = branched?;
        let parent = Parent { adapter: inputs.name, step: run.step() };
        self.adapters.add_branch(name, adapter, run, parent);
        self.forget_origin();
        self.active_report()
    }

    /// Keeps no states of the active adapter's training that it could go back to, which takes time and memory.
    ///
    /// # Errors
    /// No adapter is on.
    pub fn keep_no_states(&mut self) -> Result<()> {
        self.adapters.active_mut().ok_or(Error::NoAdapter)?.run.forget_states();
        Ok(())
    }
}
