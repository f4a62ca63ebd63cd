//! The workers of a session.

use super::Session;
use crate::error::Result;
use crate::event::Context;
use crate::report::WorkersReport;
use crate::workers::SharedWorkers;
use crate::workers::Workers;
use crate::workers::WorkersOptions;

impl Session {
    /// Starts workers, which from now on compute gradients, evaluations and predictions, in place of those before.
    /// `world_size` becomes their number.
    ///
    /// # Errors
    /// A training runs; they cannot be started, or cannot load the session's model; a stop. There are none then.
    pub fn workers_start(&mut self, options: WorkersOptions, cx: &Context) -> Result<WorkersReport> {
        self.check_no_training()?;
        self.workers_stop()?;
        let world_size = options.workers;
        let workers = Workers::start(options, self.model.as_deref(), &self.settings, cx)?;
        let workers = self.workers.insert(SharedWorkers::new(workers));
        self.settings.world_size = world_size;
        Ok(workers.report())
    }

    /// Ends the workers; `world_size` becomes 1.
    ///
    /// # Errors
    /// A training runs.
    pub fn workers_stop(&mut self) -> Result<()> {
        self.check_no_training()?;
        if self.workers.take().is_some() {
            self.settings.world_size = 1;
        }
        Ok(())
    }

    /// The workers, as they were when they were used last; none without any.
    pub fn workers(&self) -> Option<WorkersReport> {
        self.workers.as_ref().map(SharedWorkers::report)
    }

    /// Takes over the workers of another session, which is left without.
    pub fn take_workers(&mut self, other: &mut Self) {
        self.workers = other.workers.take();
        if self.workers.is_some() && self.settings.world_size == 1 {
            self.settings.world_size = other.settings.world_size;
        }
    }
}
