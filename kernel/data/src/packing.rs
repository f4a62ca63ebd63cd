//! Which samples are packed into one.
//!
//! A pack is a list of samples. Attention runs within segments, so packed samples do not see each other and their
//! positions start anew, without a mask.

/// Groups of samples whose `lengths` add up to at most `capacity`, by LLaMA-Factory's greedy knapsack: the longest
/// sample first, then repeatedly the longest that still fits; among samples of equal length the last comes first. A
/// sample longer than `capacity` is in no group.
///
/// As in LLaMA-Factory, [`PACKING_BATCH`] samples are packed at a time.
pub fn pack(lengths: &[usize], capacity: usize) -> Vec<Vec<usize>> {
    let batches = lengths.chunks(PACKING_BATCH).enumerate();
    batches.flat_map(|(batch, lengths)| pack_batch(lengths, capacity, batch * PACKING_BATCH)).collect()
}

/// LLaMA-Factory's default of `preprocessing_batch_size`.
pub(crate) const PACKING_BATCH: usize = 1000;

fn pack_batch(lengths: &[usize], capacity: usize, first: usize) -> Vec<Vec<usize>> {
    let mut left: Vec<_> = (0..lengths.len()).filter(|index| lengths[*index] <= capacity).collect();
    left.sort_by_key(|index| (lengths[*index], *index));
    let mut packs = Vec::new();
    while !left.is_empty() {
        let (mut pack, mut room) = (Vec::new(), capacity);
        loop {
            let fitting = left.partition_point(|index| lengths[*index] <= room);
            let Some(longest) = fitting.checked_sub(1) else { break };
            let index = left.remove(longest);
            room -= lengths[index];
            pack.push(first + index);
        }
        packs.push(pack);
    }
    packs
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::fixtures;

    #[test]
    fn samples_are_packed_as_llamafactory_packs_them() {
        let numbers = |list: &Value| -> Vec<usize> {
            list.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
        };
        for case in fixtures::json("encode/choices.json")["packs"].as_array().unwrap() {
            let expected: Vec<_> = case["packs"].as_array().unwrap().iter().map(numbers).collect();
            let capacity = case["capacity"].as_u64().unwrap() as usize;
            assert_eq!(pack(&numbers(&case["lengths"]), capacity), expected);
        }
    }

    #[test]
    fn packs_are_made_of_a_thousand_samples_at_a_time() {
        let packs = pack(&[5; 1001], 10);
        assert_eq!(packs.len(), 501);
        assert_eq!((packs[0].clone(), packs[500].clone()), (vec![999, 998], vec![1000]));
    }

    #[test]
    fn what_does_not_fit_is_in_no_pack() {
        assert_eq!(pack(&[11, 4, 0], 10), [vec![1, 2]]);
    }
}
