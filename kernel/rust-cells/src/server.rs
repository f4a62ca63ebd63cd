//! The socket behind `session()`: a thread a connection, which carries out one call after another.

use std::io;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use tunebook_client::Part;
use tunebook_client::Request;
use tunebook_client::wire;
use tunebook_client::wire::Wire;
use tunebook_commands::Host;

use crate::calls;
use crate::calls::value;
use crate::cell::Cell;
use crate::socket::Socket;
use crate::socket::Stream;

/// The socket.
pub(crate) struct Server {
    socket: Socket,
    token: String,
}

impl Server {
    /// Serves in `folder`, which only its owner may enter, until the process ends; what calls show goes to `cell`.
    ///
    /// # Errors
    /// There is no place for a socket, or no thread.
    pub(crate) fn start(folder: &Path, host: &Arc<Host>, cell: &Arc<Cell>) -> io::Result<Self> {
        let token = uuid::Uuid::new_v4().to_string();
        let (socket, listener) = Socket::open(folder)?;
        let (host, cell, expected) = (Arc::clone(host), Arc::clone(cell), token.clone());
        thread::Builder::new().name("session".to_string()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let (host, cell, expected) = (Arc::clone(&host), Arc::clone(&cell), expected.clone());
                // A connection without a thread is closed, which its cell is told.
                let _ = thread::Builder::new().spawn(move || serve(&stream, &expected, &host, &cell));
            }
        })?;
        Ok(Self { socket, token })
    }

    /// The place that cells connect to.
    pub(crate) fn place(&self) -> &str {
        self.socket.place()
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

/// Carries out calls until the other end is gone.
fn serve(stream: &Stream, token: &str, host: &Host, cell: &Cell) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let send = |part: &Part| {
        let mut bytes = Vec::new();
        part.put(&mut bytes);
        wire::write_frame(stream, &bytes).ok()
    };
    let Request::Hello { token: given } = wire::whole(&wire::read_frame(&mut reader).ok()?)? else { return None };
    if given != token {
        return None;
    }
    send(&Part::Value { bytes: Vec::new() })?;
    loop {
        let request = wire::whole(&wire::read_frame(&mut reader).ok()?)?;
        // A cell that is gone hears no pieces, and no end.
        let on_piece = |text| send(&Part::Piece { text }).unwrap_or_default();
        let answer = match request {
            Request::Print { text, is_error } => {
                cell.print(text, is_error);
                None
            }
            Request::Stderr { line } => {
                cell.stderr(line);
                None
            }
            Request::Failed { panicked } => {
                cell.fail(panicked);
                None
            }
            Request::Input { prompt, is_secret } => Some(value(cell.ask(prompt, is_secret))),
            request => Some(cell.in_call(|| calls::carry_out(request, host, cell, &on_piece))),
        };
        send(&answer.unwrap_or_else(|| value(())))?;
    }
}
