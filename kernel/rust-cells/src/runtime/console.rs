//! Standard output and standard error of cells, handed over to the session as they are written.

use std::fs::File;
use std::io;
use std::io::PipeReader;
use std::io::PipeWriter;
use std::io::Read;
use std::io::Write;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::thread;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::unbounded;
use tunebook_client::Connection;
use tunebook_client::Request;

use super::input;
use super::pieces::MARK;
use super::pieces::Piece;
use super::pieces::Pieces;
use super::streams;

/// How long a process that dies waits for what it has written.
#[cfg(unix)]
const LAST: std::time::Duration = std::time::Duration::from_secs(1);

static CONSOLE: OnceLock<Console> = OnceLock::new();

/// Both streams.
pub(super) struct Console(Mutex<[Stream; 2]>);

struct Stream {
    /// Where a mark is written behind what cells have written.
    end: PipeWriter,
    /// A mark has come to the other end.
    marks: Receiver<()>,
}

impl Console {
    /// Takes the two streams; what is meant for evcxr goes to `evcxr`.
    ///
    /// # Errors
    /// There is no session, no pipe or no thread.
    pub(super) fn start(evcxr: File) -> io::Result<&'static Self> {
        let (output, error) = (stream(Some(evcxr))?, stream(None)?);
        streams::replace_output(&output.end)?;
        streams::replace_error(&error.end)?;
        Ok(CONSOLE.get_or_init(|| Self(Mutex::new([output, error]))))
    }

    /// Waits until the session has heard all that was written so far.
    pub(super) fn hand_over(&self) {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in mark(&mut streams) {
            // Its thread lives as long as the process.
            let _ = stream.marks.recv();
        }
    }
}

/// Writes the mark behind what was written to each; gives those that have taken it.
fn mark(streams: &mut [Stream; 2]) -> Vec<&Stream> {
    let marked = streams.iter_mut().filter_map(|stream| stream.end.write_all(MARK).is_ok().then_some(&*stream));
    marked.collect()
}

/// The same for cells; nothing before there is a console.
pub(super) extern "C" fn hand_over() {
    if let Some(console) = CONSOLE.get() {
        console.hand_over();
    }
}

/// The same for a process that is about to die, in which nobody may be there any more who hands it over.
#[cfg(unix)]
pub(super) fn try_hand_over() {
    if let Some(mut streams) = CONSOLE.get().and_then(|console| console.0.try_lock().ok()) {
        for stream in mark(&mut streams) {
            let _ = stream.marks.recv_timeout(LAST);
        }
    }
}

/// One of them: standard output, where evcxr is to hear its own lines, or standard error.
fn stream(evcxr: Option<File>) -> io::Result<Stream> {
    let (reader, end) = io::pipe()?;
    let (marked, marks) = unbounded();
    let connection = Connection::open().map_err(io::Error::other)?;
    thread::Builder::new().spawn(move || listen(reader, evcxr, connection, &marked))?;
    Ok(Stream { end, marks })
}

fn listen(mut reader: PipeReader, mut evcxr: Option<File>, mut connection: Connection, marked: &Sender<()>) {
    let is_error = evcxr.is_none();
    let mut pieces = Pieces::new(is_error);
    let mut buffer = [0; 1 << 16];
    while let Ok(read @ 1..) = reader.read(&mut buffer) {
        for piece in pieces.split(&buffer[..read]) {
            match piece {
                // A session that is gone hears nothing, and this process goes with it.
                Piece::Text(text) => _ = connection.call::<()>(&Request::Print { text, is_error }, &mut |_| {}),
                Piece::Line(line) => _ = evcxr.as_mut().map(|evcxr| evcxr.write_all(&line)),
                Piece::Asked { prompt, is_secret } => input::announce(prompt, is_secret),
                Piece::Mark => _ = marked.send(()),
            }
        }
    }
}
