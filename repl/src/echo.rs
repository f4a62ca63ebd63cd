//! The terminal's modes: what it writes of keys that are pressed while a command runs, and how it was before.

use rustix::process::getpgrp;
use rustix::stdio::stdin;
use rustix::termios::LocalModes;
use rustix::termios::OptionalActions;
pub(crate) use rustix::termios::Termios as Terminal;
use rustix::termios::tcgetattr;
use rustix::termios::tcgetpgrp;
use rustix::termios::tcsetattr;

/// Until this is dropped, Ctrl-C is not written as `^C`: the cursor is at the right edge, behind a bar, and a bar that has
/// been pushed a line up is not taken away any more.
pub(crate) struct ControlKeysUnwritten {
    /// How the terminal was, if there is one.
    before: Option<Terminal>,
}

impl ControlKeysUnwritten {
    pub(crate) fn new() -> Self {
        let before = tcgetattr(stdin()).ok();
        if let Some(before) = &before {
            let mut now = before.clone();
            now.local_modes.remove(LocalModes::ECHOCTL);
            set(&now);
        }
        Self { before }
    }
}

impl Drop for ControlKeysUnwritten {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            set(before);
        }
    }
}

/// How the terminal is before the program changes anything; none without one.
pub(crate) fn terminal() -> Option<Terminal> {
    tcgetattr(stdin()).ok()
}

/// Gives the terminal back as it was.
pub(crate) fn restore(terminal: &Option<Terminal>) {
    terminal.iter().for_each(set);
}

/// A terminal that refuses looks less tidy and is no worse. One that belongs to another program now, as where a shell runs
/// this one in the background, is left alone: whoever touches it is stopped.
fn set(modes: &Terminal) {
    if tcgetpgrp(stdin()).is_ok_and(|owner| owner == getpgrp()) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, modes);
    }
}
