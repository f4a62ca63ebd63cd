//! Checkpoints: what a training needs to go on as if it had never stopped.
//!
//! A `checkpoint-STEP` folder holds what transformers and PEFT read (the adapter, `trainer_state.json`), and two files
//! of our own: [`STATE`] says where the training stands, with which settings and on which data; [`TENSORS`] has AdamW's
//! moments, and the summed gradients of an open accumulation window. What `freeze` and `full` train is stored in
//! float32 whatever the model's dtype; a whole model is written by `export`, rounded once.
//!
//! What can be derived is not stored. Random numbers follow from the seed and a count; the best evaluation, the
//! patience of early stopping and the learning rate of a plateau follow from the evaluations so far. The model is
//! recognised by a hash of some bytes of each tensor, the data by a hash of its samples.

pub(crate) mod folder;
mod state;

pub(crate) use state::Checkpoint;
pub(crate) use state::DataFingerprint;
pub(crate) use state::Fingerprint;
pub(crate) use state::ModelFingerprint;
pub(crate) use state::Opened;

/// Where the training stands.
pub(crate) const STATE: &str = "training_state.json";
/// AdamW's moments and the gradients of an open accumulation window.
pub(crate) const TENSORS: &str = "optimizer.safetensors";
