//! A port of the kernel, in front of one of its sockets.
//!
//! Every user of the machine can connect to a port of TCP, and a client of the kernel's own user can be at fault. So the
//! sockets themselves listen [inside], and each connection to the port is passed on to them as long as it
//! keeps to the [`FrameLimit`].

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use crate::frame_limit::FrameLimit;
use crate::inside;
use crate::log::log;

/// Bytes that are passed on at once.
const CHUNK: usize = 64 << 10;

/// A port as a connection file names it.
pub(crate) enum Port<'a> {
    Tcp(&'a str, u16),
    /// The file of a socket.
    Ipc(PathBuf),
}

enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Ipc(UnixListener),
}

/// The two directions of a connection.
type Peer = (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>);

impl Listener {
    async fn bind(port: Port<'_>) -> io::Result<Self> {
        Ok(match port {
            Port::Tcp(host, port) => Self::Tcp(TcpListener::bind((host, port)).await?),
            #[cfg(unix)]
            Port::Ipc(place) => Self::Ipc(UnixListener::bind(place)?),
            #[cfg(not(unix))]
            Port::Ipc(place) => {
                let problem = format!("{} is no place for one here: only the transport tcp is", place.display());
                return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
            }
        })
    }

    async fn accept(&self) -> io::Result<Peer> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (peer, _) = listener.accept().await?;
                peer.set_nodelay(true)?;
                let (from_peer, to_peer) = peer.into_split();
                (Box::new(from_peer), Box::new(to_peer))
            }
            #[cfg(unix)]
            Self::Ipc(listener) => {
                let (from_peer, to_peer) = listener.accept().await?.0.into_split();
                (Box::new(from_peer), Box::new(to_peer))
            }
        })
    }
}

/// Opens a port in front of a socket, which is to listen behind it, under `name` in `folder`.
///
/// # Errors
/// The port is taken, or nothing can be made in `folder`.
pub(crate) async fn open(port: Port<'_>, folder: &Path, name: &str) -> io::Result<inside::Listener> {
    let outside = Listener::bind(port).await?;
    let (inside, place) = inside::listen(folder, name)?;
    tokio::spawn(async move {
        loop {
            match outside.accept().await {
                Ok(peer) => drop(tokio::spawn(pass_on(peer, place.clone()))),
                // As when this process has too many files open.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    Ok(inside)
}

/// Passes bytes on in both directions until one side ends or announces a message that is too long.
async fn pass_on((mut from_peer, mut to_peer): Peer, place: inside::Place) -> io::Result<()> {
    let (mut from_socket, mut to_socket) = inside::connect(&place).await?;
    let requests = async {
        let (mut limit, mut chunk) = (FrameLimit::new(), vec![0; CHUNK]);
        loop {
            let bytes = match from_peer.read(&mut chunk).await? {
                0 => return Ok(()),
                length => &chunk[..length],
            };
            if limit.follow(bytes).is_err() {
                log("a connection was closed: it announced a message of more than 64 MiB");
                return Ok(());
            }
            to_socket.write_all(bytes).await?;
        }
    };
    tokio::select! {
        ended = requests => ended,
        ended = tokio::io::copy(&mut from_socket, &mut to_peer) => ended.map(drop),
    }
}
