//! What the verbs answer: plain data, for a face to draw.

mod adapters;
mod boxes;
mod regions;
mod tokens;
mod workers;

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use tunebook_data::Skipped;

use crate::chosen_data::Split;
use crate::difference::SettingDifference;
use crate::metrics::Scores;
use crate::run_state::number;
use crate::serialize;
use crate::settings::QuantizationBit;
use crate::step_metrics::StepMetrics;

pub use adapters::AdapterReport;
pub use adapters::LoraReport;
pub use adapters::Parent;
pub use adapters::TensorReport;
pub use boxes::BoxReport;
pub use boxes::DrawnBox;
pub use boxes::DrawnPicture;
pub use regions::PictureRegions;
pub use regions::Region;
pub use tokens::LabelScores;
pub use tokens::LikelyToken;
pub use tokens::ScoredToken;
pub use workers::StepTimes;
pub use workers::WorkerReport;
pub use workers::WorkersReport;

/// The report of `load`.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// The name that was given: a folder, or a hub's `owner/name`.
    pub name: String,
    /// The folder it lies in.
    #[serde(serialize_with = "serialize::path")]
    pub path: PathBuf,
    /// As `architectures` in config.json has it, such as `Qwen2_5_VLForConditionalGeneration`.
    pub architecture: String,
    pub parameters: usize,
    /// How the weights are stored: `float32`, `float16` or `bfloat16`.
    pub stored_dtype: String,
    /// The name of the device that computes; none is the CPU.
    pub device: Option<String>,
    /// Bits of the quantized linear layers.
    pub quantized: Option<QuantizationBit>,
    /// Precision of matrix products: `float32` or `bfloat16`.
    pub dtype: String,
    pub text_layers: usize,
    pub vision_layers: usize,
    pub vocabulary: usize,
    /// config.json says that head and embedding are tied, but the files have a head with other values, which is used.
    pub own_head: bool,
    /// Tensors of the files that the model does not have; the same tensor of several layers is one entry.
    pub unused: Vec<String>,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
}

impl LoadReport {
    /// What others call the model: the name on the hub, or that of its folder.
    pub fn id(&self) -> String {
        let folder = self.path.file_name().filter(|_| Path::new(&self.name) == self.path);
        folder.map_or_else(|| self.name.clone(), |folder| folder.to_string_lossy().into_owned())
    }
}

/// The report of `data`: what was kept and what was skipped.
#[derive(Clone, Debug, Serialize)]
pub struct DataReport {
    pub names: Vec<String>,
    /// To train on.
    pub samples: usize,
    /// Number of packs, if samples are packed.
    pub packs: Option<usize>,
    pub eval_samples: usize,
    /// The system prompt that all training samples share (empty for none), if they share one and it is not the
    /// template's own.
    pub system: Option<String>,
    pub skipped: Vec<SkippedKind>,
    /// Over all samples, like the numbers below.
    pub tokens: Spread,
    pub supervised_tokens: Spread,
    /// Tokens per image.
    pub picture_tokens: Spread,
    /// Samples that `cutoff_len` has truncated.
    pub truncated: usize,
    /// Of the boxes, where there are some.
    pub boxes: Option<Box<BoxReport>>,
    pub steps_per_epoch: usize,
    /// A few of the images to train on, from the first to the last.
    #[serde(serialize_with = "serialize::paths")]
    pub images: Vec<PathBuf>,
}

/// The system prompt that the model is asked with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SystemPrompt {
    /// Empty if there is none.
    pub text: String,
    pub source: SystemPromptSource,
}

/// Where a system prompt comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SystemPromptSource {
    /// `default_system`
    Setting,
    /// The samples of the data, which all share it.
    Data,
    /// The template, as its own default.
    Template,
}

/// Samples that cannot be used, for one kind of reason.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SkippedKind {
    pub count: usize,
    pub first: Skipped,
}

impl SkippedKind {
    /// By kind, in order of first occurrence.
    pub fn count(skipped: &[Skipped]) -> Vec<Self> {
        let mut kinds: Vec<Self> = Vec::new();
        for skipped in skipped {
            let kind = skipped.reason.kind();
            match kinds.iter_mut().find(|known| known.first.reason.kind() == kind) {
                Some(known) => known.count += 1,
                None => kinds.push(Self { count: 1, first: skipped.clone() }),
            }
        }
        kinds
    }
}

/// The distribution of some numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    pub count: usize,
    pub total: usize,
    pub min: usize,
    pub median: usize,
    /// The 95th percentile.
    pub p95: usize,
    pub max: usize,
    /// A histogram: how many lie in each of equally wide bins, of which the first begins at `min` and the last ends with
    /// `max`.
    pub bins: [usize; BINS],
}

/// The bins of a histogram.
pub const BINS: usize = 16;

impl Spread {
    /// All zero without numbers. Quantile q of n numbers is the ⌈q·n⌉-th smallest; number x lies in bin
    /// ⌊b·(x - min)/(max - min + 1)⌋ of b.
    pub fn of(numbers: impl Iterator<Item = usize>) -> Self {
        let mut numbers: Vec<_> = numbers.collect();
        numbers.sort_unstable();
        let rank = |percent: usize| numbers.get((numbers.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let (min, max) = (rank(0).unwrap_or(0), rank(100).unwrap_or(0));
        let mut bins = [0; BINS];
        numbers.iter().for_each(|number| bins[BINS * (number - min) / (max - min + 1)] += 1);
        Self {
            count: numbers.len(),
            total: numbers.iter().sum(),
            min,
            median: rank(50).unwrap_or(0),
            p95: rank(95).unwrap_or(0),
            max,
            bins,
        }
    }
}

/// One encoded sample, as the model sees it.
#[derive(Clone, Debug, Serialize)]
pub struct SampleReport {
    pub index: usize,
    pub samples: usize,
    pub origin: String,
    pub tokens: Vec<TokenReport>,
    pub pictures: Vec<PictureReport>,
    /// What the model says to its labels: under an adapter, then under the base model; nothing where it was not asked.
    pub scores: Vec<LabelScores>,
}

/// A token and whether it is a label. A character that is spread over several tokens is shown at the last of them. A
/// run of image placeholders is one entry with its `count`.
#[derive(Clone, Debug, Serialize)]
pub struct TokenReport {
    pub id: u32,
    pub text: String,
    pub supervised: bool,
    pub count: usize,
}

/// An image of a sample and its patch grid.
#[derive(Clone, Debug, Serialize)]
pub struct PictureReport {
    #[serde(serialize_with = "serialize::path")]
    pub path: PathBuf,
    /// Patches in height and width after resizing; a token covers `merge` × `merge` of them.
    pub grid_h: usize,
    pub grid_w: usize,
    pub patch: usize,
    pub tokens: usize,
    /// Pixels of the file, turned upright.
    pub width: u32,
    pub height: u32,
    /// What the sample's text says is on it.
    pub boxes: Vec<DrawnBox>,
}

/// Samples by their loss, the worst first.
#[derive(Clone, Debug, Serialize)]
pub struct WorstReport {
    pub split: Split,
    /// The adapter that is asked; `base` where it is none.
    pub adapter: String,
    pub worst: Vec<SampleLoss>,
    /// The mean over the samples that were looked at, under the adapter and under the base model.
    pub loss: f64,
    pub base_loss: f64,
    /// Samples that were looked at, of all of the split.
    pub looked_at: usize,
    pub samples: usize,
    pub left_out: Vec<Skipped>,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
}

/// The loss of a sample by itself: the mean of -log p over its labels.
#[derive(Clone, Debug, Serialize)]
pub struct SampleLoss {
    /// Its number in its split, from 0 on, as `sample` counts.
    pub index: usize,
    /// The file and the record.
    pub origin: String,
    /// How many tokens are labels.
    pub labels: usize,
    pub loss: f64,
    pub base_loss: f64,
    /// The text of the labels.
    pub expected: String,
    #[serde(serialize_with = "serialize::paths")]
    pub images: Vec<PathBuf>,
}

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// 1 for the first step.
    pub step: usize,
    pub total_steps: usize,
    /// Means over the micro-batches of the accumulation window; of each, `loss` is the mean cross-entropy of its labels.
    #[serde(flatten)]
    pub metrics: StepMetrics,
    /// Global L2 norm before clipping.
    #[serde(deserialize_with = "number")]
    pub grad_norm: f64,
    /// The learning rate of this step.
    pub learning_rate: f64,
    pub epoch: f64,
    /// Input tokens seen so far.
    pub tokens: usize,
    /// Seconds spent in training so far.
    pub elapsed: f64,
}

impl StepRecord {
    pub fn loss(&self) -> f64 {
        self.metrics.loss()
    }
}

/// An evaluation in the course of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// The optimizer step after which it was made.
    pub step: usize,
    pub total_steps: usize,
    /// `eval_loss`, as `evaluate` computes it.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
    pub epoch: f64,
    /// Input tokens seen in training so far.
    pub tokens: usize,
    /// Seconds spent in training so far, those of evaluations included.
    pub elapsed: f64,
    /// Seconds that the evaluation itself took.
    pub seconds: f64,
    pub samples: usize,
    pub batches: usize,
}

/// Why `train` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum TrainEnd {
    /// The steps that were asked for are done; more remain.
    Paused,
    /// All epochs are done.
    Finished,
    /// `early_stopping_steps` evaluations in a row have found no lower loss.
    StoppedEarly,
    /// The user asked to stop.
    Interrupted,
}

/// The report of `undo` and `redo`.
#[derive(Clone, Debug, Serialize)]
pub struct UndoReport {
    pub adapter: String,
    /// Optimizer steps made before, and now.
    pub from: usize,
    pub step: usize,
    /// Micro-batches since the last of them.
    pub open_micro_batches: usize,
    /// How many steps were computed once more to get there.
    pub replayed: usize,
    /// How often `redo` can go forward.
    pub undone: usize,
    /// Whether there was room to keep what was taken back last.
    pub can_redo: bool,
    /// Settings that were others when the training came here first; they stay as they are now.
    pub differing: Vec<SettingDifference>,
    /// Where later checkpoints were moved.
    #[serde(serialize_with = "serialize::optional_path")]
    pub set_aside: Option<PathBuf>,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
}

/// The report of `train`.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    pub end: TrainEnd,
    /// Optimizer steps made by this call.
    pub steps: usize,
    pub step: usize,
    pub total_steps: usize,
    /// Mean loss over this call's steps.
    pub loss: Option<f64>,
    /// The best evaluation of the training.
    pub best: Option<BestReport>,
    /// Samples that this call has skipped.
    pub left_out: Vec<Skipped>,
    pub tokens_per_second: f64,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
}

/// The evaluation that found the lowest loss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BestReport {
    pub step: usize,
    pub eval_loss: f64,
    /// Its checkpoint, if there is one.
    #[serde(serialize_with = "serialize::optional_path")]
    pub checkpoint: Option<PathBuf>,
    /// Whether the adapter has returned to it.
    pub loaded: bool,
    /// Evaluations since the best one.
    pub evaluations_since: usize,
}

/// The report of `resume`.
#[derive(Clone, Debug, Serialize)]
pub struct ResumeReport {
    #[serde(serialize_with = "serialize::path")]
    pub checkpoint: PathBuf,
    /// The adapter's name in the session.
    pub adapter: String,
    pub step: usize,
    pub total_steps: usize,
    /// Micro-batches of the next step that are complete.
    pub micro_batches: usize,
    /// Settings taken from the checkpoint, as `key=value`.
    pub taken: Vec<String>,
    /// Settings whose values have changed since the checkpoint.
    pub differing: Vec<SettingDifference>,
    /// The data, if it was read because none was chosen.
    pub data: Option<DataReport>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerEnd {
    EndOfTurn,
    MaxNewTokens,
    Interrupted,
}

/// A question of the conversation, the pictures that it came with, and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub question: String,
    pub images: Vec<PathBuf>,
    pub answer: String,
}

/// The answer of `chat`.
#[derive(Clone, Debug, Serialize)]
pub struct ChatReport {
    pub text: String,
    /// The pictures on which the answer has boxes.
    pub pictures: Vec<DrawnPicture>,
    pub end: AnswerEnd,
    pub prompt_tokens: usize,
    /// Tokens at the start of the prompt that had been read in earlier turns.
    pub cached_tokens: usize,
    pub new_tokens: usize,
    /// Tokens that were read before they were chosen, and those of them that were chosen.
    pub drafted_tokens: usize,
    pub accepted_tokens: usize,
    /// Its tokens and the one that ends it, with what else was likely; none unless that was asked for.
    pub tokens: Vec<ScoredToken>,
    /// The tokens of its text by their ids, without the one that ends it.
    pub token_ids: Vec<u32>,
    /// What it rests on in the pictures of the conversation; none unless that was asked for.
    pub regions: Vec<PictureRegions>,
    /// Time to the first token.
    #[serde(serialize_with = "serialize::optional_seconds")]
    pub first_token: Option<Duration>,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
}

/// The report of `save`.
#[derive(Clone, Debug, Serialize)]
pub struct SaveReport {
    #[serde(serialize_with = "serialize::path")]
    pub folder: PathBuf,
    pub files: Vec<String>,
    /// The first tensor that holds NaN or infinity.
    pub not_finite: Option<String>,
}

/// What the session holds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    pub model: Option<LoadReport>,
    pub data: Option<DataReport>,
    pub adapters: Vec<AdapterReport>,
    pub step: usize,
    pub total_steps: usize,
    pub last: Option<StepRecord>,
    pub turns: usize,
    /// Workers that compute for the session.
    pub workers: usize,
    /// The last training that was ended by a signal and saved; see [`crate::recovery`].
    #[serde(serialize_with = "serialize::optional_path")]
    pub recovered: Option<PathBuf>,
    /// The system prompt of `chat` and `compare`.
    pub system: Option<SystemPrompt>,
    /// Resident memory of the process, in bytes.
    pub resident_bytes: Option<u64>,
}

/// The report of `evaluate`.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluateReport {
    /// The data sets of the samples.
    pub samples: String,
    /// Whether they are those that `data` holds back of them.
    pub held_out: bool,
    /// The adapter's name, or `base`.
    pub adapter: String,
    pub loss: f64,
    /// `exp(loss)`
    pub perplexity: f64,
    /// Samples that were evaluated; fewer than `total` after a stop, or where bad samples were left out.
    pub done: usize,
    pub total: usize,
    /// Bad samples that were left out.
    pub left_out: Vec<Skipped>,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
    /// The folder that the results were written to.
    #[serde(serialize_with = "serialize::optional_path")]
    pub folder: Option<PathBuf>,
}

/// One answer of `predict`.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// Counted from 0.
    pub index: usize,
    pub total: usize,
    pub prompt: String,
    pub predict: String,
    /// The expected answer.
    pub label: String,
    /// All pictures of the sample.
    #[serde(serialize_with = "serialize::paths")]
    pub images: Vec<PathBuf>,
    /// The pictures on which one of the two has boxes.
    pub pictures: Vec<DrawnPicture>,
    pub scores: Scores,
}

/// The report of `predict`.
#[derive(Clone, Debug, Serialize)]
pub struct PredictReport {
    /// The data sets of the samples.
    pub samples: String,
    /// Whether they are those that `data` holds back of them.
    pub held_out: bool,
    /// The adapter's name, or `base`.
    pub adapter: String,
    /// The means over the predictions.
    pub scores: Scores,
    /// Predictions made; fewer than `total` after a stop, or where bad samples were left out.
    pub done: usize,
    pub total: usize,
    /// Bad samples that were left out.
    pub left_out: Vec<Skipped>,
    pub new_tokens: usize,
    /// Predictions that `max_new_tokens` has truncated.
    pub cut: usize,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
    /// The folder that they were written to.
    #[serde(serialize_with = "serialize::optional_path")]
    pub folder: Option<PathBuf>,
}

/// One question, and the answers of several adapters, or several of one.
#[derive(Clone, Debug, Serialize)]
pub struct CompareReport {
    pub question: String,
    #[serde(serialize_with = "serialize::paths")]
    pub images: Vec<PathBuf>,
    /// Fewer than `asked` after a stop.
    pub answers: Vec<ComparedAnswer>,
    pub asked: usize,
}

/// One of the answers to a question.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedAnswer {
    /// The adapter's name, or `base`; or the number of the answer.
    pub name: String,
    pub report: ChatReport,
}

/// The report of `export`.
#[derive(Clone, Debug, Serialize)]
pub struct ExportReport {
    #[serde(serialize_with = "serialize::path")]
    pub folder: PathBuf,
    pub files: Vec<String>,
    pub content: ExportContent,
    /// The adapter, and how many layers it changes; `base` if there is none.
    pub adapter: String,
    pub layers: usize,
    /// Size of the weights.
    pub bytes: u64,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
    /// What llama.cpp answered, where it was asked.
    pub check: Option<CheckReport>,
}

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ExportContent {
    /// The model with the adapter merged in.
    Merged,
    /// The model without an adapter.
    Base,
    /// The adapter by itself.
    Adapter,
}

/// The greedy answers of llama.cpp beside those of the session.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// The program that was asked.
    #[serde(serialize_with = "serialize::path")]
    pub program: PathBuf,
    /// How many samples were asked, of so many.
    pub done: usize,
    pub total: usize,
    /// Where both said the same, to the pictures of the data set as they are.
    pub equal: usize,
    /// Where they did only when llama.cpp was given the pictures in the size in which the model sees them.
    pub equal_resized: usize,
    /// The others.
    pub different: Vec<DifferentAnswer>,
}

/// An answer that differs.
#[derive(Clone, Debug, Serialize)]
pub struct DifferentAnswer {
    /// The sample's number, from 0.
    pub index: usize,
    pub here: String,
    pub llama_cpp: String,
}
