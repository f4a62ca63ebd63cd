//! Where the kernel's own sockets listen, behind their ports: files in a folder that only their owner may enter.
//!
//! Windows has such sockets, but Rust's libraries do not know them: there it is a port of the loopback device. Who finds it
//! goes round the [`FrameLimit`](crate::frame_limit::FrameLimit), and can do nothing else without the key.

use std::io;
use std::path::Path;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;

#[cfg(not(unix))]
pub(crate) type Listener = std::net::TcpListener;
#[cfg(unix)]
pub(crate) type Listener = std::os::unix::net::UnixListener;

/// Where it listens.
#[cfg(not(unix))]
pub(crate) type Place = std::net::SocketAddr;
#[cfg(unix)]
pub(crate) type Place = std::path::PathBuf;

/// A listener for the socket `name`.
///
/// # Errors
/// Nothing can be made in `folder`.
#[cfg(unix)]
pub(crate) fn listen(folder: &Path, name: &str) -> io::Result<(Listener, Place)> {
    let place = folder.join(name);
    Ok((Listener::bind(&place)?, place))
}

/// A listener.
///
/// # Errors
/// The system has no port left.
#[cfg(not(unix))]
pub(crate) fn listen(_: &Path, _: &str) -> io::Result<(Listener, Place)> {
    let listener = Listener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    let place = listener.local_addr()?;
    Ok((listener, place))
}

/// A connection to a place, in its two directions.
///
/// # Errors
/// Nobody listens there any more.
pub(crate) async fn connect(place: &Place) -> io::Result<(impl AsyncRead + use<>, impl AsyncWrite + use<>)> {
    #[cfg(unix)]
    let stream = tokio::net::UnixStream::connect(place).await?;
    #[cfg(not(unix))]
    let stream = tokio::net::TcpStream::connect(place).await?;
    #[cfg(not(unix))]
    stream.set_nodelay(true)?;
    Ok(stream.into_split())
}
