//! What a cell prints.
//!
//! The process that cells run in hands over what they write to standard output and standard error, and when it has handed
//! over all, [`settle`] returns. The standard library keeps text back until its line ends; `print!` of cells does not.
//!
//! evcxr does not tell its host that a cell has panicked or was left by an error through `?`; it has the cell print a
//! line, after the error itself. `println!` of cells sees that line and tells the host, and `eprintln!` tells it a text as a
//! whole, which may be that error.

use std::fmt::Arguments;
use std::io::Write;
use std::sync::OnceLock;

use crate::connection::Connection;
use crate::request::Request;

/// What evcxr has a cell print when it has panicked.
const PANICKED: &str = "EVCXR_PANIC_NOTIFICATION";
/// The same when `?` has passed on an error, which was printed before it to standard error.
const ERROR: &str = "EVCXR_ERROR_OCCURRED";

/// Has what was written so far handed over.
static HAND_OVER: OnceLock<extern "C" fn()> = OnceLock::new();

/// Called by the process that cells run in, by this name, with what hands over the text that was written; gives what
/// writes the text that the standard library of this cell keeps back. Every cell has a standard library of its own.
#[unsafe(no_mangle)]
pub extern "C" fn tunebook_console(hand_over: extern "C" fn()) -> extern "C" fn() {
    let _ = HAND_OVER.set(hand_over);
    flush
}

extern "C" fn flush() {
    // Who has closed standard output does not want to be heard.
    let _ = std::io::stdout().flush();
}

/// Waits until all that was written has been heard, so that what comes of a call stands behind it.
pub(crate) fn settle() {
    flush();
    if let Some(hand_over) = HAND_OVER.get() {
        hand_over();
    }
}

/// The standard macro; what it prints appears at once.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => { $crate::print_text(::std::format_args!($($text)*)) };
}

/// The standard macro, by way of the session.
#[macro_export]
macro_rules! println {
    () => { $crate::print_line(::std::format_args!("")) };
    ($($text:tt)*) => { $crate::print_line(::std::format_args!($($text)*)) };
}

/// The standard macro, by way of the session.
#[macro_export]
macro_rules! eprintln {
    () => { $crate::eprint_line(::std::format_args!("")) };
    ($($text:tt)*) => { $crate::eprint_line(::std::format_args!($($text)*)) };
}

#[expect(clippy::print_stdout, reason = "it is what a cell has called")]
pub fn print_text(text: Arguments) {
    std::print!("{text}");
    flush();
}

#[expect(clippy::print_stdout, reason = "it is what a cell has called")]
pub fn print_line(line: Arguments) {
    let line = line.to_string();
    if line == PANICKED || line == ERROR {
        tell(&Request::Failed { panicked: line == PANICKED });
    }
    std::println!("{line}");
}

#[expect(clippy::print_stderr, reason = "it is what a cell has called")]
pub fn eprint_line(line: Arguments) {
    if !tell(&Request::Stderr { line: line.to_string() }) {
        std::eprintln!("{line}");
    }
}

/// Whether somebody has heard it.
fn tell(request: &Request) -> bool {
    Connection::open().and_then(|mut connection| connection.call::<()>(request, &mut |_| {})).is_ok()
}
