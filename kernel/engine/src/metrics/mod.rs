//! How like a generated text is to the one that was expected: BLEU-4 and ROUGE, with the numbers of LLaMA-Factory.
//!
//! LLaMA-Factory's `ComputeSimilarity` takes characters for BLEU, and for ROUGE the words that jieba cuts a text into.
//! Both are there for Chinese; in other languages white space counts as a word, and so a line feed at the end of a
//! label does too. What is better in the absolute is not the point here: the numbers of two runs can be compared.

mod bleu;
mod rouge;
mod words;

use serde::Serialize;

/// The scores of one pair of texts, or the means of many, from 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    pub bleu_4: f64,
    pub rouge_1: f64,
    pub rouge_2: f64,
    pub rouge_l: f64,
}

impl Scores {
    /// The scores of `prediction` against `label`, each rounded to four places.
    pub fn new(prediction: &str, label: &str) -> Self {
        let [rouge_1, rouge_2, rouge_l] = rouge::rouge(prediction, label).map(percent);
        Self { bleu_4: percent(bleu::bleu_4(prediction, label)), rouge_1, rouge_2, rouge_l }
    }

    /// The mean of each score; 0 where there are none.
    pub fn mean(all: &[Self]) -> Self {
        let mean = |score: fn(&Self) -> f64| all.iter().map(score).sum::<f64>() / all.len().max(1) as f64;
        Self {
            bleu_4: mean(|scores| scores.bleu_4),
            rouge_1: mean(|scores| scores.rouge_1),
            rouge_2: mean(|scores| scores.rouge_2),
            rouge_l: mean(|scores| scores.rouge_l),
        }
    }

    /// Each with its name in LLaMA-Factory's results.
    pub fn named(&self) -> [(&'static str, f64); 4] {
        [("bleu-4", self.bleu_4), ("rouge-1", self.rouge_1), ("rouge-2", self.rouge_2), ("rouge-l", self.rouge_l)]
    }
}

/// As Python's `round(100 * share, 4)`: to the nearest decimal number, where a float's product with 10⁴ can miss it.
fn percent(share: f64) -> f64 {
    format!("{:.4}", share * 100.0).parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn reference() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/metrics/pairs.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn scores_are_those_of_llamafactory() {
        let reference = reference();
        let mut all = Vec::new();
        for pair in reference["pairs"].as_array().unwrap() {
            let (prediction, label) = (pair["prediction"].as_str().unwrap(), pair["label"].as_str().unwrap());
            let scores = Scores::new(prediction, label);
            for (name, found) in scores.named() {
                assert_eq!(found, pair["scores"][name].as_f64().unwrap(), "{name} of {prediction:?} and {label:?}");
            }
            all.push(scores);
        }
        for (name, found) in Scores::mean(&all).named() {
            let expected = reference["mean"][name].as_f64().unwrap();
            assert!((found - expected).abs() < 1e-9, "{name}: {found}, but {expected} expected");
        }
    }

    #[test]
    fn words_are_those_of_jieba() {
        for pair in reference()["pairs"].as_array().unwrap() {
            for text in ["prediction", "label"] {
                let words = pair[format!("{text}_words")].as_array().unwrap();
                let expected: Vec<_> = words.iter().map(|word| word.as_str().unwrap()).collect();
                assert_eq!(words::cut(pair[text].as_str().unwrap()), expected);
            }
        }
    }
}
