//! The layers that model families share: linear layers with what an adapter adds to them, norms, the decoder and its
//! positions.
//!
//! A layer's backward pass is written out: it calls the `_backward` operations in reverse order. candle's autograd
//! would give every frozen weight a gradient, start each gradient as zeros that it then adds to (three passes over
//! memory and two allocations each), and hold every intermediate value. Here a layer keeps only the activations that
//! took a matrix product to compute, and gradients of adapters are added straight into the sums of the accumulation
//! window. candle's tensors remain the container.

mod adapter_rows;
mod cached_sequence;
mod decode_weights;
mod decoder;
mod decoder_input;
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
pub mod vision;

pub use adapter_rows::AdapterRows;
pub use cached_sequence::CachedSequence;
pub use decode_weights::DecodeWeights;
pub use decoder::CheckpointPlan;
pub use decoder::DecoderGradients;
pub use decoder::FORWARD;
pub use decoder::SavedForward;
pub use decoder_input::DecoderInput;
pub use decoder_input::DeepStack;
pub use decoder_layer::DecoderLayer;
pub use kv_cache::KvCache;
pub use linear::DropoutRun;
pub use linear::ForwardContext;
pub use linear::Linear;
pub(crate) use loader::Loader;
pub use parameter::Matrix;
pub use parameter::Norm;
pub(crate) use parameter::Vector;
pub use positions::Positions;
pub use sequences::AttentionInputs;
pub use sequences::DecoderSequences;
pub use sequences::Sequences;
pub use text_config::TextConfig;
pub use text_model::TextModel;
