//! The socket behind `session()`: a thread a connection, which carries out one call after another.

use std::fs;
use std::fs::Permissions;
use std::io;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tunebook_client::Part;
use tunebook_client::Request;
use tunebook_client::wire;
use tunebook_client::wire::Wire;
use tunebook_commands::Host;

use crate::calls;
use crate::cell::Cell;

/// The socket.
pub(crate) struct Server {
    socket: PathBuf,
    token: String,
}

const NAME: &str = "s";

impl Server {
    /// Serves in `folder`, which only its owner may enter, until the process ends; what calls show goes to `cell`.
    ///
    /// # Errors
    /// There is no place for a socket, or no thread.
    pub(crate) fn start(folder: &Path, host: &Arc<Host>, cell: &Arc<Cell>) -> io::Result<Self> {
        let socket = folder.join(NAME);
        let token = uuid::Uuid::new_v4().to_string();
        let listener = UnixListener::bind(&socket)?;
        fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
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

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Another one may be started in the folder.
        let _ = fs::remove_file(&self.socket);
    }
}

/// Carries out calls until the other end is gone.
fn serve(stream: &UnixStream, token: &str, host: &Host, cell: &Cell) -> Option<()> {
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
        let part = cell.in_call(|| calls::carry_out(request, host, cell, &on_piece));
        send(&part)?;
    }
}
