//! What models are made of, whatever their family: linear layers with what an adapter adds to them, norms, the decoder
//! and its positions.

mod decoder;
mod decoder_layer;
mod kv_cache;
mod linear;
mod loader;
mod low_rank;
mod parameter;
pub mod positions;
mod sequences;
mod text_config;
mod text_model;

pub use decoder::CheckpointPlan;
pub use decoder::SavedForward;
pub use decoder_layer::DecoderLayer;
pub use kv_cache::KvCache;
pub use linear::DropoutRun;
pub use linear::ForwardContext;
pub use linear::Linear;
pub(crate) use loader::Loader;
pub use parameter::Matrix;
pub use parameter::Norm;
pub use positions::Positions;
pub use sequences::DecoderSequences;
pub use sequences::Sequences;
pub use text_config::TextConfig;
pub use text_model::TextModel;
