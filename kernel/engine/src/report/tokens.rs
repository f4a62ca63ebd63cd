//! Tokens as a model sees them that has read all before them: how likely each was, and what else was.

use serde::Serialize;

/// A token with its probability p: the softmax of the logits at temperature 1, before a repetition penalty, top_k and top_p.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoredToken {
    /// Its place among the tokens of its sample or its answer, from 0 on.
    pub place: usize,
    pub id: u32,
    /// Its text by itself; bytes that are no whole character are written as `<0xE4>`.
    pub text: String,
    /// What it adds to the text of the tokens before it: nothing, where a character ends in a later token.
    pub piece: String,
    /// -ln p: its cross-entropy.
    pub loss: f64,
    /// How many tokens are likelier, and 1.
    pub rank: usize,
    /// The likeliest tokens, the likeliest first.
    pub likeliest: Vec<LikelyToken>,
}

impl ScoredToken {
    pub fn probability(&self) -> f64 {
        (-self.loss).exp()
    }

    /// The likeliest tokens but this one.
    pub fn others(&self) -> impl Iterator<Item = &LikelyToken> {
        self.likeliest.iter().filter(|other| other.id != self.id)
    }
}

/// One of the likeliest tokens at a place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LikelyToken {
    pub id: u32,
    /// As in [`ScoredToken`].
    pub text: String,
    pub probability: f64,
}

/// The labels of a sample under an adapter or the base model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelScores {
    /// The adapter's name, or `base`.
    pub name: String,
    /// In their order.
    pub labels: Vec<ScoredToken>,
}

impl LabelScores {
    /// -ln of the probability of all labels together.
    pub fn sum(&self) -> f64 {
        self.labels.iter().fold(0.0, |sum, label| sum + label.loss)
    }

    /// What a training computes of the sample as a micro-batch of its own.
    pub fn mean(&self) -> f64 {
        self.sum() / self.labels.len().max(1) as f64
    }
}
