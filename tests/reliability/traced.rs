//! A program under ptrace, which is killed at the entry of a system call of our choice. No rights are needed for it but to
//! trace one's own children.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::ptrace::Options;
use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::sys::wait::WaitPidFlag;
use nix::sys::wait::WaitStatus;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::calls::Call;

/// What became of a program.
pub(super) struct Traced {
    /// The names of its calls that changed something in the folder, in their order; the last one was not carried out if it
    /// was killed.
    pub calls: Vec<&'static str>,
    /// None if it was killed.
    pub exit_code: Option<i32>,
}

/// Runs a program to its end, or kills it at the `kill_at`th call (from 1 on) that would change something in `folder`: that
/// call does nothing any more. At the entry of each, `look` can see how the disk is.
pub(super) fn run(mut command: Command, folder: &Path, kill_at: Option<usize>, look: &mut dyn FnMut()) -> Traced {
    // SAFETY: between fork and exec, this makes one system call and allocates nothing.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(io::Error::from)) };
    let main = Pid::from_raw(command.spawn().unwrap().id() as i32);
    // Only this thread's own children: the others are those of other tests.
    let ours = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    waitpid(main, Some(ours)).unwrap();
    let follow = Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK;
    ptrace::setoptions(main, follow | Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL).unwrap();
    go_on(main, None);
    let mut calls = Vec::new();
    loop {
        match waitpid(None, Some(ours)).unwrap() {
            WaitStatus::Exited(process, code) if process == main => return Traced { calls, exit_code: Some(code) },
            WaitStatus::Signaled(process, ..) if process == main => return Traced { calls, exit_code: None },
            WaitStatus::PtraceSyscall(thread) => {
                if let Some(name) = entered(thread).and_then(|call| call.changes(thread, folder)) {
                    look();
                    calls.push(name);
                    if kill_at == Some(calls.len()) {
                        kill(main, Signal::SIGKILL).unwrap();
                        continue;
                    }
                }
                go_on(thread, None);
            }
            // A new thread begins with a stop.
            WaitStatus::PtraceEvent(thread, ..) | WaitStatus::Stopped(thread, Signal::SIGSTOP) => go_on(thread, None),
            WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal)),
            _ => {}
        }
    }
}

/// Up to its next stop.
fn go_on(thread: Pid, signal: Option<Signal>) {
    match ptrace::syscall(thread, signal) {
        // It was killed meanwhile.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("{thread}: {error}"),
    }
}

/// The call that a thread is about to make; none where it comes back from one.
fn entered(thread: Pid) -> Option<Call> {
    let info = ptrace::syscall_info(thread).ok()?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return None;
    }
    // SAFETY: `op` says that it is an entry.
    let entry = unsafe { info.u.entry };
    Some(Call { number: entry.nr as i64, arguments: entry.args })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The call itself is not carried out, and all before it are.
    #[test]
    fn a_program_is_killed_at_the_entry_of_a_call() {
        for at in 1..=4 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().canonicalize().unwrap();
            let mut command = Command::new("mkdir");
            command.args(["/tmp/", "a", "b", "c"]).current_dir(&path).stderr(std::process::Stdio::null());
            let traced = run(command, &path, Some(at), &mut || {});
            assert_eq!(traced.exit_code, if at == 4 { Some(1) } else { None });
            assert_eq!(traced.calls.len(), at.min(3));
            assert_eq!(std::fs::read_dir(&path).unwrap().count(), at - 1);
        }
    }
}
