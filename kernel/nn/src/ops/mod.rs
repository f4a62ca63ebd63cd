//! Operations, each with its backward pass beside it: `op(x) -> y` and `op_backward(x, dy) -> dx`.
//!
//! Activations are packed without padding: `[T, width]`, where `T` runs over the tokens of all sequences of a batch,
//! and attention heads lie side by side in a row. A layer calls the backward functions itself, in reverse: candle's own
//! backward pass would compute and keep gradients of frozen weights, start each gradient as zeros that it then adds to,
//! and hold every intermediate value. A backward function recomputes what is cheap to recompute.
//!
//! # Precision
//!
//! Under bf16, matmuls round both operands to bf16 as they pack them and sum in f32. Norms, softmax, the residual
//! stream and LoRA's A and B are f32, so there is one dtype between operations and no conversion. The exception is the
//! width of the feed-forward: gate, up, their product and the gradients of these three are written and read as bf16
//! ([`mod@linear`]'s `dtype`, [`mod@swiglu`]). Those are the widest values, two thirds of what a layer saves for its backward
//! pass, and most of what passes through memory between matmuls. Three of the six matrices would be rounded to bf16 as
//! matmul operands in any case, so only the other three lose precision.
//!
//! # CPU and device
//!
//! Each operation is written twice: for slices in CPU memory, fused and in place, and in [`on_device`] as formulas over
//! candle's operations, which have CUDA kernels. Where the operand lies decides which of them runs. The formulas run on
//! CPU tensors, too, so that tests compute every operation both ways and compare.

mod activation;
mod add;
mod attention;
mod buffer;
mod column_sums;
mod cross_entropy;
mod dora;
mod dropout;
mod embedding;
mod error;
mod exp;
mod layer_norm;
mod linear;
mod lora;
mod on_device;
mod rms_norm;
mod rope;
mod rounded;
mod swiglu;
#[cfg(test)]
pub(crate) mod testing;
mod vector;
mod weight;

pub use activation::Activation;
pub use add::add;
pub use attention::{CachedKeys, Segments, attention, attention_backward, cached_attention};
pub use column_sums::add_bias_gradient;
pub use cross_entropy::{
    Labels, TokenScore, head_chunk, linear_cross_entropy, linear_cross_entropy_with_gradient, token_score, token_scores,
};
pub use dora::{add_magnitude_gradient, dora_norms, scale_columns};
pub use dropout::Dropout;
pub use embedding::add_embedding_gradient;
pub use error::OpError;
pub use layer_norm::{add_layer_norm_gradient, layer_norm, layer_norm_backward};
pub use linear::{LowRank, linear, linear_backward, lora_linear, lora_linear_backward};
pub use lora::{add_weight_gradient, lora_down, lora_factor_backward};
pub(crate) use on_device::operand_dtype;
pub use rms_norm::{add_rms_norm_gradient, rms_norm, rms_norm_backward};
pub use rope::{Rotary, rope, rope_backward};
pub use rounded::{rounded, widened};
pub use swiglu::{swiglu, swiglu_backward};
pub use weight::Weight;
