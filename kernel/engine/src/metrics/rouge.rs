//! ROUGE (Lin 2004) of words, as the package rouge-chinese computes it.

use std::collections::HashSet;

use super::words;

/// ROUGE-1, ROUGE-2 and ROUGE-L of `prediction` against `label`, from 0 to 1; 0 where one of them has no word.
///
/// All three are `2 p r / (p + r + 1e-8)`, with what is shared by both texts as a part `p` of the prediction and a part
/// `r` of the label. For ROUGE-n it is the set of different n-grams that is shared; for ROUGE-L the longest common
/// subsequence of all words.
pub(super) fn rouge(prediction: &str, label: &str) -> [f64; 3] {
    let (prediction, label) = (words::cut(prediction), words::cut(label));
    let blank = |words: &[String]| words.iter().all(|word| word.chars().all(char::is_whitespace));
    if blank(&prediction) || blank(&label) {
        return [0.0; 3];
    }
    let (prediction, label) = (words::of_sentences(&prediction), words::of_sentences(&label));
    let common = common_subsequence(&prediction, &label);
    [grams(&prediction, &label, 1), grams(&prediction, &label, 2), f(common, prediction.len(), label.len())]
}

fn grams(prediction: &[String], label: &[String], order: usize) -> f64 {
    let set = |words: &'_ [String]| words.windows(order).map(<[String]>::to_vec).collect::<HashSet<_>>();
    let (prediction, label) = (set(prediction), set(label));
    f(prediction.intersection(&label).count(), prediction.len(), label.len())
}

fn f(common: usize, prediction: usize, label: usize) -> f64 {
    let share = |of: usize| if of == 0 { 0.0 } else { common as f64 / of as f64 };
    let (precision, recall) = (share(prediction), share(label));
    2.0 * precision * recall / (precision + recall + 1e-8)
}

/// The length of the longest common subsequence, row by row of its table.
fn common_subsequence(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}
