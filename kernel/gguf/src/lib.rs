//! GGUF files, the format of llama.cpp and of what is built on it: written tensor by tensor, so that no more than one is in
//! memory.
//!
//! A file is [`Metadata`], a list of [`TensorInfo`], and the tensors' bytes, each at a multiple of 32 bytes. It is
//! little-endian, and of version 3.
//!
//! Source: `docs/gguf.md` of ggml. candle writes such files, too, but only of tensors that are all in memory.

mod metadata;
mod tensor_type;
mod writer;

pub use metadata::Metadata;
pub use metadata::Value;
pub use tensor_type::TensorType;
pub use writer::TensorInfo;
pub use writer::Writer;
pub use writer::size;
