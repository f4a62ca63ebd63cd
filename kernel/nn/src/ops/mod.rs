//! Differentiable operations: each a candle `CustomOp` with its backward pass.
//!
//! Activations are f32 and packed without padding: `[T, width]`, where `T` runs over the tokens of all
//! sequences of a batch, and attention heads lie side by side in a row. Frozen weights are captured by
//! the operation and are never an operand, so candle keeps no gradient for them; a backward pass
//! recomputes what it can cheaply recompute instead of keeping it. An operand that needs no gradient
//! (`Tensor::track_op` is false) gets none.

mod attention;
mod backward_from;
mod buffer;
mod cross_entropy;
mod dropout;
mod error;
mod exp;
mod linear;
mod lora_linear;
mod rms_norm;
mod rope;
mod swiglu;
#[cfg(test)]
mod testing;
mod vector;

pub use attention::{Segments, attention};
pub use backward_from::backward_from;
pub use cross_entropy::{Labels, linear_cross_entropy};
pub use dropout::Dropout;
pub use error::OpError;
pub use linear::frozen_linear;
pub use lora_linear::lora_linear;
pub use rms_norm::rms_norm;
pub use rope::{Rotary, rope};
pub use swiglu::swiglu;
