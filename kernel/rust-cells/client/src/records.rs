//! What the session answers.

use crate::wire::record;

record! {
    /// A model that was loaded.
    pub struct Model {
        /// What it was loaded by: a folder, or a hub's `owner/name`.
        pub name: String,
        pub parameters: usize,
        /// How products are formed: `float32` or `bfloat16`.
        pub dtype: String,
    }
}

record! {
    /// Data sets that were chosen.
    pub struct Data {
        pub names: Vec<String>,
        /// Samples to train on.
        pub samples: usize,
        /// Samples that are held out.
        pub eval_samples: usize,
        pub steps_per_epoch: usize,
    }
}

record! {
    /// An adapter of the session.
    pub struct Adapter {
        pub name: String,
        /// Whether it is the one that is on.
        pub active: bool,
        pub trainable_parameters: usize,
        /// Optimizer steps it was trained for.
        pub step: usize,
    }
}

record! {
    /// One optimizer step.
    pub struct Step {
        /// 1 for the first.
        pub step: usize,
        /// Mean cross-entropy over the window's micro-batches.
        pub loss: f32,
        /// Global L2 norm of the gradient before clipping.
        pub grad_norm: f32,
        /// What the step was made with.
        pub learning_rate: f64,
        pub epoch: f64,
        /// Input tokens seen so far.
        pub tokens: usize,
        /// Seconds spent in training so far.
        pub elapsed: f64,
    }
}

record! {
    /// What a call of `train` did.
    pub struct Trained {
        /// The steps it made, at least one.
        pub steps: Vec<Step>,
        /// The mean of their losses.
        pub loss: f32,
        /// Of the last of them.
        pub grad_norm: f32,
        /// Of the last of them.
        pub learning_rate: f64,
        /// Steps made so far.
        pub step: usize,
        pub total_steps: usize,
        /// Whether no more are to be made: all epochs are done, or `early_stopping_steps` has ended them.
        pub is_finished: bool,
    }
}

record! {
    /// The loss on samples that are held out.
    pub struct Evaluation {
        /// The optimizer step it was found after.
        pub step: usize,
        pub loss: f32,
        /// exp(loss)
        pub perplexity: f32,
        pub samples: usize,
    }
}

record! {
    /// An answer to a held-out sample.
    pub struct Prediction {
        pub prompt: String,
        pub predict: String,
        /// The answer that was expected.
        pub label: String,
    }
}

record! {
    /// One of the answers to a question.
    pub struct Answer {
        /// The adapter's name, or `base`; or the number of the answer.
        pub name: String,
        pub text: String,
    }
}

record! {
    /// A token of an answer, or the one that ends it.
    pub struct Token {
        pub text: String,
        /// At temperature 1, before repetition_penalty, top_k and top_p.
        pub probability: f64,
        /// How many tokens were likelier, and 1.
        pub rank: usize,
        /// The likeliest tokens in its place and their probabilities, the likeliest first.
        pub likeliest: Vec<(String, f64)>,
    }
}

record! {
    /// The answer to a probe during a training.
    pub struct Probed {
        /// The optimizer step it was given after; 0 is before the first one.
        pub step: usize,
        pub question: String,
        pub answer: String,
    }
}

record! {
    /// A training of a sweep.
    pub struct Trial {
        /// What was tried: names of settings with their values.
        pub settings: Vec<(String, String)>,
        /// The name that its adapter has or had.
        pub adapter: String,
        /// The mean training loss of its last steps; NaN if it made none.
        pub loss: f64,
        /// The loss on what is held out, if something is.
        pub eval_loss: Option<f64>,
        /// Whether it is the best one, whose adapter is on now.
        pub is_best: bool,
    }
}

record! {
    /// The loss of one sample.
    pub struct SampleLoss {
        /// Its number in its split.
        pub index: usize,
        /// The mean of -log p over its labels, under the active adapter.
        pub loss: f64,
        /// The same under the base model.
        pub base_loss: f64,
        /// What it teaches: the text of its labels.
        pub expected: String,
    }
}

record! {
    /// Answers to held-out samples, and how near they come to those that were expected.
    pub struct Predictions {
        pub predictions: Vec<Prediction>,
        /// Means over the predictions in percent: `bleu-4`, `rouge-1`, `rouge-2`, `rouge-l`.
        pub scores: Vec<(String, f64)>,
    }
}

record! {
    /// A tensor of the adapter that is on.
    pub struct Tensor {
        /// As in PEFT's files.
        pub name: String,
        pub shape: Vec<usize>,
        /// Row by row.
        pub data: Vec<f32>,
    }
}

impl Predictions {
    /// The score of that name, as `rouge-l`.
    pub fn score(&self, name: &str) -> Option<f64> {
        self.scores.iter().find(|(known, _)| known == name).map(|&(_, value)| value)
    }
}
