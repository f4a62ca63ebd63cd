//! A worker: it holds the model, and computes what its session asks of it.
//!
//! It has no training of its own. The values of what trains come before each step, the samples with it, and gradients go
//! back, so that a session can undo, branch and change settings without a worker knowing, and loses nothing with it.
//! Between two requests a worker waits at its socket and never within MPI, where waiting takes a core.
//!
//! It ends with its session: when the connection closes, it does too.

mod answers;
mod gradients;
mod inbox;
mod worker;

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tunebook_mpi::Mpi;

use super::error::WorkersError;
use super::host;
use super::invitation::Invitation;
use super::wire;
use super::wire::Hello;
use super::wire::Reply;
use super::wire::Request;
use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;
use crate::lang::Lang;
use inbox::Inbox;
use worker::Worker;

/// How often a worker shows that it lives, and how far it is.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
const PROGRESS: Duration = Duration::from_millis(100);
/// How long a worker may take to leave what it computes when its session is gone.
const GRACE: Duration = Duration::from_secs(2);

/// Works for the session that started this process, to its end. `describe` puts into words what cannot be done, in the
/// session's language.
///
/// # Errors
/// No session has started it; the session cannot be reached.
pub fn serve(describe: &dyn Fn(&Error, Lang) -> String) -> Result<()> {
    let invitation = Invitation::from_environment().ok_or(WorkersError::ByHand)?;
    let lang = if invitation.chinese { Lang::Zh } else { Lang::En };
    let describe = |error: &Error| describe(error, lang);
    let stream = invitation.dial()?;
    let from = stream.try_clone().map_err(WorkersError::Listen)?;
    let session = Arc::new(Connection { stream: Mutex::new(stream) });
    let hello = Hello {
        token: invitation.token.clone(),
        protocol: wire::PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_string(),
        host: host(),
        process: std::process::id(),
        cores: thread::available_parallelism().map_or(1, usize::from),
    };
    session.send(&Reply::Hello(hello), &[])?;
    let mpi = match Mpi::open(invitation.beside.as_deref(), invitation.ranks) {
        Ok(mpi) => mpi,
        Err(error) => {
            let problem = describe(&WorkersError::from(error).into());
            return session.send(&Reply::Failed { problem }, &[]);
        }
    };
    let (sender, requests) = channel();
    let (cancel, progress) = (Cancel::default(), Arc::new(AtomicU32::new(0)));
    listen(from, sender, cancel.clone());
    show_life(Arc::clone(&session), Arc::clone(&progress));
    session.send(&Reply::Joined { rank: mpi.rank(), library: name_of(mpi.version()) }, &[])?;
    let worker = Worker::new(session, Inbox::new(requests), (cancel, progress), mpi);
    worker.serve(&describe)
}

/// `Open MPI v4.1.4`, without what follows of how it was built.
fn name_of(version: &str) -> String {
    let name = version.split(',').next().unwrap_or_default();
    name.replace("Version:", "").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where replies go.
struct Connection {
    stream: Mutex<TcpStream>,
}

impl Connection {
    /// # Errors
    /// The session is gone.
    fn send(&self, reply: &Reply, values: &[f32]) -> Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        wire::write(&mut *stream, reply, values).map_err(|_| Error::Cancelled)
    }
}

/// Hears what the session says, beside what is computed: a cancellation counts at once. When the session is gone, the
/// process ends.
fn listen(mut from: TcpStream, sender: Sender<(Request, Vec<f32>)>, cancel: Cancel) {
    thread::spawn(move || {
        while let Ok((request, values)) = wire::read(&mut from) {
            match request {
                Request::Cancel => cancel.cancel(),
                // The session asks for more only when it has all answers: an earlier cancellation is over.
                Request::Gradients { .. } | Request::Loss { .. } | Request::Answer { .. } => cancel.reset(),
                _ => {}
            }
            if sender.send((request, values)).is_err() {
                break;
            }
        }
        cancel.cancel();
        drop(sender);
        thread::sleep(GRACE);
        std::process::exit(1);
    });
}

/// Shows every now and then that this process lives, and more often how far it is.
fn show_life(session: Arc<Connection>, progress: Arc<AtomicU32>) {
    thread::spawn(move || {
        let (mut told, mut at) = (0, Instant::now());
        loop {
            thread::sleep(PROGRESS);
            let now = progress.load(Ordering::Relaxed);
            if now == told && at.elapsed() < SIGN_OF_LIFE {
                continue;
            }
            (told, at) = (now, Instant::now());
            if session.send(&Reply::Alive { progress: f32::from_bits(now) }, &[]).is_err() {
                return;
            }
        }
    });
}

/// # Errors
/// The socket cannot be set up.
pub(in crate::workers) fn no_delay(stream: &TcpStream) -> io::Result<()> {
    // Small messages go back and forth.
    stream.set_nodelay(true)
}
