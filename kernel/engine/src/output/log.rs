//! What is logged of a training: the lines of `trainer_log.jsonl`, and the `log_history` of `trainer_state.json`.

use serde::Deserialize;
use serde::Serialize;

use crate::report::EvaluationRecord;
use crate::report::StepRecord;
use crate::step_metrics::StepMetrics;

/// The log so far, in order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Log {
    pub entries: Vec<Entry>,
    /// Number of steps and evaluations in the entries.
    steps: usize,
    evaluations: usize,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// The last step of a window of `logging_steps`, with the means of the window's metrics.
    Step(StepRecord),
    Evaluation(EvaluationRecord),
}

impl Log {
    /// Adds what is new: every complete window and every evaluation. Returns the new entries.
    pub fn catch_up(
        &mut self,
        records: &[StepRecord],
        evaluations: &[EvaluationRecord],
        logging_steps: usize,
    ) -> &[Entry] {
        let start = self.entries.len();
        for (index, record) in records.iter().enumerate().skip(self.steps) {
            self.take_evaluations(evaluations, record.step - 1);
            if record.step.is_multiple_of(logging_steps) {
                let window = &records[self.steps..=index];
                let metrics = StepMetrics::mean(window.iter().map(|record| &record.metrics));
                let metrics = metrics.unwrap_or_else(|| record.metrics.clone());
                self.entries.push(Entry::Step(StepRecord { metrics, ..record.clone() }));
                self.steps = index + 1;
            }
        }
        self.take_evaluations(evaluations, records.len());
        &self.entries[start..]
    }

    /// Those up to a step.
    fn take_evaluations(&mut self, evaluations: &[EvaluationRecord], step: usize) {
        for record in evaluations.iter().skip(self.evaluations).take_while(|record| record.step <= step) {
            self.entries.push(Entry::Evaluation(record.clone()));
            self.evaluations += 1;
        }
    }

    /// As it was after `steps` steps and `evaluations` evaluations.
    pub fn until(&self, steps: usize, evaluations: usize) -> Self {
        let mut log = Self::default();
        for entry in &self.entries {
            match entry {
                Entry::Step(record) if record.step <= steps => log.steps = record.step,
                Entry::Evaluation(_) if log.evaluations < evaluations => log.evaluations += 1,
                _ => break,
            }
            log.entries.push(entry.clone());
        }
        log
    }

    /// The steps and their losses.
    pub fn losses(&self) -> Vec<(f64, f64)> {
        let loss = |entry: &Entry| match entry {
            Entry::Step(record) => Some((record.step as f64, record.loss())),
            Entry::Evaluation(_) => None,
        };
        self.entries.iter().filter_map(loss).collect()
    }

    /// The steps of evaluations and their losses.
    pub fn eval_losses(&self) -> Vec<(f64, f64)> {
        let loss = |entry: &Entry| match entry {
            Entry::Evaluation(record) => Some((record.step as f64, record.loss)),
            Entry::Step(_) => None,
        };
        self.entries.iter().filter_map(loss).collect()
    }
}
