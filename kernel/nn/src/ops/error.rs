//! What an operation refuses.

use candle_core::DType;

/// A call with operands that do not fit together. It travels as a [`candle_core::Error`].
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    #[error("{op}: `{operand}` is {found:?}, but this operation computes in f32; convert it with to_dtype")]
    DType { op: &'static str, operand: &'static str, found: DType },
    #[error("{op}: `{operand}` has shape {found:?}, expected {expected}")]
    Shape { op: &'static str, operand: &'static str, found: Vec<usize>, expected: String },
    #[error("{op}: `{operand}` must be contiguous and in CPU memory; call contiguous() and to_device() first")]
    Memory { op: &'static str, operand: &'static str },
    #[error("{op}: {problem}")]
    Argument { op: &'static str, problem: String },
}

impl From<OpError> for candle_core::Error {
    fn from(error: OpError) -> Self {
        candle_core::Error::wrap(error)
    }
}
