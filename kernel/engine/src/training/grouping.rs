//! Which micro-batches of a step go through the model together.
//!
//! As many as have 1,024 tokens together do, if all layers can save their activations for so many. The result is that
//! of gradient accumulation, up to the order of sums: each label is weighted as in its own micro-batch. It saves time
//! because weights are read and packed once, gradients are summed once, and a common prefix is computed once. On a
//! model of half a billion parameters, eight samples of 121 tokens take an eighth less time at once than in pairs. More
//! tokens would gain little, and a stop would wait for them.

use tunebook_data::Position;
use tunebook_data::Sampler;

/// Some micro-batches of one optimizer step, one after the other.
pub(crate) struct MicroBatchGroup {
    /// The samples of each.
    pub micro_batches: Vec<Vec<usize>>,
    /// The position behind the last one.
    pub next: Position,
}

/// The groups from a position on, each of as many micro-batches as have no more than `limit` tokens together, of one at
/// least, and of no more than are left of the optimizer step or the epoch.
///
/// The step is the same but for the order of sums; matrix products with more rows make better use of the weights that they
/// read, and a prefix that samples share is computed once for all of them.
#[derive(Clone)]
pub(crate) struct Grouping {
    pub sampler: Sampler,
    pub position: Position,
    /// Micro-batches of the step that are done.
    pub done: usize,
    /// Micro-batches of a step.
    pub accumulation: usize,
    /// The most tokens of a group of several micro-batches.
    pub limit: usize,
    /// The tokens of each sample.
    pub tokens: Vec<usize>,
}

impl Grouping {
    /// The next group; the one after it begins where this one ends.
    pub(crate) fn advance(&mut self) -> MicroBatchGroup {
        let (mut micro_batches, mut tokens) = (Vec::new(), 0);
        loop {
            let samples = self.sampler.micro_batch(self.position).to_vec();
            tokens += samples.iter().map(|&sample| self.tokens[sample]).sum::<usize>();
            if !micro_batches.is_empty() && tokens > self.limit {
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

    /// The tokens of each group's micro-batches in two epochs of seven micro-batches, of which four make a step.
    fn groups(limit: usize, done: usize) -> Vec<Vec<usize>> {
        let sizes = [10, 20, 30, 40, 50, 60, 70];
        let sampler = Sampler::new(sizes.len(), 1, 4, 42, false);
        let position = Position { epoch: 0, micro_batch: done };
        let tokens = sizes.to_vec();
        let mut groups = Grouping { sampler, position, done, accumulation: 4, limit, tokens };
        let sizes = |group: MicroBatchGroup| group.micro_batches.iter().map(|samples| sizes[samples[0]]).collect();
        let groups = std::iter::repeat_with(|| groups.advance());
        groups.take_while(|group| group.next < Position { epoch: 1, micro_batch: 1 }).map(sizes).collect()
    }

    #[test]
    fn a_group_has_as_many_micro_batches_as_there_is_room_for() {
        assert_eq!(groups(60, 0), [vec![10, 20, 30], vec![40], vec![50], vec![60], vec![70]]);
        assert_eq!(groups(0, 0), [[10], [20], [30], [40], [50], [60], [70]]);
    }

    #[test]
    fn a_group_ends_with_the_step_and_with_the_epoch() {
        assert_eq!(groups(1000, 0), [vec![10, 20, 30, 40], vec![50, 60, 70]]);
        assert_eq!(groups(1000, 2), [vec![30, 40], vec![50, 60, 70]]);
    }
}
