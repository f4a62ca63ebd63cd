//! Which micro-batches go through the model together.

use tunebook_data::Position;
use tunebook_data::Sampler;

/// Some micro-batches of one optimizer step, one after the other.
pub struct MicroBatchGroup {
    /// The samples of each.
    pub micro_batches: Vec<Vec<usize>>,
    /// The position behind the last one.
    pub next: Position,
}

/// The passes from a position on: as many micro-batches each as have `tokens` together, one at least, and no
/// more than are left of the optimizer step or the epoch.
///
/// The step is the same but for the order of sums; products with more rows make better use of the weights that they read,
/// and what samples begin with is made once for all of them.
#[derive(Clone)]
pub struct Grouping<F> {
    pub sampler: Sampler,
    pub position: Position,
    /// Micro-batches of the step that are done.
    pub done: usize,
    /// Micro-batches of a step.
    pub accumulation: usize,
    pub tokens: usize,
    /// The tokens of a sample.
    pub tokens_of: F,
}

impl<F: Fn(usize) -> usize> Grouping<F> {
    /// The next pass; the one after it begins where this one ends.
    pub fn advance(&mut self) -> MicroBatchGroup {
        let (mut micro_batches, mut tokens) = (Vec::new(), 0);
        loop {
            let samples = self.sampler.micro_batch(self.position).to_vec();
            tokens += samples.iter().map(|&sample| (self.tokens_of)(sample)).sum::<usize>();
            if !micro_batches.is_empty() && tokens > self.tokens {
                break;
            }
            micro_batches.push(samples);
            self.position = self.sampler.next(self.position);
            self.done += 1;
            if self.done >= self.accumulation || self.position.micro_batch == 0 {
                self.done = 0;
                break;
            }
        }
        MicroBatchGroup { micro_batches, next: self.position }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens of each pass's micro-batches in two epochs of seven micro-batches, of which four make a step.
    fn passes(tokens: usize, done: usize) -> Vec<Vec<usize>> {
        let sizes = [10, 20, 30, 40, 50, 60, 70];
        let sampler = Sampler::new(sizes.len(), 1, 4, 42, false);
        let position = Position { epoch: 0, micro_batch: done };
        let tokens_of = |sample: usize| sizes[sample];
        let mut passes = Grouping { sampler, position, done, accumulation: 4, tokens, tokens_of };
        let sizes = |pass: MicroBatchGroup| pass.micro_batches.iter().map(|samples| sizes[samples[0]]).collect();
        let passes = std::iter::repeat_with(|| passes.advance());
        passes.take_while(|pass| pass.next < Position { epoch: 1, micro_batch: 1 }).map(sizes).collect()
    }

    #[test]
    fn a_pass_has_as_many_micro_batches_as_there_is_room_for() {
        assert_eq!(passes(60, 0), [vec![10, 20, 30], vec![40], vec![50], vec![60], vec![70]]);
        assert_eq!(passes(0, 0), [[10], [20], [30], [40], [50], [60], [70]]);
    }

    #[test]
    fn a_pass_ends_with_the_step_and_with_the_epoch() {
        assert_eq!(passes(1000, 0), [vec![10, 20, 30, 40], vec![50, 60, 70]]);
        assert_eq!(passes(1000, 2), [vec![30, 40], vec![50, 60, 70]]);
    }
}
