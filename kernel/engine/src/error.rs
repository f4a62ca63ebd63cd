//! What a verb answers when it cannot do what was asked: what was wrong, where, and what to do.

use std::path::Path;
use std::path::PathBuf;

use tunebook_data::DatasetError;
use tunebook_data::EncodeError;
use tunebook_data::Skipped;
use tunebook_quote::REMEDY;
use tunebook_quote::in_one;
use tunebook_quote::message;

use crate::advice::Remedies;
use crate::difference;
use crate::difference::DataDifference;
use crate::difference::ModelDifference;
use crate::instead::Instead;
use crate::instead::explained;
use crate::settings::Declaration;
use crate::workers::WorkersError;

/// The result of a verb.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a verb did not finish. The session is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no model is loaded{REMEDY}load one first, for example `load path/to/Qwen2.5-VL-3B-Instruct`")]
    NoModel,
    #[error("no dataset is selected{REMEDY}select one first, for example `data creatures dataset_dir=data`")]
    NoData,
    #[error("no adapter is active{REMEDY}create one with `lora` or load one with `adapter load PATH`")]
    NoAdapter,
    #[error(
        "adapter `{adapter}` is being trained, and is at step {step} of {total_steps}{REMEDY}`wait` waits for the end of \
         the training, `stop` stops it; `train` would go on from there"
    )]
    Training { adapter: String, step: usize, total_steps: usize },
    #[error(
        "the conversation has {tokens} tokens, and at most {most} fit the model and the memory, an answer among them"
    )]
    PromptTooLong { tokens: usize, most: usize },
    #[error("there is no adapter named `{name}`{}", nearest_hint(.nearest))]
    UnknownAdapter { name: String, nearest: Option<String> },
    #[error(
        "the adapter has no tensor named `{name}`{}{REMEDY}`session().tensors()` lists their names",
        nearest_hint(.nearest)
    )]
    NoTensor { name: String, nearest: Option<String> },
    #[error("there is no probe {number}; the session has {probes}{REMEDY}`probe list` lists them")]
    NoProbe { number: usize, probes: usize },
    #[error("there is no setting named `{key}`{}{REMEDY}`show` lists all settings", nearest_hint(.nearest))]
    UnknownSetting { key: String, nearest: Option<String> },
    #[error("`{value}` is not a value for {}, which accepts {}", .setting.name, .setting.expected())]
    BadValue { setting: &'static Declaration, value: String },
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("stopped")]
    Cancelled,
    #[error(transparent)]
    Workers(Box<WorkersError>),
    #[error("{path} is not valid JSON: {}", message(&source.to_string()))]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{} {what}", .path.display())]
    Instead { path: PathBuf, what: Instead },
    #[error("there is no folder {path}{REMEDY}give the folder that contains the model's config.json")]
    NoFolder { path: PathBuf },
    #[error("{path} is a file{REMEDY}load the folder that contains it and the model's config.json")]
    File { path: PathBuf },
    #[error("{path} contains no config.json; a model folder has config.json, tokenizer.json and *.safetensors")]
    NoConfig { path: PathBuf },
    #[error(
        "{path} contains an adapter, not a model{REMEDY}load the model that it belongs to{}, then load the adapter with \
         `adapter load {path}`",
        .base.as_ref().map(|base| format!(", `load {base}`")).unwrap_or_default()
    )]
    AdapterFolder { path: PathBuf, base: Option<String> },
    #[error("this build of tunebook can only use the CPU{REMEDY}build it with `--features cuda`, or `set device=auto`")]
    BuiltWithoutCuda,
    #[error("no CUDA device can be used ({problem}){REMEDY}to compute on the CPU, `set device=cpu`")]
    NoCudaDevice { problem: String },
    #[error(
        "there is already an adapter named `{name}`{REMEDY}drop it with `adapter drop {name}` or choose another name"
    )]
    AdapterExists { name: String },
    #[error("no sample of {names} can be used{}", why_none(.skipped))]
    NoSamples { names: String, skipped: Vec<Skipped> },
    #[error("sample {number} is not dropped, of {dropped} that are{REMEDY}`data dropped` lists them")]
    NotDropped { number: usize, dropped: usize },
    #[error("the conversation has no image whose regions could be shown{REMEDY}name one with image=FILE")]
    NoPictures,
    #[error("there is no sample {index}: the data has {samples}, counted from 0")]
    NoSample { index: usize, samples: usize },
    #[error(
        "{path} already contains a training ({found}){REMEDY}choose another output_dir, or set overwrite_output_dir=true"
    )]
    OutputExists { path: PathBuf, found: String },
    #[error(
        "another tunebook is training in {path} (process {holder}){REMEDY}wait for it to end, or choose another output_dir"
    )]
    OutputLocked { path: PathBuf, holder: String },
    #[error("cannot draw the plot: {0}")]
    Plot(String),
    #[error(
        "train_on_prompt computes the loss on every turn, mask_history only on the last answer: set one of them to \
             false"
    )]
    PromptAndHistory,
    #[error("val_size holds out a part of the training data, eval_dataset uses other datasets: set only one of them")]
    ValSizeAndEvalDataset,
    #[error(
        "training {parameters} of the model's own parameters takes {needed:.1} GB, but only {free:.1} GB are free: \
         train fewer layers (freeze_trainable_layers), or create an adapter with `lora`"
    )]
    CopiesMemory { parameters: usize, needed: f64, free: f64 },
    #[error(
        "memory={limit} is less than the {least:.1} GB that a step needs even if it recomputes everything{REMEDY}raise \
         memory, or lower a setting: {remedies}"
    )]
    Memory { limit: f64, least: f64, remedies: Remedies },
    #[error(
        "a step needs {needed:.1} GB besides the weights, but only {free:.1} GB are available{REMEDY}lower a setting: \
         {remedies}; to train anyway, set memory=GB"
    )]
    FreeMemory { needed: f64, free: f64, remedies: Remedies },
    #[error(
        "step {step} has loss {loss} and grad_norm {grad_norm}, so it was not taken{REMEDY}the adapter is as it was after \
         the previous step. `train` continues with the next samples; if it happens again, go back some steps \
         with `undo N`, and lower learning_rate (now {learning_rate}) or load the model with dtype=float32"
    )]
    NotFinite { step: usize, loss: f64, grad_norm: f64, learning_rate: f64 },
    #[error(
        "the training has diverged: at step {step} no sample has a finite loss with the adapter, although the model \
         alone gives finite losses. Continuing cannot repair it: {}, with a lower learning_rate (now \
         {learning_rate})",
        way_back(.checkpoint.as_deref())
    )]
    Diverged { step: usize, learning_rate: f64, checkpoint: Option<PathBuf> },
    #[error("{0}{REMEDY}fix it and continue, or skip such samples with on_bad_sample=skip")]
    BadSample(Box<Skipped>),
    #[error("{count} samples in a row cannot be used, so the cause is probably something else; the last: {last}")]
    BadSamplesInARow { count: usize, last: Box<Skipped> },
    #[error(
        "`{name}` of the adapter contains NaN or infinity, so the adapter cannot be used{REMEDY}load it from an earlier \
         checkpoint, or turn it off with `adapter off`"
    )]
    AdapterNotFinite { name: String },
    #[error(
        "the model's output is NaN or infinite, although the weights of the model and the adapter are finite: some of \
         them are too large to compute with{REMEDY}load an earlier checkpoint of the adapter, or the model with \
         dtype=float32"
    )]
    OutputNotFinite,
    #[error(
        "there is no adapter to compare the model with{REMEDY}create one with `lora` or load one with `adapter load PATH`"
    )]
    NothingToCompare,
    #[error("{path} is not empty{REMEDY}choose a folder that is empty or does not exist yet")]
    ExportExists { path: PathBuf },
    #[error(
        "{path} splits texts in another way than Qwen's tokenizers do, which llama.cpp has no name for: it would make other \
         tokens of them"
    )]
    OtherSplit { path: PathBuf },
    #[error(
        "{} was not found, but check asks llama.cpp{REMEDY}install llama.cpp so that llama-server is on PATH, or name it with \
         llama_server=FILE",
        .program.as_ref().map_or("llama-server".to_string(), |program| program.display().to_string())
    )]
    NoLlamaServer { program: Option<PathBuf> },
    #[error("cannot start {program}: {source}")]
    LlamaServerStart { program: PathBuf, source: std::io::Error },
    #[error("{program} cannot be asked ({problem}); the files are written. It says:\n{said}")]
    LlamaServer { program: PathBuf, problem: String, said: String },
    #[error(
        "{path} has {free:.1} GB of free space, but the model needs {needed:.1} GB{REMEDY}choose another disk or free some \
         space"
    )]
    NoSpace { path: PathBuf, needed: f64, free: f64 },
    #[error(
        "image_token_id is {config} in {path}, but <|image_pad|> is token {found} in tokenizer.json: the two files \
         belong to different models"
    )]
    OtherTokenizer { path: PathBuf, config: u32, found: u32 },
    #[error(
        "{key} is {found} in the image processor of {path}, but {config} in config.json: preprocessor_config.json (or \
         processor_config.json) belongs to another model"
    )]
    OtherProcessor { path: PathBuf, key: &'static str, config: usize, found: usize },
    #[error("{path} contains no checkpoint to resume from{REMEDY}training saves them to output_dir every save_steps")]
    NoCheckpoint { path: PathBuf },
    #[error(
        "output_dir is not set, so there is nowhere to look for checkpoints{REMEDY}write `resume FOLDER`, or `resume latest \
         output_dir=FOLDER`"
    )]
    NoCheckpointFolder,
    #[error(
        "{path} contains an adapter without its training state (saved with save_only_model, or by another program){REMEDY}\
         `adapter load` starts a new training from it"
    )]
    NoTrainingState { path: PathBuf },
    #[error("{path} has no tensor `{name}`: the checkpoint is incomplete{REMEDY}resume from an earlier one")]
    MissingState { path: PathBuf, name: String },
    #[error("nothing to undo: this session has not trained this adapter on this data")]
    NothingToUndo,
    #[error("only {made} steps have been made")]
    NotSoManySteps { made: usize },
    #[error(
        "step {step} is not kept: this session can go back to step {first} and later ones{REMEDY}`resume` continues from a \
         checkpoint of an earlier step, if there is one"
    )]
    StepNotKept { step: usize, first: usize },
    #[error(
        "no earlier state of this training is kept: one takes {gigabytes:.1} GB, for which there is too little memory\
         {REMEDY}`resume` continues from a checkpoint, if there is one"
    )]
    StatesTooLarge { gigabytes: f64 },
    #[error("nothing to redo: nothing was undone, or the training has gone on since")]
    NothingToRedo,
    #[error("there was no room to keep what was undone; `train` makes the steps again")]
    NoRoomToRedo,
    #[error("cannot read an earlier state of the training from its temporary file: {0}")]
    EarlierState(std::io::Error),
    #[error("the snapshot belongs to another adapter: it has no tensor `{name}`")]
    OtherSnapshot { name: String },
    #[error("{path} has version {version}, which this tunebook cannot read{REMEDY}use the tunebook that wrote it")]
    StateVersion { path: PathBuf, version: u32 },
    #[error(
        "{path} was made with another model: {name}, {}{REMEDY}load that model first, with the same settings",
        difference::list(.differences)
    )]
    OtherModel { path: PathBuf, name: String, differences: Vec<ModelDifference> },
    #[error(
        "{path} was made with other data: {}{REMEDY}select the same data with `data`, or start over in a new session",
        difference::list(.differences)
    )]
    OtherData { path: PathBuf, differences: Vec<DataDifference> },
    #[error(
        "output_dir is not set, so there is nowhere to save a checkpoint{REMEDY}set it, or write `save FOLDER` to save only \
         the adapter"
    )]
    NoOutputDir,
    #[error(
        "{key} needs evaluations, but no samples are held out: select the data with val_size or eval_dataset, and set \
         eval_strategy to steps or epoch"
    )]
    NothingToEvaluate { key: &'static str },
    #[error("load_best_model_at_end needs checkpoints: set output_dir")]
    BestNeedsOutput,
    #[error("{0}")]
    Other(String),
    #[error(transparent)]
    Schedule(#[from] crate::schedule::ScheduleError),
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    #[error(transparent)]
    Recipe(#[from] crate::recipe::RecipeError),
    #[error(transparent)]
    Model(tunebook_nn::Error),
    #[error(transparent)]
    Dataset(DatasetError),
    #[error(transparent)]
    Choice(#[from] tunebook_data::ChoiceError),
    #[error(transparent)]
    Encode(EncodeError),
    #[error(transparent)]
    Image(tunebook_data::ImageError),
    #[error(transparent)]
    Template(#[from] tunebook_data::TemplateError),
    #[error(transparent)]
    Tokenizer(tunebook_data::TokenizerError),
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        tunebook_nn::Error::from(error).into()
    }
}

impl From<WorkersError> for Error {
    fn from(error: WorkersError) -> Self {
        Self::Workers(Box::new(error))
    }
}

/// A stop is the same wherever it comes.
impl From<tunebook_nn::Error> for Error {
    fn from(error: tunebook_nn::Error) -> Self {
        match error {
            tunebook_nn::Error::Cancelled => Self::Cancelled,
            error => explained(Self::Model(error)),
        }
    }
}

impl From<DatasetError> for Error {
    fn from(error: DatasetError) -> Self {
        match error {
            DatasetError::Cancelled => Self::Cancelled,
            error => explained(Self::Dataset(error)),
        }
    }
}

impl From<EncodeError> for Error {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Cancelled => Self::Cancelled,
            error => Self::Encode(error),
        }
    }
}

impl From<tunebook_data::ImageError> for Error {
    fn from(error: tunebook_data::ImageError) -> Self {
        explained(Self::Image(error))
    }
}

impl From<tunebook_data::TokenizerError> for Error {
    fn from(error: tunebook_data::TokenizerError) -> Self {
        explained(Self::Tokenizer(error))
    }
}

/// How to get out of a training that has diverged.
fn way_back(checkpoint: Option<&Path>) -> String {
    match checkpoint {
        Some(checkpoint) => format!("go back with `resume {}`", checkpoint.display()),
        None => "go back with `undo N`, or create a new adapter with `lora`".to_string(),
    }
}

/// Why there is no sample.
fn why_none(skipped: &[Skipped]) -> String {
    match skipped {
        [] => ": there are none".to_string(),
        [one] => format!(" (the only one was skipped: {})", in_one(|| one.to_string())),
        [first, ..] => format!(" ({} were skipped; the first: {})", skipped.len(), in_one(|| first.to_string())),
    }
}

/// ` (did you mean X?)`, where there is an X.
fn nearest_hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}
