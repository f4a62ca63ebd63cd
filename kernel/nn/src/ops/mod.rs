//! Operations, each with its backward pass beside it: `op(x) -> y` and `op_backward(x, dy) -> dx`.
//!
//! Activations are f32, the widest ones bf16 where products are, and packed without padding: `[T, width]`, where `T` runs
//! over the tokens of all sequences of a batch, and attention heads lie side by side in a row. A layer calls the backward
//! functions itself, in reverse: candle's own backward pass would compute and keep gradients of frozen weights, start each
//! gradient as zeros that it then adds to, and hold every intermediate value. A backward function makes again what is cheap
//! to make again.
//!
//! What is written out here is for CPU memory; tensors that lie elsewhere are left to [`on_device`].

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
mod gelu;
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

pub use add::add;
pub use attention::{Segments, attention, attention_backward};
pub use column_sums::add_bias_gradient;
pub use cross_entropy::{Labels, head_chunk, linear_cross_entropy, linear_cross_entropy_with_gradient};
pub use dora::{add_magnitude_gradient, dora_norms, scale_columns};
pub use dropout::Dropout;
pub use embedding::add_embedding_gradient;
pub use error::OpError;
pub use gelu::{gelu, gelu_backward};
pub use linear::{LowRank, linear, linear_backward, lora_linear, lora_linear_backward};
pub use lora::{add_weight_gradient, lora_down, lora_factor_backward};
pub(crate) use on_device::operand_dtype;
pub use rms_norm::{add_rms_norm_gradient, rms_norm, rms_norm_backward};
pub use rope::{Rotary, rope, rope_backward};
pub use rounded::{rounded, widened};
pub use swiglu::{swiglu, swiglu_backward};
pub use weight::Weight;
