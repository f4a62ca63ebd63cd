//! Operations over candle tensors with their backward passes, the models built from them, and its adapters.
//!
//! It knows tensors and checkpoints, and nothing of data sets, sessions or commands: token ids, pixel
//! patches and positions come in, hidden states, losses and gradients come out.

pub mod adapter;
#[cfg_attr(not(unix), path = "no_bus_error.rs")]
mod bus_error;
pub mod checkpoint;
pub mod error;
mod float16;
mod fold_layers;
pub mod frozen;
pub mod gguf;
pub mod gradients;
pub mod layers;
mod mapped_file;
pub mod merge;
pub mod models;
pub mod ops;
pub mod quantize;
mod svd;
pub mod tensor_file;
mod uploaded;
mod weight_files;

pub use checkpoint::Checkpoint;
pub use error::Error;
pub use error::Result;
pub use frozen::FrozenMatrix;
pub use models::VisionLanguageModel;
pub use quantize::QuantizationBit;
pub use tunebook_gemm::Precision;
pub use tunebook_gemm::instruction_set;
pub use weight_files::weight_files;
