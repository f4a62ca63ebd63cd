//! The connection to the process that holds the session.

use std::env;
use std::io::BufReader;
#[cfg(not(unix))]
use std::net::TcpStream as Stream;
#[cfg(unix)]
use std::os::unix::net::UnixStream as Stream;

use crate::console;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::request::Part;
use crate::request::Request;
use crate::wire;
use crate::wire::Wire;

/// The environment variable with the place of the session's socket: a path, on Windows the address of a port.
pub const SOCKET: &str = "TUNEBOOK_SOCKET";
/// The one with what lets in.
pub const TOKEN: &str = "TUNEBOOK_TOKEN";

/// One connection; calls go one after another.
pub struct Connection(BufReader<Stream>);

impl Connection {
    /// # Errors
    /// There is no session, or it is gone.
    pub fn open() -> Result<Self> {
        let variable = |name| env::var(name).map_err(|_| Error::lost(format!("{name} is not set")));
        let stream = Stream::connect(variable(SOCKET)?).map_err(Error::lost)?;
        let mut connection = Self(BufReader::new(stream));
        connection.exchange::<()>(&Request::Hello { token: variable(TOKEN)? }, &mut |_| {})?;
        Ok(connection)
    }

    /// Asks and waits for the answer; pieces of text are handed to `on_piece` as they come.
    ///
    /// # Errors
    /// The session refuses, was stopped, or is gone.
    pub fn call<T: Wire>(&mut self, request: &Request, on_piece: &mut dyn FnMut(&str)) -> Result<T> {
        console::settle();
        self.exchange(request, on_piece)
    }

    fn exchange<T: Wire>(&mut self, request: &Request, on_piece: &mut dyn FnMut(&str)) -> Result<T> {
        let mut bytes = Vec::new();
        request.put(&mut bytes);
        wire::write_frame(self.0.get_ref(), &bytes).map_err(Error::lost)?;
        let unreadable = || Error::lost("its answer cannot be read");
        loop {
            let frame = wire::read_frame(&mut self.0).map_err(Error::lost)?;
            match wire::whole(&frame).ok_or_else(unreadable)? {
                Part::Piece { text } => on_piece(&text),
                Part::Value { bytes } => return wire::whole(&bytes).ok_or_else(unreadable),
                Part::Refused { message } => return Err(Error::new(Kind::Refused, message)),
                Part::Interrupted { message } => return Err(Error::new(Kind::Interrupted, message)),
                Part::Finished { message } => return Err(Error::new(Kind::Finished, message)),
            }
        }
    }
}
