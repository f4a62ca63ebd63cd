//! What workers ask of the system: processes that end together, signals, and enough open files.
//!
//! This is Unix's. Elsewhere no workers are started, so that nothing is asked.

use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::time::Duration;

/// Has a launcher and what it starts be a group of their own: Ctrl-C at a terminal is the session's, which has the workers
/// stop cleanly.
pub(super) fn in_own_group(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}

/// Raises the limit of open files towards `wanted`, as far as that goes.
#[cfg(unix)]
pub(super) fn allow_open_files(wanted: u64) {
    use rustix::process::Resource;
    use rustix::process::Rlimit;
    let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < wanted) {
        let current = maximum.map_or(wanted, |most| most.min(wanted));
        _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum });
    }
}

#[cfg(not(unix))]
pub(super) fn allow_open_files(_: u64) {}

/// Ends a process at once if it is a worker still, and its number not another program's by now.
#[cfg(unix)]
pub(super) fn kill_worker(process: u32) {
    if is_worker(process)
        && let Some(process) = rustix::process::Pid::from_raw(process as i32)
    {
        _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
}

#[cfg(not(unix))]
pub(super) fn kill_worker(_: u32) {}

#[cfg(unix)]
fn is_worker(process: u32) -> bool {
    match std::fs::read(format!("/proc/{process}/cmdline")) {
        Ok(line) => line.split(|byte| *byte == 0).any(|argument| argument == b"worker"),
        // Where there is no such folder.
        Err(_) => !std::path::Path::new("/proc/self").exists(),
    }
}

/// Ends a launcher and what it has started here, which may be there without it; `patience` is what they may take to do so by
/// themselves.
#[cfg(unix)]
pub(super) fn end_group(launcher: &mut Child, patience: Duration) {
    use rustix::process::Signal;
    use std::time::Instant;
    if let Some(group) = rustix::process::Pid::from_raw(launcher.id() as i32)
        && rustix::process::kill_process_group(group, Signal::TERM).is_ok()
    {
        let deadline = Instant::now() + patience;
        while rustix::process::test_kill_process_group(group).is_ok() && Instant::now() < deadline {
            _ = launcher.try_wait();
            std::thread::sleep(super::LOOK);
        }
        _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

#[cfg(not(unix))]
pub(super) fn end_group(_: &mut Child, _: Duration) {}

/// The signal that ended a process.
#[cfg(unix)]
pub(super) fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
pub(super) fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}
