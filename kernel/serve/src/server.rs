//! The server: its socket and its threads.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::Answerer;
use crate::Inbox;
use crate::address::is_loopback;
use crate::address::is_public;
use crate::connection;
use crate::fetch::Fetcher;
use crate::guard::Guard;
use crate::limits::Limits;
use crate::routes;
use crate::routes::App;

/// Most threads that read requests and fetch pictures; they are started when they are needed.
const BLOCKING_THREADS: usize = 16;

/// Where to serve, and for whom. It cannot be printed, lest the key is.
#[derive(Clone)]
pub struct Options {
    pub host: IpAddr,
    /// 0: any free one.
    pub port: u16,
    /// What clients send as `Authorization: Bearer KEY`. None: whoever is on this machine may ask.
    pub api_key: Option<String>,
    /// Whether the server fetches pictures from addresses that clients give.
    pub allow_urls: bool,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Other machines could ask without a key.
    #[error("{host} is open to other machines: an API key is needed")]
    OpenWithoutKey { host: IpAddr },
    /// No client could send the key: it is empty, or has something else than visible ASCII characters.
    #[error("an API key must have visible ASCII characters only")]
    BadKey,
    /// The address is not this machine's, or the port is taken or for administrators only.
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    /// There are no threads for it.
    #[error("cannot start the server's threads: {0}")]
    Threads(io::Error),
}

/// A server, until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    stop: watch::Sender<bool>,
    /// None once it has ended.
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves, on threads of its own, from now on.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(options: Options, answerer: Arc<dyn Answerer>) -> Result<Self, StartError> {
        let limits = Limits::default();
        let fetcher = options.allow_urls.then(|| Fetcher::new(is_public, limits.fetch));
        Self::start_with(options, answerer, limits, fetcher)
    }

    pub(crate) fn start_with(
        options: Options,
        answerer: Arc<dyn Answerer>,
        limits: Limits,
        fetcher: Option<Fetcher>,
    ) -> Result<Self, StartError> {
        let Options { host, port, api_key, .. } = options;
        match &api_key {
            None if !is_loopback(host) => return Err(StartError::OpenWithoutKey { host }),
            Some(key) if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(StartError::BadKey);
            }
            _ => {}
        }
        let address = SocketAddr::new(host, port);
        let (listener, address) = bind(address).map_err(|source| StartError::Bind { address, source })?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let (stop, stopping) = watch::channel(false);
        let app = App::new(answerer, Guard::new(api_key.as_deref(), host), fetcher, limits, stopping);
        let inbox = Arc::clone(&app.inbox);
        let thread = thread::Builder::new().name("serve".into());
        let thread = thread.spawn(move || run(runtime, listener, app)).map_err(StartError::Threads)?;
        Ok(Self { address, inbox, stop, thread: Some(thread) })
    }

    /// Where it listens, with the port that it has got.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it is asked for.
    pub fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Closes the socket, ends with an error what is being answered, and waits for the threads, some seconds at most. Dropping
    /// the server does the same.
    pub fn stop(self) {}
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic in there was told when it happened.
            drop(thread.join());
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn run(runtime: Runtime, listener: TcpListener, app: App) {
    let patience = app.limits.stop;
    let inbox = Arc::clone(&app.inbox);
    // Where this fails, the socket is closed, and clients see that.
    drop(runtime.block_on(serve(listener, app)));
    inbox.clear();
    runtime.shutdown_timeout(patience);
}

/// Takes connections until the server is to stop, and then lets those there are end.
async fn serve(listener: TcpListener, app: App) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = routes::router(app.clone());
    let turns = Arc::new(Semaphore::new(app.limits.connections));
    let mut connections = JoinSet::new();
    let accept = async {
        // The semaphore is never closed.
        while let Ok(turn) = Arc::clone(&turns).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (router, app) = (router.clone(), app.clone());
                    connections.spawn(async move {
                        connection::serve(stream, router, app).await;
                        drop(turn);
                    });
                }
                // A client that left at once, or no file descriptors: the next may have more luck, a little later.
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = accept => {}
        () = app.stopped() => {}
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // Who does not read what it is sent is not waited for: with the runtime its connection ends.
    drop(timeout(app.limits.stop, ended).await);
    Ok(())
}
