//! What this process runs on, for whoever is asked why it is slow or fails there.

use std::env::consts;
use std::fs;

use tunebook_nn::instruction_set;

use crate::memory;

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
    /// Bytes, where Linux tells.
    pub memory: Option<u64>,
    /// Bytes that can be had without swapping, and without reaching the limit of a container.
    pub available_memory: Option<u64>,
    /// Whether this build can compute on an NVIDIA GPU.
    pub is_built_with_cuda: bool,
}

impl Machine {
    /// This one.
    pub fn of_this_process() -> Self {
        let value = |file, key| value(&fs::read_to_string(file).ok()?, key);
        Self {
            system: [value("/etc/os-release", "PRETTY_NAME"), Some(kernel())]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", "),
            cpu: value("/proc/cpuinfo", "model name").unwrap_or_else(|| consts::ARCH.to_string()),
            instruction_set: instruction_set(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: rayon::current_num_threads(),
            memory: memory::total_bytes(),
            available_memory: memory::available_bytes(),
            is_built_with_cuda: cfg!(feature = "cuda"),
        }
    }
}

/// The first value of `KEY=VALUE` or `KEY : VALUE`, without quotes.
fn value(text: &str, key: &str) -> Option<String> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(['=', ':']))?;
    Some(rest.trim().trim_matches('"').to_string())
}

#[cfg(unix)]
fn kernel() -> String {
    let name = rustix::system::uname();
    format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
}

#[cfg(not(unix))]
fn kernel() -> String {
    consts::OS.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_as_linux_writes_them() {
        let release = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n";
        assert_eq!(value(release, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        let cpus = "processor\t: 0\nmodel name\t: AMD EPYC 9354\nprocessor\t: 1\nmodel name\t: other\n";
        assert_eq!(value(cpus, "model name").as_deref(), Some("AMD EPYC 9354"));
        assert_eq!(value(cpus, "Model"), None);
    }
}
