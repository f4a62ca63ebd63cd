//! One connection, from its first request to its last.

use std::pin::pin;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

use crate::routes::App;

/// Most bytes of a request's head.
const HEAD: usize = 64 << 10;

/// Serves a connection until the client leaves, lets the server wait for too long, or the server is to stop; then what is
/// being answered ends with an error.
pub(crate) async fn serve(stream: TcpStream, router: Router, app: App) {
    // Pieces of an answer are small, and each is to be there at once.
    drop(stream.set_nodelay(true));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(app.limits.write));
    let mut settings = http1::Builder::new();
    settings.timer(TokioTimer::new()).header_read_timeout(app.limits.head).max_buf_size(HEAD);
    // The stream is pinned where it stays, for its timer.
    let connection = settings.serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // That a client leaves in the middle is its own affair.
    tokio::select! {
        ended = connection.as_mut() => drop(ended),
        () = app.stopped() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}
