//! The sum of gradients that lie on GPUs: by NCCL, from one to the other, where it is installed. It has not been run on a
//! GPU yet.

use std::ffi::c_void;

use candle_core::CudaStorage;
use candle_core::Device;
use candle_core::Storage;
use candle_core::Tensor;
use candle_core::cuda_backend::CudaStorageSlice;
use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use tunebook_mpi::Mpi;
use tunebook_mpi::Nccl;
use tunebook_mpi::NcclId;
use tunebook_mpi::NcclLibrary;

use super::error::WorkersError;
use super::wire;
use crate::error::Result;

/// What NCCL is to this worker.
pub(super) enum DeviceSum {
    Nccl(Nccl),
    /// Rank 0 has no NCCL: MPI sums, in the memory of the host.
    OverMpi,
}

impl DeviceSum {
    /// All ranks agree upon it, by what rank 0 finds.
    ///
    /// # Errors
    /// NCCL is not there on another rank, or does not get the ranks together.
    pub(super) fn join(mpi: &Mpi) -> Result<Self> {
        let library = NcclLibrary::open();
        let mut id = NcclId([0; 128]);
        if let (0, Some(library)) = (mpi.rank(), library) {
            id = library.new_id().map_err(WorkersError::from)?;
        }
        let mut values = wire::values_of(&id.0);
        mpi.broadcast(&mut values).map_err(WorkersError::from)?;
        id.0.copy_from_slice(wire::bytes_of(&values, size_of::<NcclId>()));
        if id.0 == [0; 128] {
            return Ok(Self::OverMpi);
        }
        let library = library.ok_or(WorkersError::NoNccl)?;
        let nccl = library.join(mpi.rank(), mpi.size(), id).map_err(WorkersError::from)?;
        Ok(Self::Nccl(nccl))
    }
}

/// Sums tensors of all ranks, end to end, and gives the values at rank 0, and none elsewhere.
///
/// # Errors
/// NCCL or the device fails.
pub(super) fn sum(nccl: &Nccl, parts: &[Tensor], rank: usize) -> Result<Vec<f32>> {
    let all = Tensor::cat(parts, 0)?;
    let summed = with_address(&all, |address, stream| {
        // SAFETY: the tensor was made here, of so many values, and is read only after the stream has got there: reading it
        // is put behind the sum in the same stream.
        unsafe { nccl.sum(address, all.elem_count(), stream) }
    });
    summed?.map_err(WorkersError::from)?;
    Ok(if rank == 0 { all.to_vec1::<f32>()? } else { Vec::new() })
}

/// Calls `f` with the address of a tensor of f32 on a GPU, and the stream in which it is computed.
fn with_address<R>(tensor: &Tensor, f: impl FnOnce(u64, *mut c_void) -> R) -> candle_core::Result<R> {
    let (storage, _) = tensor.storage_and_layout();
    match (tensor.device(), &*storage) {
        (Device::Cuda(device), Storage::Cuda(CudaStorage { slice: CudaStorageSlice::F32(values), .. })) => {
            let stream = device.cuda_stream();
            let (address, _guard) = values.device_ptr(&stream);
            Ok(f(address, stream.cu_stream().cast()))
        }
        _ => candle_core::bail!("f32 on a GPU is expected"),
    }
}
