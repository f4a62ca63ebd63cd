//! Checkpoints: what a training needs to go on as if it had never stopped.
//!
//! A `checkpoint-STEP` folder holds what transformers and PEFT read (the adapter, `trainer_state.json`), and two files of
//! our own: [`STATE`] says where the training stands, with which settings and on which data; [`TENSORS`] has AdamW's
//! moments, and of an open window the sums of gradients.

pub mod folder;
mod state;

pub use state::Checkpoint;
pub use state::DataMark;
pub use state::Marks;
pub use state::ModelMark;
pub use state::Opened;

/// Where the training stands.
pub const STATE: &str = "training_state.json";
/// AdamW's moments and an open window.
pub const TENSORS: &str = "optimizer.safetensors";
