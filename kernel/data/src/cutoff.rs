//! How a turn is truncated to the room that `cutoff_len` leaves.

use crate::{Slots, Turn};

/// Truncates a turn to `room` tokens; false if nothing useful is left.
pub(crate) fn cut(turn: &mut Turn, room: usize) -> bool {
    let (source, target) = (turn.source.ids.len(), turn.target.ids.len());
    let (mut keep_source, mut keep_target) = infer_seqlen(source, target, room);
    let pictures_end = turn.source.images.last().map_or(0, |block| block.end);
    if keep_source < pictures_end {
        if source >= room {
            return false;
        }
        (keep_source, keep_target) = (source, target.min(room - source));
    }
    turn.source.truncate(keep_source);
    turn.target.truncate(keep_target);
    true
}

impl Slots {
    /// Keeps the first `len` ids, or fewer if that would cut through an image's block.
    fn truncate(&mut self, len: usize) {
        let cut_block = self.images.iter().position(|block| block.end > len);
        let len = match cut_block {
            Some(index) => {
                let start = self.images[index].start;
                self.images.truncate(index);
                start.min(len)
            }
            None => len,
        };
        self.ids.truncate(len);
    }
}

/// How a turn of `source` and `target` tokens shares `cutoff` places: LLaMA-Factory's function of this name. A short
/// side is kept whole; two long ones share in proportion.
pub fn infer_seqlen(source: usize, target: usize, cutoff: usize) -> (usize, usize) {
    let max_target = if target * 2 < cutoff {
        cutoff
    } else if source * 2 < cutoff {
        cutoff - source
    } else {
        (cutoff as f64 * (target as f64 / (source + target) as f64)) as usize
    };
    let target = max_target.min(target);
    (cutoff.saturating_sub(target).min(source), target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(len: usize, images: &[(usize, usize)]) -> Slots {
        Slots { ids: (0..len as u32).collect(), images: images.iter().map(|(start, end)| *start..*end).collect() }
    }

    /// LLaMA-Factory's own table.
    #[test]
    fn shares_are_llamafactorys() {
        for (source, target, cutoff, expected) in [
            (3000, 2000, 1000, (600, 400)),
            (2000, 3000, 1000, (400, 600)),
            (1000, 100, 1000, (900, 100)),
            (100, 1000, 1000, (100, 900)),
            (100, 500, 1000, (100, 500)),
            (500, 100, 1000, (500, 100)),
            (10, 10, 1000, (10, 10)),
            (0, 0, 10, (0, 0)),
        ] {
            assert_eq!(infer_seqlen(source, target, cutoff), expected);
        }
    }

    #[test]
    fn a_table_of_shares_is_llamafactorys() {
        for row in crate::fixtures::json("encode/truncation.json").as_array().unwrap() {
            let number = |index: usize| row[index].as_u64().unwrap() as usize;
            assert_eq!(infer_seqlen(number(0), number(1), number(2)), (number(3), number(4)), "{row}");
        }
    }

    fn cut_lengths(source: Slots, target: Slots, room: usize) -> Option<(usize, usize)> {
        let mut turn = Turn { source, target };
        cut(&mut turn, room).then_some((turn.source.ids.len(), turn.target.ids.len()))
    }

    #[test]
    fn a_question_stays_whole_where_a_cut_would_take_its_picture() {
        let question = || slots(60, &[(10, 50)]);
        // In proportion it would keep 30 of 60: inside the picture.
        assert_eq!(cut_lengths(question(), slots(140, &[]), 100), Some((60, 40)));
        // The cut falls behind the picture: as LLaMA-Factory.
        assert_eq!(cut_lengths(question(), slots(20, &[]), 75), Some((55, 20)));
        // No room for the answer.
        assert_eq!(cut_lengths(question(), slots(140, &[]), 60), None);
        assert_eq!(cut_lengths(question(), slots(140, &[]), 61), Some((60, 1)));
    }

    #[test]
    fn an_answer_ends_before_a_picture_that_does_not_fit() {
        let answer = slots(100, &[(5, 15), (30, 70)]);
        let mut turn = Turn { source: slots(10, &[]), target: answer };
        assert!(cut(&mut turn, 60));
        assert_eq!(turn.target.ids.len(), 30);
        assert_eq!(turn.target.images, slots(0, &[(5, 15)]).images);
    }
}
