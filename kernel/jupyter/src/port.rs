//! A port of the kernel, in front of one of its sockets.
//!
//! Every user of the machine can connect to a port. So the sockets themselves listen in a folder that only their owner
//! may enter, and each connection to the port is passed on to them as long as it keeps to the [`FrameLimit`].

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UnixStream;

use crate::frame_limit::FrameLimit;
use crate::log::log;

/// Bytes that are passed on at once.
const CHUNK: usize = 64 << 10;

/// Opens `port` of `host` in front of a socket that will listen at `place`.
///
/// # Errors
/// The port is taken, or nothing can be made at `place`.
pub(crate) async fn open(host: &str, port: u16, place: PathBuf) -> io::Result<std::os::unix::net::UnixListener> {
    let outside = TcpListener::bind((host, port)).await?;
    let inside = std::os::unix::net::UnixListener::bind(&place)?;
    tokio::spawn(async move {
        loop {
            match outside.accept().await {
                Ok((peer, _)) => drop(tokio::spawn(pass_on(peer, place.clone()))),
                // As when this process has too many files open.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    Ok(inside)
}

/// Passes bytes on in both directions until one side ends or announces a message that is too long.
async fn pass_on(peer: TcpStream, place: PathBuf) -> io::Result<()> {
    peer.set_nodelay(true)?;
    let (mut from_peer, mut to_peer) = peer.into_split();
    let (mut from_socket, mut to_socket) = UnixStream::connect(place).await?.into_split();
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
