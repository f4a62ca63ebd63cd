//! What a session knows of a training while a job has it.

use super::Run;
use crate::event::Event;
use crate::run_state::RunState;
use crate::training_state::TrainingState;

impl Run {
    /// Its counters and records, without moments and gradients: enough to be looked at and saved, not to go on from.
    pub(crate) fn outline(&self) -> Self {
        let run = self.state.run.clone();
        Self { kept: self.kept, state: TrainingState { run, ..TrainingState::default() }, ..Self::default() }
    }

    /// Takes in what its training tells.
    pub(crate) fn hear(&mut self, event: &Event) {
        let run: &mut RunState = &mut self.state.run;
        match event {
            Event::Step(record) => {
                run.tokens = record.tokens;
                run.records.push(record.clone());
            }
            Event::Evaluated(record) => run.evaluations.push(record.clone()),
            Event::Probed(record) => run.add_probes(record.clone()),
            _ => {}
        }
    }
}
