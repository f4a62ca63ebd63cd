//! The socket's place: a file that only its owner may use. Rust's standard library has no such sockets on Windows, where it
//! is a port of the loopback device, and the token alone keeps others out.

use std::io;
#[cfg(not(unix))]
use std::net::TcpListener as Listener;
#[cfg(not(unix))]
pub(crate) use std::net::TcpStream as Stream;
#[cfg(unix)]
use std::os::unix::net::UnixListener as Listener;
#[cfg(unix)]
pub(crate) use std::os::unix::net::UnixStream as Stream;
use std::path::Path;

/// Goes with this value.
pub(crate) struct Socket(String);

impl Socket {
    /// A socket in `folder`.
    ///
    /// # Errors
    /// There is no place for it.
    #[cfg(unix)]
    pub(crate) fn open(folder: &Path) -> io::Result<(Self, Listener)> {
        use std::fs::Permissions;
        use std::os::unix::fs::PermissionsExt;
        // Short, since the path of a socket has room for about 100 bytes.
        let place = folder.join("s");
        let text = place.to_str().ok_or(io::ErrorKind::InvalidFilename)?.to_string();
        let listener = Listener::bind(&place)?;
        std::fs::set_permissions(&place, Permissions::from_mode(0o600))?;
        Ok((Self(text), listener))
    }

    /// A port.
    ///
    /// # Errors
    /// The system has none left.
    #[cfg(not(unix))]
    pub(crate) fn open(_: &Path) -> io::Result<(Self, Listener)> {
        let listener = Listener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        Ok((Self(listener.local_addr()?.to_string()), listener))
    }

    /// A path, or an address.
    pub(crate) fn place(&self) -> &str {
        &self.0
    }
}

#[cfg(unix)]
impl Drop for Socket {
    fn drop(&mut self) {
        // Another one may be opened in the folder.
        let _ = std::fs::remove_file(&self.0);
    }
}
