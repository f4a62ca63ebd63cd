//! Signals that ask the program to end: those of `kill` and `docker stop`, of a terminal or SSH session that is closed, and
//! of Slurm before a job's time is up.

use std::io;
use std::sync::Arc;
use std::thread;

use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGTERM;
use signal_hook::consts::SIGUSR1;
use signal_hook::consts::SIGXFSZ;
use signal_hook::iterator::Signals;

/// Calls `asked` at each, on a thread of its own, with the status of the program that it ends, as a shell reports it.
///
/// # Errors
/// The system gives no handler or no thread.
pub(crate) fn listen(mut asked: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    let signals: Vec<_> = [SIGHUP, SIGTERM, SIGUSR1].into_iter().filter(|signal| !is_ignored(*signal)).collect();
    let mut signals = Signals::new(signals)?;
    let listening = move || signals.forever().for_each(|signal| asked(128 + signal));
    thread::Builder::new().name("signals".to_string()).spawn(listening).map(drop)
}

/// Has a write beyond `ulimit -f` or a file system's limit fail as on a full disk, instead of ending the program.
///
/// # Errors
/// The system gives no handler.
pub(crate) fn survive_size_limits() -> io::Result<()> {
    // Unlike a signal that is ignored, one with a handler is as it was in the programs that are started, as for Rust cells.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Whether the program was started with a signal ignored, as by `nohup`.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: sigaction is plain data, and without a new action the call only writes the old one into it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}
