//! Rust cells as a face sees them: lines go in, messages come out.
//!
//! `RustCells::carry_out` takes any line. Commands go to the host, Rust to a thread that owns evcxr, and both answer
//! with the same messages, so a face draws them alike.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::bounded;
use crossbeam_channel::unbounded;
use tunebook_commands::Host;
use tunebook_commands::Message;
use tunebook_commands::rust;
use tunebook_commands::timing;

use crate::Completions;
use crate::evaluator::Evaluator;
use crate::runtime;
use crate::workplace;
use crate::workplace::Workplace;

/// How long somebody waits for what can stand at the cursor.
const PATIENCE: Duration = Duration::from_secs(3);

/// Has to be the first thing that a program with Rust cells does: if it was started to run cells, or as the compiler's
/// wrapper, it does that and does not come back.
pub fn runtime_hook() {
    if std::env::var_os("EVCXR_IS_RUNTIME").is_some() {
        // SAFETY: this is the first thing that the program does, so that there are no other threads.
        unsafe { std::env::set_var("RUST_BACKTRACE", "0") };
        runtime::run();
    }
    evcxr::runtime_hook();
    // SAFETY: as above.
    unsafe { workplace::choose() };
}

/// Carries out commands and Rust. Nothing is started before the first Rust.
pub struct RustCells {
    host: Arc<Host>,
    jobs: OnceLock<Sender<Job>>,
    state: Arc<State>,
}

/// What is known of the thread that runs cells without asking it.
#[derive(Default)]
struct State {
    is_ready: AtomicBool,
    is_busy: AtomicBool,
    workplace: Workplace,
}

enum Job {
    Run { code: String, messages: Sender<Message> },
    Complete { code: String, cursor: usize, answer: Sender<Completions> },
    Inspect { code: String, cursor: usize, answer: Sender<Option<String>> },
}

impl RustCells {
    pub fn new(host: Arc<Host>) -> Self {
        Self { host, jobs: OnceLock::new(), state: Arc::default() }
    }

    /// Carries out a line of Rust, a block of it, or a command; or lines that are timed.
    pub fn carry_out(self: &Arc<Self>, line: &str) -> Receiver<Message> {
        let cells = Arc::clone(self);
        let carry_out = move |line: &str| cells.carry_out(line);
        if let Some(messages) = timing::carry_out(line, carry_out, self.host.cancel(), self.host.language()) {
            return messages;
        }
        let Some(code) = rust::code(line) else { return self.host.line(line) };
        let (messages, received) = unbounded();
        // A thread that could not be started drops the sender, which the face hears.
        let _ = self.jobs().send(Job::Run { code: code.to_string(), messages });
        received
    }

    /// What can stand at `cursor`, a byte of a line or block: nothing before the first Rust was run, or while some runs.
    /// `None` where it is no Rust.
    pub fn complete(&self, line: &str, cursor: usize) -> Option<Completions> {
        let (code, offset) = placed(line, cursor)?;
        let found = self.ask(|answer| Job::Complete { code: code.to_string(), cursor: cursor - offset, answer });
        let Completions { start, end, candidates } = found.unwrap_or_default();
        Some(Completions { start: start + offset, end: end + offset, candidates })
    }

    /// What is known of the name at `cursor`.
    pub fn inspect(&self, line: &str, cursor: usize) -> Option<String> {
        let (code, offset) = placed(line, cursor)?;
        self.ask(|answer| Job::Inspect { code: code.to_string(), cursor: cursor - offset, answer }).flatten()
    }

    /// Ends a cell that runs, and deletes what Rust has compiled. The process is about to end.
    pub fn close(&self) {
        self.state.workplace.close();
    }

    fn ask<T>(&self, job: impl FnOnce(Sender<T>) -> Job) -> Option<T> {
        if !self.state.is_ready.load(Ordering::SeqCst) || self.state.is_busy.load(Ordering::SeqCst) {
            return None;
        }
        let (answer, received) = bounded(1);
        self.jobs().send(job(answer)).ok()?;
        received.recv_timeout(PATIENCE).ok()
    }

    fn jobs(&self) -> &Sender<Job> {
        self.jobs.get_or_init(|| {
            let (jobs, received) = unbounded();
            let (host, state) = (Arc::clone(&self.host), Arc::clone(&self.state));
            let _ = thread::Builder::new().name("rust".to_string()).spawn(move || serve(&host, &state, &received));
            jobs
        })
    }
}

/// The Rust of a line and where in the line it begins, if the cursor is in it.
fn placed(line: &str, cursor: usize) -> Option<(&str, usize)> {
    let code = rust::code(line)?;
    let offset = code.as_ptr() as usize - line.as_ptr() as usize;
    (offset..=offset + code.len()).contains(&cursor).then_some((code, offset))
}

fn serve(host: &Arc<Host>, state: &State, jobs: &Receiver<Job>) {
    let mut evaluator: Option<Evaluator> = None;
    for job in jobs {
        match job {
            Job::Run { code, messages } => {
                state.is_busy.store(true, Ordering::SeqCst);
                host.cancel().reset();
                let ready = match evaluator.take() {
                    Some(ready) => Ok(ready),
                    None => Evaluator::start(host, &state.workplace, &messages),
                };
                let result = ready.and_then(|ready| evaluator.insert(ready).run(&code, &messages));
                state.is_ready.store(evaluator.is_some(), Ordering::SeqCst);
                state.is_busy.store(false, Ordering::SeqCst);
                let _ = messages.send(Message::Done(result.map_err(Into::into)));
            }
            Job::Complete { code, cursor, answer } => {
                let found = evaluator.as_mut().map(|evaluator| evaluator.complete(&code, cursor));
                let _ = answer.send(found.unwrap_or_default());
            }
            Job::Inspect { code, cursor, answer } => {
                let found = evaluator.as_mut().and_then(|evaluator| evaluator.inspect(&code, cursor));
                let _ = answer.send(found);
            }
        }
    }
}
