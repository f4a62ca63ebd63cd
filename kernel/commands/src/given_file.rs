//! The file that the program was called with: a script or a recipe.
//!
//! Unlike all other files it may be a pipe, such as `/dev/stdin` or a shell's `<(…)`. It is read on a thread of its
//! own, which a stop leaves behind instead of waiting.

use std::io;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use tunebook_engine::Cancel;
use tunebook_engine::Error;

/// How long a stop waits to be noticed.
const LOOK_UP: Duration = Duration::from_millis(50);

/// The text of a file of any kind.
///
/// # Errors
/// It cannot be read, or is not UTF-8; or reading it was stopped.
pub(crate) fn read_to_string(path: &Path, cancel: &Cancel) -> Result<String, Error> {
    let text = String::from_utf8(read(path, cancel)?);
    text.map_err(|error| Error::Read {
        path: path.to_path_buf(),
        source: io::Error::new(ErrorKind::InvalidData, error),
    })
}

/// The contents of a file of any kind.
///
/// # Errors
/// It cannot be read, or reading it was stopped.
pub fn read(path: &Path, cancel: &Cancel) -> Result<Vec<u8>, Error> {
    let (sender, received) = mpsc::channel();
    let of = path.to_path_buf();
    // The process does not wait for this thread at its end.
    thread::spawn(move || sender.send(std::fs::read(of)));
    loop {
        match received.recv_timeout(LOOK_UP) {
            Ok(read) => return read.map_err(|source| Error::Read { path: path.to_path_buf(), source }),
            Err(RecvTimeoutError::Timeout) if !cancel.is_cancelled() => {}
            Err(_) => return Err(Error::Cancelled),
        }
    }
}
