//! Borrowing the elements of a tensor, and checking that they are what an operation needs.

use std::mem::MaybeUninit;
use std::ops::Deref;

use candle_core::{CpuStorage, DType, Layout, Result, Storage, StorageRef, Tensor};

use super::error::OpError;

/// The two sizes of an f32 matrix.
pub(super) fn matrix(op: &'static str, operand: &'static str, x: &Tensor) -> Result<(usize, usize)> {
    if x.dtype() != DType::F32 {
        return Err(OpError::DType { op, operand, found: x.dtype() }.into());
    }
    match *x.dims() {
        [rows, columns] => Ok((rows, columns)),
        ref dims => {
            Err(OpError::Shape { op, operand, found: dims.to_vec(), expected: "[rows, columns]".into() }.into())
        }
    }
}

/// An error unless `x` is an f32 matrix of exactly this shape.
pub(super) fn expect_shape(
    op: &'static str,
    operand: &'static str,
    x: &Tensor,
    rows: usize,
    columns: usize,
) -> Result<()> {
    if matrix(op, operand, x)? == (rows, columns) {
        return Ok(());
    }
    let expected = format!("{:?}", [rows, columns]);
    Err(OpError::Shape { op, operand, found: x.dims().to_vec(), expected }.into())
}

/// The elements of an operand in a forward pass.
pub(super) fn floats<'a>(
    op: &'static str,
    operand: &'static str,
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<&'a [f32]> {
    slice(storage, layout).ok_or_else(|| OpError::Memory { op, operand }.into())
}

/// The elements of a tensor in a backward pass, without a copy.
pub(super) fn borrow<'a>(
    op: &'static str,
    operand: &'static str,
    x: &'a Tensor,
) -> Result<impl Deref<Target = [f32]> + 'a> {
    let (storage, layout) = x.storage_and_layout();
    StorageRef::try_map(storage, |storage| match storage {
        Storage::Cpu(storage) => slice(storage, layout),
        _ => None,
    })
    .map_err(|_| OpError::Memory { op, operand }.into())
}

/// Makes `buffer` hold `len` elements, which `write` gives it, reusing its memory and without clearing it first.
///
/// # Safety
/// `write` writes every element of its slice.
pub(super) unsafe fn overwrite(buffer: &mut Vec<f32>, len: usize, write: impl FnOnce(&mut [MaybeUninit<f32>])) {
    buffer.clear();
    buffer.reserve(len);
    write(&mut buffer.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is there, and the caller's `write` has written as many elements.
    unsafe { buffer.set_len(len) };
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Option<&'a [f32]> {
    let CpuStorage::F32(values) = storage else { return None };
    let (start, end) = layout.contiguous_offsets()?;
    values.get(start..end)
}
