//! How many tokens are worth drafting: none, where drafts are not accepted or rows are not cheap.

use crate::report::AnswerEnd;
use crate::sequence::Chunk;

/// Decides by what drafts have brought, and by what passes have taken.
pub(crate) struct DraftLength {
    /// Of the drafted tokens that were looked at, those that were accepted; both fade, so that the last ones count most.
    accepted: f64,
    looked_at: f64,
    /// The time of a pass with so many rows, in seconds, as passes are now; none where there was no such pass yet.
    seconds: [Option<f64>; MOST_ROWS + 1],
    /// Passes without drafts until it is tried again: more each time, as long as it does not pay.
    pause: usize,
    left: usize,
}

/// The lengths that it chooses from.
const LENGTHS: [usize; 5] = [0, 1, 2, 3, 7];
/// The most rows of a pass with drafts: up to there, reading the weights can take most of the time.
const MOST_ROWS: usize = 32;
/// What a value still counts after the next one.
const FADING: f64 = 0.85;
/// The first and the longest pause.
const PAUSES: [usize; 2] = [8, 128];
/// How much longer a pass is taken to be for another row, as long as none was measured.
const A_ROW: f64 = 0.03;

impl Default for DraftLength {
    fn default() -> Self {
        Self { accepted: 1.0, looked_at: 2.0, seconds: [None; MOST_ROWS + 1], pause: PAUSES[0], left: 0 }
    }
}

impl DraftLength {
    /// The length for the next pass of so many sequences; none before a pass without drafts has told what that takes.
    pub(crate) fn choose(&mut self, sequences: usize) -> usize {
        let Some(without) = self.seconds.get(sequences).copied().flatten() else { return 0 };
        let fitting = LENGTHS.into_iter().filter(|length| sequences * (1 + length) <= MOST_ROWS);
        // The tokens that come of a draft, if each is accepted with probability p: 1 + p + p² + …
        let p = self.accepted / self.looked_at;
        let rate = |length: usize| {
            let tokens: f64 = (0..=length as i32).map(|place| p.powi(place)).sum();
            tokens / self.time(without, sequences, sequences * (1 + length))
        };
        let best = fitting.clone().max_by(|a, b| rate(*a).total_cmp(&rate(*b))).unwrap_or(0);
        if best > 0 {
            self.pause = PAUSES[0];
            return best;
        }
        if self.left > 0 {
            self.left -= 1;
            return 0;
        }
        self.left = self.pause;
        self.pause = PAUSES[1].min(2 * self.pause);
        fitting.min_by_key(|length| length.abs_diff(1)).unwrap_or(0)
    }

    /// What a pass of so many rows takes, if one without drafts takes `without`.
    fn time(&self, without: f64, sequences: usize, rows: usize) -> f64 {
        let guessed = without * (1.0 + A_ROW * (rows - sequences) as f64);
        self.seconds.get(rows).copied().flatten().unwrap_or(guessed)
    }

    /// A pass of so many rows took so long.
    fn measured(&mut self, rows: usize, seconds: f64) {
        match self.seconds.get(rows).copied().flatten() {
            Some(average) => {
                // What makes all passes faster or slower, such as packed weights or a longer text, is no matter of rows.
                let drift = (seconds / average).powf(1.0 - FADING);
                self.seconds.iter_mut().flatten().for_each(|average| *average *= drift);
            }
            None => {
                if let Some(average) = self.seconds.get_mut(rows) {
                    *average = Some(seconds);
                }
            }
        }
    }

    /// What has become of a pass: which tokens were read, which were chosen, and how long it took.
    pub(crate) fn observe(&mut self, chunks: &[Chunk], chosen: &[(Vec<u32>, Option<AnswerEnd>)], seconds: f64) {
        if chunks.iter().all(|chunk| chunk.wanted == chunk.tokens.len()) {
            self.measured(chunks.iter().map(|chunk| chunk.tokens.len()).sum(), seconds);
        }
        let (mut accepted, mut looked_at) = (0, 0);
        for (chunk, (chosen, end)) in chunks.iter().zip(chosen).filter(|(chunk, _)| chunk.drafted > 0) {
            // The last chosen token is the model's own, unless the answer has ended.
            let right = chosen.len() - usize::from(end.is_none());
            accepted += right;
            looked_at += chunk.drafted.min(right + 1);
        }
        self.accepted(accepted, looked_at);
    }

    /// Of so many drafted tokens that were looked at, so many were right.
    fn accepted(&mut self, accepted: usize, looked_at: usize) {
        if looked_at == 0 {
            return;
        }
        self.accepted = FADING * self.accepted + accepted as f64;
        self.looked_at = FADING * self.looked_at + looked_at as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes of one sequence whose drafted tokens are accepted as `accept` says, and which take `cost` of their rows.
    /// Gives the tokens and the time of so many passes.
    fn run(passes: usize, accept: impl Fn(usize) -> bool, cost: impl Fn(usize) -> f64) -> (usize, f64) {
        let mut lengths = DraftLength::default();
        let (mut tokens, mut time, mut place) = (0, 0.0, 0);
        for _ in 0..passes {
            let drafted = lengths.choose(1);
            let right = (0..drafted).take_while(|draft| accept(place + draft)).count();
            place += right + 1;
            let seconds = cost(1 + drafted);
            lengths.measured(1 + drafted, seconds);
            lengths.accepted(right, drafted.min(right + 1));
            (tokens, time) = (tokens + right + 1, time + seconds);
        }
        (tokens, time)
    }

    #[test]
    fn drafts_that_are_wrong_cost_next_to_nothing() {
        let (tokens, time) = run(500, |_| false, |rows| 0.04 + 0.006 * (rows - 1) as f64);
        assert_eq!(tokens, 500);
        assert!(time < 1.01 * 20.0, "{time}");
    }

    #[test]
    fn drafts_are_as_long_as_pays() {
        let (tokens, time) = run(200, |_| true, |rows| 1.0 + 0.1 * (rows - 1) as f64);
        assert!(tokens as f64 / time > 4.0, "{tokens} in {time}");
        // Half of them are right; two rows take no longer than one, more take much longer.
        let (tokens, time) = run(400, |place| place % 2 == 0, |rows| if rows < 3 { 1.0 } else { rows as f64 });
        assert!(tokens as f64 / time > 1.4, "{tokens} in {time}");
    }

    #[test]
    fn where_rows_are_dear_nothing_is_drafted_however_right() {
        let (tokens, time) = run(500, |_| true, |rows| 1.0 + 1.2 * (rows - 1) as f64);
        assert!(tokens as f64 / time > 0.98, "{tokens} in {time}");
    }

    #[test]
    fn what_changes_all_passes_changes_no_choice() {
        let mut lengths = DraftLength::default();
        for rows in [1, 2, 3, 4, 8] {
            lengths.measured(rows, 1.0 + 0.1 * rows as f64);
        }
        let ratio = |lengths: &DraftLength| lengths.time(1.0, 1, 4) / lengths.time(1.0, 1, 1);
        let before = ratio(&lengths);
        (0..50).for_each(|_| lengths.measured(4, 0.3));
        assert!((lengths.time(1.0, 1, 4) - 0.3).abs() < 0.01);
        assert!((ratio(&lengths) - before).abs() < 1e-6);
    }
}
