//! The processes of a command, as a group that ends together.
//!
//! A group has the number of its first process, which stays taken until somebody has asked how that has ended. So nobody
//! asks before the last signal is sent: no other program can be hit.

use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;

/// Has what is started be the first of a group.
pub(super) fn of_its_own(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}

/// Whether the first process has ended.
#[cfg(unix)]
pub(super) fn has_ended(child: &mut Child) -> bool {
    use rustix::process::WaitId;
    use rustix::process::WaitIdOptions;
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let found = pid(child).map(|pid| rustix::process::waitid(WaitId::Pid(pid), how));
    !matches!(found, Some(Ok(None)))
}

#[cfg(not(unix))]
pub(super) fn has_ended(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}

/// Asks its processes to end, as Ctrl-C at a terminal does.
#[cfg(unix)]
pub(super) fn interrupt(child: &Child) {
    signal(child, rustix::process::Signal::INT);
}

/// There are no signals: they end at once.
#[cfg(not(unix))]
pub(super) fn interrupt(child: &Child) {
    kill(child);
}

/// Ends its processes.
#[cfg(unix)]
pub(super) fn kill(child: &Child) {
    signal(child, rustix::process::Signal::KILL);
}

/// Ends its processes: the system's own program knows what a process has started.
#[cfg(not(unix))]
pub(super) fn kill(child: &Child) {
    // Where all have ended, it fails.
    let _ = Command::new("taskkill").args(["/T", "/F", "/PID", &child.id().to_string()]).output();
}

#[cfg(unix)]
fn signal(child: &Child, signal: rustix::process::Signal) {
    // A group that is empty needs none.
    pid(child).map(|group| rustix::process::kill_process_group(group, signal).ok());
}

#[cfg(unix)]
fn pid(child: &Child) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(child.id()).ok()?)
}

/// The signal that ended a process.
#[cfg(unix)]
pub(super) fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
pub(super) fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}
