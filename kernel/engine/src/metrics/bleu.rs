//! BLEU (Papineni et al. 2002) of characters.

use std::collections::HashMap;

/// Orders of n-grams.
const ORDERS: usize = 4;

/// BLEU-4 of the characters of `prediction` against those of `label`, from 0 to 1:
///
/// `min(1, exp(1 − r/c)) · (p₁ p₂ p₃ p₄)^¼`
///
/// with `c` and `r` their lengths, and `pₙ` the share of the prediction's n-grams that the label has, an n-gram counted
/// no more often than the label has it. Where none is found, `pₙ` is `1 / (2ᵏ · count)` instead, k counting such orders
/// from 1 (smoothing 3 of Chen and Cherry 2014; `sentence_bleu` and `SmoothingFunction().method3` of nltk). 0 without a
/// single character in common.
pub(super) fn bleu_4(prediction: &str, label: &str) -> f64 {
    let (prediction, label): (Vec<char>, Vec<char>) = (prediction.chars().collect(), label.chars().collect());
    let (mut log, mut smoothed) = (0.0, 0);
    for order in 1..=ORDERS {
        let (found, count) = matches(&prediction, &label, order);
        if found == 0 && order == 1 {
            return 0.0;
        }
        let found = match found {
            0 => {
                smoothed += 1;
                0.5f64.powi(smoothed)
            }
            found => found as f64,
        };
        log += (found / count.max(1) as f64).ln() / ORDERS as f64;
    }
    let penalty = match prediction.len() > label.len() {
        true => 1.0,
        false => (1.0 - label.len() as f64 / prediction.len() as f64).exp(),
    };
    penalty * log.exp()
}

/// How many n-grams of `prediction` the label has, and how many there are.
fn matches(prediction: &[char], label: &[char], order: usize) -> (usize, usize) {
    let mut left: HashMap<&[char], usize> = HashMap::new();
    for gram in label.windows(order) {
        *left.entry(gram).or_default() += 1;
    }
    let found = prediction.windows(order).filter(|gram| match left.get_mut(gram) {
        Some(count @ 1..) => {
            *count -= 1;
            true
        }
        _ => false,
    });
    (found.count(), prediction.windows(order).len())
}
