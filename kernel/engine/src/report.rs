//! What the verbs answer: plain data, for a face to draw.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

/// What `load` found.
#[derive(Clone, Debug)]
pub struct LoadReport {
    pub path: PathBuf,
    /// `Qwen2_5_VLForConditionalGeneration`
    pub architecture: String,
    pub parameters: usize,
    /// How the weights are stored: `float32` or `bfloat16`.
    pub stored_dtype: String,
    /// How products are formed: `float32` or `bfloat16`.
    pub dtype: String,
    pub text_layers: usize,
    pub vision_layers: usize,
    pub vocabulary: usize,
    pub elapsed: Duration,
}

/// What `data` kept and what it left out.
#[derive(Clone, Debug)]
pub struct DataReport {
    pub names: Vec<String>,
    pub samples: usize,
    pub skipped: Vec<SkippedSample>,
    pub tokens: usize,
    pub longest: usize,
    pub supervised_tokens: usize,
    pub pictures: usize,
    pub truncated: usize,
    pub steps_per_epoch: usize,
}

/// A sample that cannot be trained on, and why.
#[derive(Clone, Debug)]
pub struct SkippedSample {
    /// Data set and position in its file, as in `creatures[17]`.
    pub origin: String,
    pub reason: String,
}

/// One encoded sample, as the model sees it.
#[derive(Clone, Debug)]
pub struct SampleReport {
    pub index: usize,
    pub samples: usize,
    pub origin: String,
    pub tokens: Vec<TokenReport>,
    pub pictures: Vec<PictureReport>,
}

/// A token and whether it is trained on. A character that is spread over several tokens is the last one's text.
/// A run of image placeholders is one entry with its `count`.
#[derive(Clone, Debug)]
pub struct TokenReport {
    pub id: u32,
    pub text: String,
    pub supervised: bool,
    pub count: usize,
}

/// A picture of a sample and its patch grid.
#[derive(Clone, Debug)]
pub struct PictureReport {
    pub path: PathBuf,
    /// Patches in height and width after resizing; a token covers `merge` × `merge` of them.
    pub grid_h: usize,
    pub grid_w: usize,
    pub patch: usize,
    pub tokens: usize,
}

/// An adapter of the session.
#[derive(Clone, Debug)]
pub struct AdapterReport {
    pub name: String,
    pub active: bool,
    pub rank: usize,
    pub alpha: f64,
    pub dropout: f64,
    pub modules: usize,
    pub trainable_parameters: usize,
    pub all_parameters: usize,
    pub step: usize,
}

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// 1 for the first step.
    pub step: usize,
    pub total_steps: usize,
    /// Mean over the window's micro-batches of their mean cross-entropy.
    pub loss: f64,
    /// Global L2 norm before clipping.
    pub grad_norm: f64,
    /// The learning rate this step was made with.
    pub learning_rate: f64,
    pub epoch: f64,
    /// Input tokens seen so far.
    pub tokens: usize,
    /// Seconds spent in training so far.
    pub elapsed: f64,
}

/// Why `train` came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrainEnd {
    /// The steps that were asked for are done; more remain.
    Paused,
    /// All epochs are done.
    Finished,
    /// Somebody asked to stop.
    Interrupted,
}

/// What `train` did.
#[derive(Clone, Debug)]
pub struct TrainReport {
    pub end: TrainEnd,
    /// Optimizer steps made by this call.
    pub steps: usize,
    pub step: usize,
    pub total_steps: usize,
    /// Mean loss over this call's steps.
    pub loss: Option<f64>,
    pub tokens_per_second: f64,
    pub elapsed: Duration,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerEnd {
    EndOfTurn,
    MaxNewTokens,
    Interrupted,
}

/// What `chat` answered.
#[derive(Clone, Debug)]
pub struct ChatReport {
    pub text: String,
    pub end: AnswerEnd,
    pub prompt_tokens: usize,
    pub new_tokens: usize,
    pub elapsed: Duration,
}

/// What `save` wrote.
#[derive(Clone, Debug)]
pub struct SaveReport {
    pub folder: PathBuf,
    pub files: Vec<String>,
}

/// What the session holds.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub model: Option<LoadReport>,
    pub data: Option<DataReport>,
    pub adapters: Vec<AdapterReport>,
    pub step: usize,
    pub total_steps: usize,
    pub last: Option<StepRecord>,
    pub turns: usize,
    /// Resident memory of the process, in bytes.
    pub resident_bytes: Option<u64>,
}
