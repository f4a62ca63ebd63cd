//! What cells have written is handed over before the process ends, however a cell ends it.

use std::io;

#[cfg(unix)]
use super::console;

/// Of a process that a cell has ended by `exit`, or that dies of a signal of its own. Ctrl-C, which a terminal sends to this
/// process as well, ends nothing here: the session decides what it ends.
///
/// # Errors
/// The system refuses.
#[cfg(unix)]
pub(super) fn prepare() -> io::Result<()> {
    // SAFETY: a function that takes and gives nothing.
    if unsafe { libc::atexit(console::hand_over) } != 0 {
        return Err(io::Error::other("no room for what is done at the end"));
    }
    signals::prepare()
}

/// Here it is handed over as it is written, and no later.
#[cfg(not(unix))]
pub(super) fn prepare() -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
mod signals {
    use std::io;
    use std::sync::OnceLock;

    use super::console;

    const SIGNALS: [libc::c_int; 5] = [libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV];

    /// What was done of each before.
    static BEFORE: OnceLock<[libc::sigaction; SIGNALS.len()]> = OnceLock::new();

    pub(super) fn prepare() -> io::Result<()> {
        // SAFETY: zeros are a value of the type.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = dying as *const () as libc::sighandler_t;
        // The stack may be what has come to its end.
        action.sa_flags = libc::SA_ONSTACK;
        let mut before = [action; SIGNALS.len()];
        for (signal, before) in SIGNALS.into_iter().zip(&mut before) {
            // SAFETY: both are valid, and the handler has the type of one.
            if unsafe { libc::sigaction(signal, &raw const action, before) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let _ = BEFORE.set(before);
        action.sa_sigaction = pass as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: as above. Programs that a cell starts are as they would be elsewhere, since no handler is inherited.
        match unsafe { libc::sigaction(libc::SIGINT, &raw const action, std::ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    extern "C" fn pass(_: libc::c_int) {}

    /// The process is lost. What this does a handler should not do, and it waits for nobody who may be held up by it.
    extern "C" fn dying(signal: libc::c_int) {
        console::try_hand_over();
        let before = BEFORE.get().into_iter().flatten().zip(SIGNALS).find(|(_, of)| *of == signal);
        if let Some((before, _)) = before {
            // What has failed is done again when this returns. SAFETY: it is what was there before.
            unsafe { libc::sigaction(signal, before, std::ptr::null_mut()) };
        }
    }
}
