//! The live session as a server that speaks OpenAI's protocol: who waits, who answers, and whose turn it is.
//!
//! The server's threads put requests into an inbox. A thread of its own asks the host for the session whenever something
//! is there; so requests are answered where commands are carried out, and while a training runs, between two of its
//! layers. Whoever comes while others are answered joins their batch. But if a training or another command waits, new
//! requests wait after a second until those before them are answered, and a training then goes on for as long as it has
//! waited: it and the answers have half of the time each.

mod requests;

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::bounded;
use serde::Serialize;
use tunebook_engine::Session;
use tunebook_serve::Answerer;
use tunebook_serve::Gauge;
use tunebook_serve::Inbox;
use tunebook_serve::Options;
use tunebook_serve::Refusal;
use tunebook_serve::Server;
use tunebook_serve::StartError;

use crate::host::Caller;
use crate::host::Snapshot;
use crate::jobs::JobState;
use crate::jobs::Jobs;
use crate::lang::Lang;
use crate::verb::CommandContext;
use requests::FromClients;

/// The server of a host, if it has one.
pub struct Serving {
    caller: Caller,
    snapshot: Arc<RwLock<Snapshot>>,
    jobs: Arc<Jobs>,
    running: Mutex<Option<Running>>,
}

struct Running {
    server: Server,
    needs_key: bool,
}

/// What `serve` shows.
#[derive(Clone, Debug, Serialize)]
pub struct ServeReport {
    pub address: SocketAddr,
    /// Whether requests must bring a key.
    pub needs_key: bool,
    /// The names by which they choose a model.
    pub models: Vec<String>,
}

/// For so long a batch takes new requests in although others wait for the session.
const TURN: Duration = Duration::from_secs(1);
/// The longest that requests wait for a training to go on.
const TRAINING_TURN: Duration = Duration::from_secs(30);

impl Serving {
    pub(crate) fn new(caller: Caller, snapshot: Arc<RwLock<Snapshot>>, jobs: Arc<Jobs>) -> Self {
        Self { caller, snapshot, jobs, running: Mutex::default() }
    }

    /// Starts the server, in place of the one that is there.
    ///
    /// # Errors
    /// The address cannot be had, or others can reach it and there is no key; the system has no thread.
    pub(crate) fn start(
        &self,
        host: IpAddr,
        port: u16,
        api_key: Option<String>,
        allow_urls: bool,
    ) -> Result<(), StartError> {
        // It may have the same port.
        self.stop();
        let (wake, wakes) = bounded(1);
        let known = Known { wake, snapshot: Arc::clone(&self.snapshot), jobs: Arc::clone(&self.jobs) };
        let needs_key = api_key.is_some();
        let server = Server::start(Options { host, port, api_key, allow_urls }, Arc::new(known))?;
        let turns = Turns { inbox: server.inbox(), caller: self.caller.clone(), jobs: Arc::clone(&self.jobs) };
        thread::Builder::new()
            .name("serve".to_string())
            .spawn(move || turns.run(&wakes))
            .map_err(StartError::Threads)?;
        *self.running() = Some(Running { server, needs_key });
        Ok(())
    }

    /// Ends it; answers on their way are not finished. Whether there was one.
    pub(crate) fn stop(&self) -> bool {
        let running = self.running().take();
        running.map(|running| running.server.stop()).is_some()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running().is_some()
    }

    pub(crate) fn report(&self) -> Option<ServeReport> {
        let models = models(&self.snapshot);
        let report = |Running { server, needs_key }: &Running| ServeReport {
            address: server.address(),
            needs_key: *needs_key,
            models,
        };
        self.running().as_ref().map(report)
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the server's threads know of the session.
struct Known {
    wake: Sender<()>,
    snapshot: Arc<RwLock<Snapshot>>,
    jobs: Arc<Jobs>,
}

impl Answerer for Known {
    fn wake(&self) {
        // If it is full, somebody is about to look.
        let _ = self.wake.try_send(());
    }

    fn models(&self) -> Vec<String> {
        models(&self.snapshot)
    }

    fn gauges(&self) -> Vec<Gauge> {
        let job = self.jobs.report(Lang::En);
        let running = job.as_ref().filter(|job| matches!(job.state, JobState::Running | JobState::Stopping));
        let gauge = |name, help, value| Gauge { name, help, value };
        let mut gauges = vec![gauge("training", "Whether a training runs", f64::from(u8::from(running.is_some())))];
        if let Some(job) = &job {
            gauges.push(gauge("training_step", "Optimizer steps of the last training", job.step as f64));
            let loss = job.loss.map(|loss| gauge("training_loss", "Training loss of its last step", loss));
            gauges.extend(loss);
        }
        gauges
    }
}

/// The base model, then every adapter.
fn models(snapshot: &RwLock<Snapshot>) -> Vec<String> {
    let Snapshot { model, adapters, .. } = &*snapshot.read().unwrap_or_else(PoisonError::into_inner);
    let Some(model) = model else { return Vec::new() };
    let adapters = adapters.iter().map(|adapter| adapter.name.clone());
    std::iter::once(model.id()).chain(adapters).collect()
}

/// Gets requests their turn.
struct Turns {
    inbox: Arc<Inbox>,
    caller: Caller,
    jobs: Arc<Jobs>,
}

impl Turns {
    /// Until the server is gone.
    fn run(&self, wakes: &Receiver<()>) {
        // Seeds differ from request to request.
        let count = Arc::new(AtomicUsize::default());
        for () in wakes {
            while !self.inbox.is_empty() {
                let (inbox, count, (told, took)) = (Arc::clone(&self.inbox), Arc::clone(&count), bounded(1));
                self.caller.call(move |session, cx| {
                    let start = Instant::now();
                    answer(session, &inbox, &count, cx);
                    let _ = told.send(start.elapsed());
                });
                // The host is gone.
                let Ok(took) = took.recv() else { return };
                if self.jobs.is_running() {
                    thread::sleep(took.min(TRAINING_TURN));
                }
            }
        }
    }
}

/// Answers what is there, and what joins it.
fn answer(session: &mut Session, inbox: &Inbox, count: &AtomicUsize, cx: &CommandContext) {
    if session.load_report().is_none() {
        while let Some(asked) = inbox.next() {
            asked.reply.refuse(Refusal::NoModel);
        }
        return;
    }
    let start = Instant::now();
    let is_closed = || start.elapsed() > TURN && (cx.is_awaited)();
    // Whoever has asked hears of an error; so does nobody else.
    let _ = session.answer(&mut FromClients::new(inbox, count, &is_closed), &|| false);
}
