//! The kernel as a whole: its sockets, its tasks and what they share.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde_json::Value;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tunebook_commands::Host;
use tunebook_commands::Lang;
use tunebook_commands::Message;
use tunebook_rust_cells::RustCells;

use crate::background::Background;
use crate::control;
use crate::end::orphaned;
use crate::end::terminated;
use crate::end::terminated_again;
use crate::error::Error;
use crate::error::Result;
use crate::execute::Executor;
use crate::history::History;
use crate::iopub;
use crate::iopub::IoPub;
use crate::shell;
use crate::stdin::Stdin;
use crate::widgets::Widgets;
use crate::wire::Address;
use crate::wire::KernelSockets;
use crate::wire::Origin;
use crate::wire::Outgoing;
use crate::wire::Sender;

/// How long a stopped training may take to write its checkpoint before the process ends: Jupyter's servers kill a kernel
/// after five seconds.
const CHECKPOINT: Duration = Duration::from_secs(4);
/// How long the sockets may take to send what is left, at the end.
const LINGER: Duration = Duration::from_millis(100);

/// Serves until a client requests shutdown, at first in the language of the environment.
///
/// # Errors
/// The connection file cannot be used, a port is taken.
pub fn serve(connection_file: &Path, history: Option<&Path>) -> Result<()> {
    let address = Address::read(connection_file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(Error::Start)?.block_on(run(&address, history, Lang::from_environment()))
}

/// State that the tasks share.
pub(crate) struct Kernel {
    pub host: Arc<Host>,
    pub rust: Arc<RustCells>,
    pub iopub: IoPub,
    pub history: Mutex<History>,
    pub background: Background,
    pub widgets: Widgets,
    interrupted: AtomicBool,
}

impl Kernel {
    /// What was asked beside cells has been answered. Clients show the last state that they have heard of, whoever was busy,
    /// so they hear again of a cell that runs.
    pub(crate) fn idle_beside_cell(&self, origin: &Origin) {
        self.iopub.idle(origin);
        self.background.tell_cell(|cell| self.iopub.busy(cell));
    }

    /// Stops the running command at its next safe point, and with it the cell.
    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::SeqCst);
        self.host.cancel().cancel();
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst)
    }

    /// Forgets an interrupt, before the next cell.
    pub(crate) fn forget_interrupt(&self) {
        self.interrupted.store(false, Ordering::SeqCst);
    }

    pub(crate) fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends replies from any thread.
#[derive(Clone)]
pub(crate) struct Replies(mpsc::UnboundedSender<Outgoing>);

impl Replies {
    pub(crate) fn send(&self, origin: &Origin, kind: &'static str, content: Value) {
        // The writer lives as long as the process.
        let _ = self.0.send(Outgoing::new(Some(origin.clone()), kind, content));
    }
}

/// The same, on the runtime of the caller.
pub(crate) async fn run(address: &Address, history: Option<&Path>, lang: Lang) -> Result<()> {
    let sockets = KernelSockets::bind(address).await?;
    let (iopub, published) = IoPub::new();
    let host = Arc::new(Host::start(lang).map_err(Error::Start)?);
    let kernel = Arc::new(Kernel {
        rust: Arc::new(RustCells::new(Arc::clone(&host))),
        host,
        iopub,
        history: Mutex::new(History::open(history)),
        background: Background::default(),
        widgets: Widgets::default(),
        interrupted: AtomicBool::new(false),
    });
    let mut heartbeat = sockets.heartbeat;
    tokio::spawn(async move {
        loop {
            if heartbeat.beat().await.is_err() {
                pause().await;
            }
        }
    });
    tokio::spawn(iopub::write(sockets.iopub, published));
    let (stdin_reader, stdin_writer) = sockets.stdin;
    let stdin = Stdin::start(stdin_reader, replies(stdin_writer));
    let (shell_reader, shell_writer) = sockets.shell;
    let shell_replies = replies(shell_writer);
    let executor = Executor::start(Arc::clone(&kernel), shell_replies.clone(), stdin).map_err(Error::Start)?;
    tokio::spawn(shell::serve(shell_reader, shell_replies, Arc::clone(&kernel), executor));
    tokio::spawn(interrupt_on_signal(Arc::clone(&kernel)));
    let (control_reader, control_writer) = sockets.control;
    let asked = tokio::select! {
        () = control::serve(control_reader, replies(control_writer), &kernel) => true,
        () = orphaned() => false,
        () = terminated() => false,
    };
    // What trains stops.
    kernel.interrupt();
    if asked {
        // A client that asked for the end waits some seconds for it, in which a checkpoint can be completed.
        let _ = tokio::time::timeout(CHECKPOINT, done(kernel.host.close())).await;
    } else {
        // Nobody has decided to give up what was trained. A second signal ends it at once.
        tokio::select! {
            () = done(kernel.host.end()) => {}
            () = terminated_again() => {}
        }
    }
    kernel.rust.close();
    tokio::time::sleep(LINGER).await;
    Ok(())
}

/// Waits until a request is done. The process does not wait for this thread at its end.
async fn done(messages: Receiver<Message>) {
    let (sender, is_done) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ends_with_this_thread = sender;
        messages.into_iter().find(|message| matches!(message, Message::Done(_)));
    });
    let _ = is_done.await;
}

/// The writer of a socket's replies.
fn replies<S: zeromq::SocketSend + Send + 'static>(mut socket: Sender<S>) -> Replies {
    let (sender, mut messages) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = messages.recv().await {
            // A client that went away is no reason to stop.
            let _ = socket.send(message).await;
        }
    });
    Replies(sender)
}

/// `jupyter console` and process managers send SIGINT.
async fn interrupt_on_signal(kernel: Arc<Kernel>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        kernel.interrupt();
    }
}

/// Pause after an error, so that a socket that fails again and again does not occupy a core.
pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// The content of a reply that says what was wrong with its request.
pub(crate) fn refusal(problem: &str) -> Value {
    json!({"status": "error", "ename": "InvalidRequest", "evalue": problem, "traceback": [problem]})
}
