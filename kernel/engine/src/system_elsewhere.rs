//! Stands for `system` where there is no Linux.

use std::env::consts;

use sysinfo::CpuRefreshKind;
use sysinfo::MemoryRefreshKind;
use sysinfo::Process;
use sysinfo::ProcessRefreshKind;
use sysinfo::ProcessesToUpdate;
use sysinfo::RefreshKind;
use sysinfo::System;

/// Such as `Windows 11 Pro`.
pub(crate) fn name() -> String {
    System::long_os_version().unwrap_or_else(|_| consts::OS.to_string())
}

/// The model.
pub(crate) fn cpu() -> Option<String> {
    let mut system = System::new().ok()?;
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    system.cpus().first().map(|cpu| cpu.brand().trim().to_string()).filter(|name| !name.is_empty())
}

/// Memory that can be had without swapping.
pub(crate) fn available_memory() -> Option<u64> {
    Some(memory()?.available_memory()).filter(|bytes| *bytes > 0)
}

/// Memory of the machine.
pub(crate) fn total_memory() -> Option<u64> {
    Some(memory()?.total_memory()).filter(|bytes| *bytes > 0)
}

fn memory() -> Option<System> {
    System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram())).ok()
}

/// Resident memory of this process.
pub fn resident_bytes() -> Option<u64> {
    let process = sysinfo::get_current_pid().ok()?;
    let mut system = System::new().ok()?;
    let memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[process]), false, memory);
    system.process(process).map(Process::memory)
}

/// It is not told.
pub(crate) fn resident_beside_files() -> Option<u64> {
    None
}

/// It is not told.
pub(crate) fn swapped_bytes() -> Option<u64> {
    None
}

/// It is not told: what sysinfo knows counts what is written to a terminal, too.
pub(crate) fn read_bytes() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_more_memory_than_is_free_or_ours() {
        let total = total_memory().unwrap();
        assert!(available_memory().unwrap() < total && resident_bytes().unwrap() < total);
    }
}
