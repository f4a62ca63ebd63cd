//! Which samples make up which micro-batch, and how many micro-batches and steps an epoch has.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::random::{SHUFFLE, shuffle};

/// The order of training as in transformers' `Trainer`: each epoch is a permutation of the samples, cut into
/// micro-batches; `gradient_accumulation_steps` of them make an optimizer step. The last micro-batch of an epoch may
/// hold fewer samples, the last step of an epoch fewer micro-batches.
///
/// Everything follows from the sampler's numbers and a [`Position`], so training can stop between any two
/// micro-batches, be saved as a position, and continue.
#[derive(Debug, Clone)]
pub struct Sampler {
    len: usize,
    batch: usize,
    accumulation: usize,
    seed: u64,
    shuffle: bool,
    /// Cache: the order of the epoch that was asked for last.
    cached: Option<(usize, Vec<usize>)>,
}

/// A place in training: `micro_batch` micro-batches of epoch `epoch` are done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    pub epoch: usize,
    pub micro_batch: usize,
}

impl Sampler {
    /// `len` samples, `batch` = per_device_train_batch_size, `accumulation` = gradient_accumulation_steps (0 is
    /// taken as 1). `shuffle` false is LLaMA-Factory's `disable_shuffling`.
    pub fn new(len: usize, batch: usize, accumulation: usize, seed: u64, shuffle: bool) -> Self {
        Self { len, batch: batch.max(1), accumulation: accumulation.max(1), seed, shuffle, cached: None }
    }

    pub fn micro_batches_per_epoch(&self) -> usize {
        self.len.div_ceil(self.batch)
    }

    /// ⌈⌈len / batch⌉ / accumulation⌉ optimizer steps; 0 only without samples.
    pub fn steps_per_epoch(&self) -> usize {
        self.micro_batches_per_epoch().div_ceil(self.accumulation)
    }

    /// The samples of the micro-batch at `at`; empty beyond the end of the epoch.
    pub fn micro_batch(&mut self, at: Position) -> &[usize] {
        let (len, batch) = (self.len, self.batch);
        let start = at.micro_batch.saturating_mul(batch).min(len);
        let end = start.saturating_add(batch).min(len);
        &self.order(at.epoch)[start..end]
    }

    /// The position after `at`: the next micro-batch, or the start of the next epoch.
    pub fn next(&self, at: Position) -> Position {
        match at.micro_batch + 1 < self.micro_batches_per_epoch() {
            true => Position { micro_batch: at.micro_batch + 1, ..at },
            false => Position { epoch: at.epoch + 1, micro_batch: 0 },
        }
    }

    /// The order of the samples in `epoch`, from the seed and the epoch alone.
    fn order(&mut self, epoch: usize) -> &[usize] {
        let cached = self.cached.take().filter(|(of, _)| *of == epoch);
        let (_, order) = self.cached.insert(cached.unwrap_or_else(|| {
            let mut order: Vec<usize> = (0..self.len).collect();
            if self.shuffle {
                let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
                rng.set_stream(SHUFFLE + epoch as u64);
                shuffle(&mut order, &mut rng);
            }
            (epoch, order)
        }));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch_order(sampler: &mut Sampler, epoch: usize) -> Vec<usize> {
        (0..sampler.micro_batches_per_epoch())
            .flat_map(|micro_batch| sampler.micro_batch(Position { epoch, micro_batch }).to_vec())
            .collect()
    }

    #[test]
    fn the_last_micro_batch_of_an_epoch_is_shorter() {
        let mut sampler = Sampler::new(11, 2, 4, 42, false);
        assert_eq!(sampler.micro_batches_per_epoch(), 6);
        assert_eq!(sampler.steps_per_epoch(), 2);
        let last = Position { epoch: 0, micro_batch: 5 };
        assert_eq!(sampler.micro_batch(last), [10]);
        assert_eq!(sampler.next(last), Position { epoch: 1, micro_batch: 0 });
    }

    #[test]
    fn disabled_shuffling_keeps_the_order() {
        let mut sampler = Sampler::new(5, 2, 1, 42, false);
        assert_eq!(epoch_order(&mut sampler, 3), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn each_epoch_is_another_permutation_and_the_seed_decides() {
        let mut sampler = Sampler::new(100, 3, 2, 42, true);
        let first = epoch_order(&mut sampler, 0);
        let second = epoch_order(&mut sampler, 1);
        let mut sorted = first.clone();
        sorted.sort();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(first, second);
        assert_ne!(first, sorted);
        assert_eq!(first, epoch_order(&mut Sampler::new(100, 7, 1, 42, true), 0));
        assert_ne!(first, epoch_order(&mut Sampler::new(100, 3, 2, 43, true), 0));
    }

    #[test]
    fn without_samples_there_are_no_steps() {
        let mut sampler = Sampler::new(0, 1, 8, 42, true);
        assert_eq!(sampler.steps_per_epoch(), 0);
        assert!(sampler.micro_batch(Position::default()).is_empty());
    }
}
