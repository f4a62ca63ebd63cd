//! The process that cells run in. evcxr starts it and writes a line for every cell: a library, and the function in it.
//!
//! evcxr has a loop of its own for that, in which its lines and the cells' own input and output go through the same pipes.
//! There what is printed is heard when its line ends, evcxr waits for ever for its own line behind a text that has no end,
//! and a cell that reads standard input waits for ever, too, or takes the next cell's line. Here the two are apart: what
//! cells write goes through a [`console`], and standard [`input`] is the user's.

mod console;
mod ending;
mod input;
mod pieces;
mod streams;

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;

use libloading::Library;

use self::console::Console;
use self::input::Input;

/// Begins evcxr's line for a cell.
const RUN: &str = "LOAD_AND_RUN ";
/// What evcxr hears when a cell has ended.
const DONE: &str = "EVCXR_EXECUTION_COMPLETE";
/// What the client crate in a cell is told where to hand over what was written.
const CONSOLE: &str = "tunebook_console";
/// The exit status of a process that could not do what it was asked to.
const FAILED: i32 = 99;

/// A cell: takes the variables of those before it, and gives them with its own.
type Cell = extern "C" fn(*mut c_void) -> *mut c_void;
type TakeConsole = extern "C" fn(extern "C" fn()) -> extern "C" fn();

/// Runs cells until there are no more.
pub(crate) fn run() -> ! {
    let status = match serve() {
        Ok(()) => 0,
        Err(error) => {
            // The user hears it if anybody does.
            let _ = writeln!(io::stderr(), "{error}");
            console::hand_over();
            FAILED
        }
    };
    std::process::exit(status)
}

fn serve() -> io::Result<()> {
    let (orders, mut answers): (File, File) = (streams::input()?, streams::output()?);
    let console = Console::start(answers.try_clone()?)?;
    let input = Input::start()?;
    ending::prepare()?;
    let mut variables = std::ptr::null_mut();
    for order in BufReader::new(orders).lines() {
        let order = order?;
        let (library, function) =
            order.strip_prefix(RUN).and_then(|rest| rest.rsplit_once(' ')).ok_or(io::ErrorKind::InvalidInput)?;
        input.begin_cell()?;
        variables = run_cell(library, function, variables).map_err(io::Error::other)?;
        input.end_cell();
        console.hand_over();
        writeln!(answers, "{DONE}")?;
    }
    Ok(())
}

fn run_cell(library: &str, function: &str, variables: *mut c_void) -> Result<*mut c_void, libloading::Error> {
    // SAFETY: the library is the one that evcxr has compiled for this cell, with a function of that name and type. The client
    // crate, of the same version as this program, is in all but evcxr's first one.
    let (library, variables) = unsafe {
        let library = Library::new(library)?;
        let take_console = library.get::<TakeConsole>(CONSOLE);
        let flush = take_console.ok().map(|take_console| take_console(console::hand_over));
        let variables = library.get::<Cell>(function)?(variables);
        if let Some(flush) = flush {
            flush();
        }
        (library, variables)
    };
    // Variables have destructors in it.
    std::mem::forget(library);
    Ok(variables)
}
