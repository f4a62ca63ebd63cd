//! Where a training stands, apart from its tensors.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use tunebook_data::Position;

use crate::probes::ProbeRecord;
use crate::report::EvaluationRecord;
use crate::report::StepRecord;
use crate::step_metrics::StepMetrics;

/// The counters and records of a training. Every random number follows from the seed and from what is counted here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RunState {
    /// The next micro-batch.
    pub position: Position,
    /// Samples per micro-batch, the unit of `position`.
    pub batch: usize,
    /// The metrics of the micro-batches since the last optimizer step. Earlier versions wrote their losses only.
    #[serde(alias = "losses", deserialize_with = "metrics_or_losses")]
    pub metrics: Vec<StepMetrics>,
    /// Micro-batches since the last optimizer step of which no sample could be used; they have no metrics.
    #[serde(default)]
    pub left_out: usize,
    /// Micro-batches so far.
    pub micro_batches: u64,
    /// Maximum number of tokens for several micro-batches at once; none before the first.
    #[serde(default)]
    pub tokens_at_once: Option<usize>,
    /// Every optimizer step so far.
    pub records: Vec<StepRecord>,
    /// Every evaluation so far.
    pub evaluations: Vec<EvaluationRecord>,
    /// The answers to probes so far, by step.
    #[serde(default)]
    pub probes: Vec<ProbeRecord>,
    /// Samples that are dropped, by their numbers.
    #[serde(default)]
    pub dropped: BTreeSet<usize>,
    /// Input tokens seen so far.
    pub tokens: usize,
    pub elapsed: Duration,
}

impl RunState {
    /// Optimizer steps made.
    pub fn step(&self) -> usize {
        self.records.len()
    }

    /// Micro-batches since the last optimizer step.
    pub fn open_micro_batches(&self) -> usize {
        self.metrics.len() + self.left_out
    }

    /// The evaluation with the lowest loss; of equal ones the first.
    pub fn best(&self) -> Option<&EvaluationRecord> {
        let mut best: Option<&EvaluationRecord> = None;
        for record in &self.evaluations {
            if record.loss < best.map_or(f64::INFINITY, |best| best.loss) {
                best = Some(record);
            }
        }
        best
    }

    /// Number of evaluations in a row without a new lowest loss.
    pub fn without_progress(&self) -> usize {
        match self.best() {
            Some(best) => self.evaluations.iter().filter(|record| record.step > best.step).count(),
            None => self.evaluations.len().saturating_sub(1),
        }
    }

    /// Adds the answers to probes after a step, in place of earlier ones after the same.
    pub fn add_probes(&mut self, record: ProbeRecord) {
        self.probes.retain(|earlier| earlier.step != record.step);
        self.probes.push(record);
    }

    /// The evaluations up to a step.
    pub fn evaluations_until(&self, step: usize) -> Vec<EvaluationRecord> {
        self.evaluations.iter().filter(|record| record.step <= step).cloned().collect()
    }

    /// Seconds of training up to a step, evaluations included.
    pub fn seconds_at(&self, step: usize) -> f64 {
        let steps = self.records[..step].last().map_or(0.0, |record| record.elapsed);
        let evaluations = self.evaluations.iter().rfind(|record| record.step <= step);
        evaluations.map_or(steps, |record| record.elapsed.max(steps))
    }

    /// The evaluation after the last step, if there was one.
    pub fn evaluation(&self) -> Option<&EvaluationRecord> {
        self.evaluations.last().filter(|record| record.step == self.step())
    }
}

/// JSON has no NaN and no infinity, and `null` in their place.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn metrics_or_losses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<StepMetrics>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Loss(Option<f64>),
        Metrics(StepMetrics),
    }
    let written: Vec<Written> = Vec::deserialize(deserializer)?;
    let metrics = |written| match written {
        Written::Loss(loss) => StepMetrics::of_loss(loss.unwrap_or(f64::NAN)),
        Written::Metrics(metrics) => metrics,
    };
    Ok(written.into_iter().map(metrics).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(losses: &[f64]) -> RunState {
        let evaluation = |(index, loss): (usize, &f64)| EvaluationRecord {
            step: 10 * (index + 1),
            total_steps: 100,
            loss: *loss,
            epoch: 1.0,
            tokens: 5,
            elapsed: 1.0,
            seconds: 0.5,
            samples: 3,
            batches: 2,
        };
        RunState { evaluations: losses.iter().enumerate().map(evaluation).collect(), ..RunState::default() }
    }

    /// As `EarlyStoppingCallback` and `_determine_best_metric` of transformers count.
    #[test]
    fn the_best_is_the_first_of_the_lowest_and_patience_is_counted_from_it() {
        for (losses, best, without_progress) in [
            (&[][..], None, 0),
            (&[2.0], Some(10), 0),
            (&[2.0, 1.0], Some(20), 0),
            (&[1.0, 1.0, 1.5], Some(10), 2),
            (&[2.0, 3.0, 1.0, f64::NAN], Some(30), 1),
            (&[f64::NAN], None, 0),
            (&[f64::NAN, f64::NAN], None, 1),
            (&[f64::NAN, 1.0], Some(20), 0),
        ] {
            let state = after(losses);
            assert_eq!(state.best().map(|record| record.step), best, "{losses:?}");
            assert_eq!(state.without_progress(), without_progress, "{losses:?}");
        }
    }

    #[test]
    fn every_bit_of_a_number_comes_back_and_what_is_none_stays_so() {
        let numbers = [0.1 + 0.2, 2f64.sqrt() * 1e-7, f64::MIN_POSITIVE, 123456789.12345678];
        let metrics = numbers.into_iter().chain([f64::NAN]).map(StepMetrics::of_loss).collect();
        let state = RunState { metrics, ..after(&[f64::INFINITY, 1.0 / 3.0]) };
        let written = serde_json::to_string(&state).unwrap();
        let again: RunState = serde_json::from_str(&written).unwrap();
        assert_eq!(again.metrics[..4], state.metrics[..4]);
        assert!(again.metrics[4].loss().is_nan() && again.evaluations[0].loss.is_nan());
        assert_eq!(again.evaluations[1], state.evaluations[1]);
    }

    #[test]
    fn the_losses_that_earlier_versions_wrote_are_read() {
        let mut written = serde_json::to_value(RunState::default()).unwrap();
        written.as_object_mut().unwrap().remove("metrics");
        written["losses"] = serde_json::json!([0.5, null]);
        let read: RunState = serde_json::from_value(written).unwrap();
        assert_eq!(read.metrics[0], StepMetrics::of_loss(0.5));
        assert!(read.metrics.len() == 2 && read.metrics[1].loss().is_nan());
    }
}
