//! The log of a training: a line for every `logging_steps`, as transformers logs it, for every evaluation, and for the
//! answers to probes.

use std::sync::Mutex;
use std::sync::PoisonError;

use tunebook_engine::Event;
use tunebook_engine::report::StepRecord;
use tunebook_engine::step_metrics::StepMetrics;

use crate::output::Output;

/// The steps since the last line.
pub(crate) struct Log(Mutex<Vec<StepRecord>>);

impl Log {
    /// Steps since the last line may have been made by an earlier call.
    pub(crate) fn of(made: &[StepRecord], logging_steps: usize) -> Self {
        Self(Mutex::new(made[made.len() - made.len() % logging_steps..].to_vec()))
    }

    /// The line that is due after `event`.
    pub(crate) fn line(&self, event: &Event, logging_steps: usize) -> Option<Output> {
        match event {
            Event::Probed(record) => Some(Output::Probed(record.clone())),
            Event::Evaluated(record) => Some(Output::Evaluation(record.clone())),
            Event::Step(record) => {
                let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                window.push(record.clone());
                let is_due = record.step.is_multiple_of(logging_steps);
                is_due.then(|| mean(&std::mem::take(&mut *window)).map(Output::Step)).flatten()
            }
            _ => None,
        }
    }
}

/// The last step of a window, with the means of its metrics.
fn mean(window: &[StepRecord]) -> Option<StepRecord> {
    let metrics = StepMetrics::mean(window.iter().map(|record| &record.metrics))?;
    window.last().map(|last| StepRecord { metrics, ..last.clone() })
}
