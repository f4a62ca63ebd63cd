//! The two files of a checkpoint that `resume` reads beside the adapter.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;
use tunebook_files::replace_file;
use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::tensor_file;

use super::STATE;
use super::TENSORS;
use crate::error::Error;
use crate::error::Result;
use crate::output::Log;
use crate::run_state::RunState;
use crate::training_state::TrainingState;

/// What a checkpoint was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    pub model: ModelFingerprint,
    pub data: DataFingerprint,
    /// The name of the adapter in the session.
    pub adapter: String,
    /// Settings by their names, as they are set.
    pub settings: BTreeMap<String, String>,
}

/// The fingerprint of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFingerprint {
    pub name: String,
    pub parameters: usize,
    /// Precision of matrix products.
    pub dtype: String,
    pub quantized: Option<String>,
    /// A hash of the weights; earlier versions wrote none.
    #[serde(default)]
    pub weights: Option<String>,
}

/// The fingerprint of encoded data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataFingerprint {
    pub names: Vec<String>,
    /// Number of training units; a pack counts as one.
    pub samples: usize,
    pub eval_samples: usize,
    /// A hash of the tokens, labels and images that are trained on, in order.
    pub train: String,
    /// The same of the held-out samples.
    pub eval: String,
}

/// What goes into [`STATE`].
#[derive(Serialize, Deserialize)]
struct State {
    version: u32,
    #[serde(flatten)]
    fingerprint: Fingerprint,
    /// The value in the session: an adapter that began as PiSSA is written with another one.
    lora_alpha: Option<f64>,
    optimizer_step: i32,
    run: RunState,
    log: Log,
}

const VERSION: u32 = 1;

/// A checkpoint whose [`STATE`] was read.
pub(crate) struct Opened {
    folder: PathBuf,
    state: State,
}

impl Opened {
    /// # Errors
    /// The file is missing or damaged, or of another version.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let path = folder.join(STATE);
        let text = tunebook_files::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let json = |source| Error::Json { path: path.clone(), source };
        let Versioned { version } = serde_json::from_slice(&text).map_err(json)?;
        if version != VERSION {
            return Err(Error::StateVersion { path, version });
        }
        Ok(Self { folder: folder.to_path_buf(), state: serde_json::from_slice(&text).map_err(json)? })
    }

    pub(crate) fn fingerprint(&self) -> &Fingerprint {
        &self.state.fingerprint
    }

    /// Reads the rest.
    ///
    /// # Errors
    /// A file is missing or damaged, or belongs to another model.
    pub(crate) fn load(self, net: &VisionLanguageModel) -> Result<Checkpoint> {
        let Self { folder, state: State { lora_alpha, optimizer_step, run, log, .. } } = self;
        let mut adapter = net.load_adapter(&folder)?;
        if let Some(alpha) = lora_alpha {
            adapter.set_lora_alpha(alpha);
        }
        let path = folder.join(TENSORS);
        let tensors = tensor_file::read(&path)?;
        let state = TrainingState::from_tensors(run, optimizer_step, &adapter.vars(), tensors)?;
        let state = state.map_err(|name| Error::MissingState { path, name })?;
        Ok(Checkpoint { adapter, state, log })
    }
}

/// A training that can be resumed.
pub struct Checkpoint {
    pub adapter: Adapter,
    pub state: TrainingState,
    pub log: Log,
}

impl Checkpoint {
    /// Writes [`STATE`] and [`TENSORS`] into a folder.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(
        folder: &Path,
        fingerprint: Fingerprint,
        adapter: &Adapter,
        training: &TrainingState,
        log: &Log,
    ) -> Result<()> {
        tensor_file::write(&folder.join(TENSORS), &[], training.tensors(&adapter.vars())?)?;
        let state = State {
            version: VERSION,
            fingerprint,
            lora_alpha: adapter.config.as_ref().map(|config| config.lora_alpha),
            optimizer_step: training.optimizer.steps(),
            run: training.run.clone(),
            log: log.clone(),
        };
        let path = folder.join(STATE);
        let text = serde_json::to_vec(&state).map_err(|source| Error::Json { path: path.clone(), source })?;
        replace_file(&path, &text).map_err(|source| Error::Write { path, source })
    }
}
