//! What this process runs on, for whoever is asked why it is slow or fails there.

use std::env::consts;

use tunebook_nn::instruction_set;

use crate::memory;
use crate::system;

/// The system, the CPU and the memory.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Such as `Debian GNU/Linux 12 (bookworm), Linux 6.1.0`.
    pub system: String,
    /// The model, as the system calls it, or else the architecture.
    pub cpu: String,
    /// What matrix products are computed with.
    pub instruction_set: &'static str,
    /// That this process may use.
    pub cores: usize,
    /// That compute, which RAYON_NUM_THREADS may have made fewer.
    pub threads: usize,
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes that can be had without swapping, and without reaching the limit of a container.
    pub available_memory: Option<u64>,
    /// Whether this build can compute on an NVIDIA GPU.
    pub is_built_with_cuda: bool,
}

impl Machine {
    /// This one.
    pub fn of_this_process() -> Self {
        Self {
            system: system::name(),
            cpu: system::cpu().unwrap_or_else(|| consts::ARCH.to_string()),
            instruction_set: instruction_set(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: rayon::current_num_threads(),
            memory: system::total_memory(),
            available_memory: memory::available_bytes(),
            is_built_with_cuda: cfg!(feature = "cuda"),
        }
    }
}
