//! What stands in for `println!` and `eprintln!` in cells. A cell that has panicked, or that an error has left by `?`, says
//! so in a line on its standard output which nobody but evcxr sees; here the host is told as well.

use crate::connection::Connection;
use crate::request::Request;

/// What evcxr has a cell print when it has panicked.
const PANICKED: &str = "EVCXR_PANIC_NOTIFICATION";
/// The same when `?` has passed on an error, which was printed before it to standard error.
const ERROR: &str = "EVCXR_ERROR_OCCURRED";

/// The standard macro, by way of the session.
#[macro_export]
macro_rules! println {
    () => { $crate::print_line("".to_string()) };
    ($($text:tt)*) => { $crate::print_line(::std::format!($($text)*)) };
}

/// The standard macro, by way of the session.
#[macro_export]
macro_rules! eprintln {
    () => { $crate::eprint_line("".to_string()) };
    ($($text:tt)*) => { $crate::eprint_line(::std::format!($($text)*)) };
}

pub fn print_line(line: String) {
    if line == PANICKED || line == ERROR {
        tell(&Request::Failed { panicked: line == PANICKED });
    }
    std::println!("{line}");
}

pub fn eprint_line(line: String) {
    if !tell(&Request::Stderr { line: line.clone() }) {
        std::eprintln!("{line}");
    }
}

/// Whether somebody has heard it.
fn tell(request: &Request) -> bool {
    Connection::open().and_then(|mut connection| connection.call::<()>(request, &mut |_| {})).is_ok()
}
