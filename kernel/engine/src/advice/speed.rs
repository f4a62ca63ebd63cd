//! What slows a training down from outside.

use std::thread::available_parallelism;

use super::Advice;
use super::losses::median;
use crate::model::Model;
use crate::report::StepRecord;
use crate::system::read_bytes;
use crate::system::swapped_bytes;

/// Steps whose median rate stands for how fast it is.
const WINDOW: usize = 5;
/// The share of the weights that a step may read from the disk: pictures and the first step's pages.
const READ: f64 = 0.3;
/// Steps that take no longer than these seconds together are not slow.
const NOTICED: f64 = 5.0;
const SWAPPED: u64 = 200 << 20;

/// What the system said at the last step.
#[derive(Default)]
pub(super) struct Speed {
    /// Bytes that were read from the disk, from the second step of a call on: the first one brings the weights in.
    read: Option<u64>,
    steps: usize,
    weights: u64,
}

impl Speed {
    pub(super) fn begin(&mut self, model: &Model) {
        *self = Self { weights: model.net.text.size() as u64, ..Self::default() };
    }

    /// What the step that was made last shows.
    pub(super) fn advice(&mut self, records: &[StepRecord]) -> Vec<Advice> {
        self.steps += 1;
        let (before, now) = (self.read, read_bytes());
        self.read = now;
        let read = before.zip(now).filter(|_| self.steps > 2).map(|(before, now)| now.saturating_sub(before));
        let gigabytes = |bytes: u64| bytes as f64 / 1e9;
        let rereading = read
            .filter(|read| *read as f64 > READ * self.weights as f64 && *read > SWAPPED)
            .map(|read| Advice::Rereading { gigabytes: gigabytes(read), weights: gigabytes(self.weights) });
        let swapped = swapped_bytes()
            .filter(|bytes| *bytes > SWAPPED)
            .map(|bytes| Advice::Swapped { gigabytes: gigabytes(bytes) });
        [rereading, swapped, slower(records)].into_iter().flatten().collect()
    }
}

/// Fewer threads than cores.
pub(super) fn few_threads() -> Option<Advice> {
    let (threads, cores) = (rayon::current_num_threads(), available_parallelism().map_or(1, usize::from));
    (threads < cores).then_some(Advice::FewThreads { threads, cores })
}

/// The last steps are less than half as fast as others were.
fn slower(records: &[StepRecord]) -> Option<Advice> {
    let rate = |pair: &[StepRecord]| {
        (pair[1].tokens - pair[0].tokens.min(pair[1].tokens)) as f64 / (pair[1].elapsed - pair[0].elapsed).max(1e-3)
    };
    let rates: Vec<_> = records.windows(2).map(rate).collect();
    let (before, last) = rates.split_at_checked(rates.len().checked_sub(WINDOW)?)?;
    let (before, now) = (before.windows(WINDOW).map(median).fold(0.0, f64::max), median(last));
    let seconds = records.last()?.elapsed - records.get(records.len().checked_sub(WINDOW + 1)?)?.elapsed;
    (now < 0.5 * before && seconds > NOTICED).then_some(Advice::Slower { before, now })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step_metrics::StepMetrics;

    /// Steps of 100 tokens that took so many seconds.
    fn records(seconds: impl Iterator<Item = f64>) -> Vec<StepRecord> {
        let mut elapsed = 0.0;
        let record = |(index, seconds): (usize, f64)| {
            elapsed += seconds;
            StepRecord {
                step: index + 1,
                total_steps: 100,
                metrics: StepMetrics::of_loss(1.0),
                grad_norm: 1.0,
                learning_rate: 1e-4,
                epoch: 0.0,
                tokens: 100 * (index + 1),
                elapsed,
            }
        };
        seconds.enumerate().map(record).collect()
    }

    #[test]
    fn a_training_that_has_become_slow_is_noticed() {
        let found = slower(&records((0..20).map(|step| if step < 12 { 1.0 } else { 3.0 })));
        let Some(Advice::Slower { before, now }) = found else { panic!("{found:?}") };
        assert!((before - 100.0).abs() < 1e-6 && (now - 100.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn steps_of_different_lengths_are_not() {
        assert_eq!(slower(&records((0..30).map(|step| if step % 3 == 0 { 1.7 } else { 1.0 }))), None);
        assert_eq!(slower(&records((0..8).map(|step| f64::from(8 - step)))), None);
        assert_eq!(slower(&records((0..20).map(|step| if step < 12 { 0.01 } else { 0.1 }))), None);
        assert_eq!(slower(&[]), None);
    }
}
