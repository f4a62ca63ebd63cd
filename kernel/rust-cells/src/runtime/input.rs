//! Standard input of cells: what the user answers, who is asked when a cell reads.
//!
//! Whoever reads a pipe does not say so, but Linux tells of each thread in which system call it waits. Where that cannot be
//! seen, the input is at its end.

use std::io;
use std::io::PipeWriter;
use std::io::Write;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use tunebook_client::Connection;
use tunebook_client::Request;

use super::console;
use super::streams;

/// How often it is looked whether somebody reads.
const POLL: Duration = Duration::from_millis(50);

/// What is written there is read; none while no cell runs, or after the input's end.
static PIPE: Mutex<Option<PipeWriter>> = Mutex::new(None);
/// What was said before it was read.
static ASKED: Mutex<Option<(String, bool)>> = Mutex::new(None);

/// Standard input.
pub(super) struct Input {
    /// Whether it can be seen that somebody reads.
    is_seen: bool,
}

impl Input {
    /// Takes it; it is at its end until a cell begins.
    ///
    /// # Errors
    /// The system refuses, there is no session or no thread.
    pub(super) fn start() -> io::Result<Self> {
        streams::end_input()?;
        let is_seen = waiting::can_be_seen();
        if is_seen {
            let connection = Connection::open().map_err(io::Error::other)?;
            thread::Builder::new().spawn(move || answer(connection))?;
        }
        Ok(Self { is_seen })
    }

    /// What is read from now on is asked for.
    ///
    /// # Errors
    /// There is no pipe.
    pub(super) fn begin_cell(&self) -> io::Result<()> {
        if self.is_seen {
            *lock(&ASKED) = None;
            *lock(&PIPE) = Some(waiting::new_input()?);
        }
        Ok(())
    }

    /// Who still reads is at the end.
    pub(super) fn end_cell(&self) {
        *lock(&PIPE) = None;
    }
}

/// What is read next answers this.
pub(super) fn announce(prompt: String, is_secret: bool) {
    *lock(&ASKED) = Some((prompt, is_secret));
}

/// Asks whenever somebody reads.
fn answer(mut connection: Connection) {
    loop {
        thread::sleep(POLL);
        if lock(&PIPE).is_none() || !waiting::is_awaited() {
            continue;
        }
        // What was printed before it is read first.
        console::hand_over();
        let (prompt, is_secret) = lock(&ASKED).take().unwrap_or_default();
        let asked = connection.call::<Option<String>>(&Request::Input { prompt, is_secret }, &mut |_| {});
        let mut pipe = lock(&PIPE);
        let is_written = match (&mut *pipe, asked) {
            (Some(pipe), Ok(Some(line))) => writeln!(pipe, "{line}").is_ok(),
            _ => false,
        };
        if !is_written {
            *pipe = None;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether somebody waits for standard input.
#[cfg(target_os = "linux")]
mod waiting {
    use std::fs;

    use super::*;

    /// A new pipe in the place of standard input.
    pub(super) fn new_input() -> io::Result<PipeWriter> {
        let (reader, writer) = io::pipe()?;
        rustix::stdio::dup2_stdin(reader)?;
        Ok(writer)
    }

    pub(super) fn can_be_seen() -> bool {
        fs::read_to_string("/proc/thread-self/syscall").is_ok_and(|text| !text.is_empty())
    }

    pub(super) fn is_awaited() -> bool {
        let is_empty = rustix::io::ioctl_fionread(rustix::stdio::stdin()).is_ok_and(|bytes| bytes == 0);
        let mut threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        // One that has ended meanwhile waits no more.
        let waits =
            |thread: fs::DirEntry| fs::read_to_string(thread.path().join("syscall")).is_ok_and(|call| is_read(&call));
        is_empty && threads.any(waits)
    }

    /// Whether a system call, as its number and its arguments, reads standard input.
    pub(super) fn is_read(call: &str) -> bool {
        let mut words = call.split_whitespace();
        let number: Option<libc::c_long> = words.next().and_then(|number| number.parse().ok());
        number.is_some_and(|number| [libc::SYS_read, libc::SYS_readv].contains(&number)) && words.next() == Some("0x0")
    }
}

/// Nothing is seen of it.
#[cfg(not(target_os = "linux"))]
mod waiting {
    use super::*;

    pub(super) fn new_input() -> io::Result<PipeWriter> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn can_be_seen() -> bool {
        false
    }

    pub(super) fn is_awaited() -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_reads_standard_input_is_told_from_others() {
        let read = libc::SYS_read;
        assert!(waiting::is_read(&format!("{read} 0x0 0x7f 0x2000 0x0 0x0 0x0 0x7ffd 0x7f20\n")));
        assert!(!waiting::is_read(&format!("{read} 0x3 0x0 0x2000 0x0 0x0 0x0 0x7ffd 0x7f20\n")));
        assert!(!waiting::is_read("202 0x0 0x80 0x0\n"));
        assert!(!waiting::is_read("running\n") && !waiting::is_read("-1 0x0 0x7f\n") && !waiting::is_read(""));
    }
}
