//! Reading the elements of a tensor.

use candle_core::CpuStorage;
use candle_core::Device;
use candle_core::Result;
use candle_core::Storage;
use candle_core::Tensor;

/// Runs `f` over the values of an f32 tensor: in place where they lie in CPU memory and one behind the other, else on a
/// copy.
///
/// # Errors
/// It is of another dtype, or its device fails.
pub(crate) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => Ok(f(&values[start..end])),
        _ => candle_core::bail!("a tensor of {:?} instead of f32", tensor.dtype()),
    }
}
