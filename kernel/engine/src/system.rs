//! What Linux tells of itself and of this process; memory in bytes.

/// Such as `Debian GNU/Linux 12 (bookworm), Linux 6.1.0`.
pub(crate) fn name() -> String {
    let kernel = rustix::system::uname();
    let kernel = format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy());
    let release = std::fs::read_to_string("/etc/os-release").ok();
    let distribution = release.and_then(|text| value(&text, "PRETTY_NAME"));
    distribution.into_iter().chain([kernel]).collect::<Vec<_>>().join(", ")
}

/// The model.
pub(crate) fn cpu() -> Option<String> {
    value(&std::fs::read_to_string("/proc/cpuinfo").ok()?, "model name")
}

/// Memory that can be had without swapping.
pub(crate) fn available_memory() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// Memory of the machine.
pub(crate) fn total_memory() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemTotal:")
}

/// Resident memory of this process.
pub fn resident_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// What of it is not a file's.
pub(crate) fn resident_beside_files() -> Option<u64> {
    kilobytes("/proc/self/status", "RssAnon:")
}

/// What of this process lies in the swap file.
pub(crate) fn swapped_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmSwap:")
}

/// What this process has read from the disk so far, mapped files included.
pub(crate) fn read_bytes() -> Option<u64> {
    number("/proc/self/io", "read_bytes:")
}

/// The first value of `KEY=VALUE` or `KEY : VALUE`, without quotes.
fn value(text: &str, key: &str) -> Option<String> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(['=', ':']))?;
    Some(rest.trim().trim_matches('"').to_string())
}

/// A line such as `VmRSS:  1234 kB` of a file of Linux's, in bytes.
fn kilobytes(file: &str, key: &str) -> Option<u64> {
    number(file, key).map(|kilobytes| kilobytes * 1024)
}

fn number(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
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

    #[test]
    fn a_machine_has_more_memory_than_is_free_or_ours() {
        let total = total_memory().unwrap();
        assert!(available_memory().unwrap() < total && resident_bytes().unwrap() < total);
        assert!(resident_beside_files().unwrap() < resident_bytes().unwrap());
    }
}
