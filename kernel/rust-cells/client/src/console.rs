//! Replacements for `println!` and `eprintln!` in cells.
//!
//! evcxr does not tell its host that a cell has panicked or was left by an error through `?`; it has the cell print a
//! line. These macros see that line and tell the host.

use std::fmt::Arguments;

use crate::connection::Connection;
use crate::request::Request;

/// What evcxr has a cell print when it has panicked.
const PANICKED: &str = "EVCXR_PANIC_NOTIFICATION";
/// The same when `?` has passed on an error, which was printed before it to standard error.
const ERROR: &str = "EVCXR_ERROR_OCCURRED";

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
