//! The device that a model computes on.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use candle_core::Device;

use crate::error::Error;
use crate::error::Result;
use crate::settings;

/// The device of a setting. What is not said is the first CUDA device, if this build knows CUDA and the machine has one,
/// else the CPU.
///
/// # Errors
/// CUDA is asked for and is not there.
pub(crate) fn open(choice: settings::Device) -> Result<Device> {
    match choice {
        settings::Device::Cpu => Ok(Device::Cpu),
        settings::Device::Auto => Ok(first_cuda_device().unwrap_or(Device::Cpu)),
        settings::Device::Cuda if !cfg!(feature = "cuda") => Err(Error::BuiltWithoutCuda),
        settings::Device::Cuda => {
            first_cuda_device().map_err(|problem| Error::NoCudaDevice { problem: problem.to_string() })
        }
    }
}

/// The device that is the first one for this process.
static FIRST: AtomicUsize = AtomicUsize::new(0);

/// Has this process take the device `place`, counted from 0, or where there are fewer, share one: so each of several
/// processes has its own.
pub(crate) fn prefer(place: usize) {
    FIRST.store(place, Ordering::Relaxed);
}

/// The number of the device that this process takes.
#[cfg(feature = "cuda")]
fn ordinal() -> usize {
    let devices = candle_core::cuda_backend::cudarc::driver::CudaContext::device_count().unwrap_or(1);
    FIRST.load(Ordering::Relaxed) % devices.max(1) as usize
}

#[cfg(not(feature = "cuda"))]
fn ordinal() -> usize {
    FIRST.load(Ordering::Relaxed)
}

/// It has one queue for all threads, not one for each as candle's own choice has: commands run on any of them, and each
/// needs what the ones before it have computed.
fn first_cuda_device() -> candle_core::Result<Device> {
    let device = Device::new_cuda_with_stream(ordinal())?;
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = &device {
        // SAFETY: events order what is in different queues, and there is one.
        unsafe { device.disable_event_tracking() };
    }
    Ok(device)
}

/// What the device calls itself; none is the CPU.
#[cfg(feature = "cuda")]
pub(crate) fn name(device: &Device) -> Option<String> {
    let Device::Cuda(device) = device else { return None };
    device.cuda_stream().context().name().ok()
}

/// What the device calls itself; none is the CPU.
#[cfg(not(feature = "cuda"))]
pub(crate) fn name(_: &Device) -> Option<String> {
    None
}

/// Memory of the device, where it is not the CPU's, that is not in use.
#[cfg(feature = "cuda")]
pub(crate) fn free_bytes(device: &Device) -> Option<u64> {
    let Device::Cuda(device) = device else { return None };
    device.cuda_stream().context().mem_get_info().ok().map(|(free, _)| free as u64)
}

/// Memory of the device, where it is not the CPU's, that is not in use.
#[cfg(not(feature = "cuda"))]
pub(crate) fn free_bytes(_: &Device) -> Option<u64> {
    None
}
