//! Chance that can be had again: the same seed and case throw the same.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The dice of one case.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64, case: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(case);
        Self(rng)
    }

    /// A number less than `end`; 0 if there is none.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end.max(1))
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.0.random()
    }

    /// True once in `n` throws.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// The ends of a piece of what is `length` long, mostly a short one.
    pub(super) fn span(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        let most = *self.pick(&[1, 4, 16, 256, length]);
        start..(start + 1 + self.below(most)).min(length)
    }
}
