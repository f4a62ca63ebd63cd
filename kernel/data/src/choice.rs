//! Which rows of several datasets a run takes, in which order, and which of them it holds out.
//!
//! LLaMA-Factory mixes datasets and holds samples out by index, and drops faulty records only afterwards. So a row is a
//! sample or the reason why it is not one, and `mix`, `split` and `pack` work on positions. With the same seed they
//! give the very samples that LLaMA-Factory takes, for which numpy's two random generators are implemented in
//! `numpy_random`.

use tunebook_quote::REMEDY;

use crate::dataset::MOST_REPEATED;
use crate::numpy_random::Generator;

/// How several datasets become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MixStrategy {
    /// One after the other.
    Concat,
    /// Interleaved, until one is exhausted.
    InterleaveUnder,
    /// Interleaved, until all are exhausted; the shorter ones begin again.
    InterleaveOver,
}

/// Invalid probabilities, or an invalid share of samples.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ChoiceError {
    #[error("interleave_probs needs mix_strategy=interleave_under or interleave_over")]
    ProbabilitiesOfConcat,
    #[error("interleave_probs has {probabilities} numbers for {sets} datasets: give one for each dataset")]
    ProbabilityCount { probabilities: usize, sets: usize },
    #[error("interleave_probs must not be negative and must add up to 1{REMEDY}they add up to {sum}")]
    ProbabilitySum { sum: f64 },
    #[error(
        "interleave_probs has probability 0 at index {index} (counted from 0), but mix_strategy=interleave_over \
             waits until that dataset is used up"
    )]
    NeverExhausted { index: usize },
    #[error(
        "interleave_probs has a dataset with such a low probability that {most} samples are drawn before it is used \
         up{REMEDY}raise it"
    )]
    TooRare { most: usize },
    #[error("val_size {val_size} of {samples} samples leaves none for training{REMEDY}lower it")]
    NothingLeft { val_size: f64, samples: usize },
}

/// The rows of datasets of these `lengths` as pairs (dataset, row), in the order of `interleave_datasets` of Hugging
/// Face's datasets: by turns, or each from a dataset that is drawn with `probabilities`.
///
/// # Errors
/// Probabilities that do not fit the datasets.
pub fn mix(
    lengths: &[usize],
    strategy: MixStrategy,
    probabilities: Option<&[f64]>,
    seed: u64,
) -> Result<Vec<(usize, usize)>, ChoiceError> {
    if let Some(probabilities) = probabilities {
        check(probabilities, lengths.len(), strategy)?;
    }
    let least = lengths.iter().copied().min().unwrap_or(0);
    let most = lengths.iter().copied().max().unwrap_or(0);
    let rows = match (strategy, probabilities) {
        (MixStrategy::Concat, _) => sets(lengths).flat_map(|(set, len)| (0..len).map(move |row| (set, row))).collect(),
        // A data set without rows could not begin again.
        (MixStrategy::InterleaveOver, _) if least == 0 => Vec::new(),
        (MixStrategy::InterleaveUnder, None) => {
            (0..least).flat_map(|row| sets(lengths).map(move |(set, _)| (set, row))).collect()
        }
        (MixStrategy::InterleaveOver, None) => {
            (0..most).flat_map(|row| sets(lengths).map(move |(set, len)| (set, row % len))).collect()
        }
        (_, Some(probabilities)) => draw(lengths, strategy, probabilities, seed)?,
    };
    Ok(rows)
}

fn sets(lengths: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    lengths.iter().copied().enumerate()
}

fn draw(
    lengths: &[usize],
    strategy: MixStrategy,
    probabilities: &[f64],
    seed: u64,
) -> Result<Vec<(usize, usize)>, ChoiceError> {
    let most = lengths.iter().sum::<usize>().max(MOST_REPEATED);
    let mut cumulated: Vec<_> = probabilities
        .iter()
        .scan(0.0, |sum, probability| {
            *sum += probability;
            Some(*sum)
        })
        .collect();
    let sum = cumulated.last().copied().unwrap_or(1.0);
    cumulated.iter_mut().for_each(|upto| *upto /= sum);

    let mut random = Generator::new(seed);
    let mut next = vec![0; lengths.len()];
    let mut exhausted: Vec<_> = lengths.iter().map(|len| *len == 0).collect();
    let mut rows = Vec::new();
    loop {
        let done = match strategy {
            MixStrategy::InterleaveOver => exhausted.iter().all(|done| *done),
            _ => exhausted.iter().any(|done| *done),
        };
        if done {
            return Ok(rows);
        }
        if rows.len() == most {
            return Err(ChoiceError::TooRare { most });
        }
        let set = random.choice(&cumulated);
        rows.push((set, next[set]));
        next[set] += 1;
        if next[set] == lengths[set] {
            exhausted[set] = true;
            next[set] = 0;
        }
    }
}

fn check(probabilities: &[f64], sets: usize, strategy: MixStrategy) -> Result<(), ChoiceError> {
    if strategy == MixStrategy::Concat {
        return Err(ChoiceError::ProbabilitiesOfConcat);
    }
    if probabilities.len() != sets {
        return Err(ChoiceError::ProbabilityCount { probabilities: probabilities.len(), sets });
    }
    let sum: f64 = probabilities.iter().sum();
    // numpy's tolerance.
    if (sum - 1.0).abs() > f64::EPSILON.sqrt() || probabilities.iter().any(|probability| *probability < 0.0) {
        return Err(ChoiceError::ProbabilitySum { sum });
    }
    match probabilities.iter().position(|probability| *probability == 0.0) {
        Some(index) if strategy == MixStrategy::InterleaveOver => Err(ChoiceError::NeverExhausted { index }),
        _ => Ok(()),
    }
}

/// Splits `len` rows into training and evaluation rows, as LLaMA-Factory does with `train_test_split` of Hugging Face's
/// datasets. `val_size` up to 1 is a share, above it a number of rows; both parts are shuffled. Without `val_size` all
/// rows are for training, in their order.
///
/// # Errors
/// Nothing would be left to train on.
pub fn split(len: usize, val_size: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>), ChoiceError> {
    if val_size <= 1e-6 || len == 0 {
        return Ok(((0..len).collect(), Vec::new()));
    }
    let held_out = match val_size > 1.0 {
        true => val_size as usize,
        false => (val_size * len as f64).ceil() as usize,
    };
    if held_out >= len {
        return Err(ChoiceError::NothingLeft { val_size, samples: len });
    }
    let mut eval = Generator::new(seed).permutation(len);
    let train = eval.split_off(held_out);
    Ok((train, eval))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::fixtures;

    fn numbers(list: &Value) -> Vec<usize> {
        list.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
    }

    #[test]
    fn data_sets_are_mixed_as_llamafactory_mixes_them() {
        for case in fixtures::json("encode/choices.json")["mixes"].as_array().unwrap() {
            let strategy = match case["mix_strategy"].as_str().unwrap() {
                "concat" => MixStrategy::Concat,
                "interleave_under" => MixStrategy::InterleaveUnder,
                _ => MixStrategy::InterleaveOver,
            };
            let probabilities: Option<Vec<f64>> =
                case["interleave_probs"].as_array().map(|list| list.iter().map(|p| p.as_f64().unwrap()).collect());
            let seed = case["seed"].as_u64().unwrap();
            let rows = mix(&numbers(&case["lengths"]), strategy, probabilities.as_deref(), seed).unwrap();
            let flat: Vec<_> = rows.into_iter().map(|(set, row)| set * 100 + row).collect();
            assert_eq!(flat, numbers(&case["rows"]), "{case}");
        }
    }

    #[test]
    fn samples_are_held_back_as_llamafactory_holds_them_back() {
        for case in fixtures::json("encode/choices.json")["splits"].as_array().unwrap() {
            let (len, seed) = (case["len"].as_u64().unwrap() as usize, case["seed"].as_u64().unwrap());
            let (train, eval) = split(len, case["val_size"].as_f64().unwrap(), seed).unwrap();
            assert_eq!((train, eval), (numbers(&case["train"]), numbers(&case["eval"])), "{case}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let mixed = |strategy, probabilities: &[f64]| mix(&[3, 4], strategy, Some(probabilities), 1).unwrap_err();
        assert_eq!(mixed(MixStrategy::Concat, &[0.5, 0.5]), ChoiceError::ProbabilitiesOfConcat);
        let count = mixed(MixStrategy::InterleaveUnder, &[1.0]).to_string();
        assert!(count.contains("1 numbers for 2 datasets"), "{count}");
        assert!(mixed(MixStrategy::InterleaveUnder, &[0.5, 0.6]).to_string().contains("1.1"));
        assert!(matches!(mixed(MixStrategy::InterleaveUnder, &[1.5, -0.5]), ChoiceError::ProbabilitySum { .. }));
        assert_eq!(mixed(MixStrategy::InterleaveOver, &[1.0, 0.0]), ChoiceError::NeverExhausted { index: 1 });
        assert_eq!(mixed(MixStrategy::InterleaveOver, &[1e-300, 1.0]), ChoiceError::TooRare { most: 10_000_000 });
        for val_size in [1.0, 5.0, 8.0] {
            assert_eq!(split(5, val_size, 1), Err(ChoiceError::NothingLeft { val_size, samples: 5 }));
        }
    }

    #[test]
    fn an_empty_data_set_ends_a_mix() {
        for strategy in [MixStrategy::InterleaveUnder, MixStrategy::InterleaveOver] {
            assert_eq!(mix(&[3, 0], strategy, None, 1), Ok(Vec::new()));
            assert_eq!(mix(&[3, 0], strategy, Some(&[0.5, 0.5]), 1), Ok(Vec::new()));
        }
        assert_eq!(split(0, 0.5, 1), Ok((Vec::new(), Vec::new())));
    }
}
