//! What all panels of a session share.

use std::collections::BTreeMap;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Receiver;
use serde_json::Value;
use serde_json::json;
use tunebook_commands::Event;
use tunebook_commands::Host;
use tunebook_commands::Lang;
use tunebook_commands::Localize;
use tunebook_commands::Message;
use tunebook_commands::Seen;
use tunebook_commands::estimate;
use tunebook_engine::report::Exchange;

use crate::gallery::Losses;
use crate::recorded::History;
use crate::state;

/// Carries out a line, a command or Rust.
pub type CarryOut = Box<dyn Fn(&str) -> Receiver<Message> + Send + Sync>;
/// Sends a message to a page; whether that is still there.
pub type Tell = Arc<dyn Fn(&Value) -> bool + Send + Sync>;

/// Between two reports of how far a step is.
const MICRO_BATCH: Duration = Duration::from_millis(100);
/// Where pictures go that are dropped on a page, below the folder that the session runs in.
const PICTURES: &str = "panel-pictures";

/// The panels of a session.
pub struct Panel {
    pub(crate) host: Arc<Host>,
    pub(crate) carry_out: CarryOut,
    /// The losses that were measured last, by split and sample.
    losses: Mutex<Losses>,
    history: Mutex<History>,
    pages: Mutex<Pages>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Pages {
    open: BTreeMap<usize, Tell>,
    opened: usize,
}

/// What pages were told.
#[derive(Default)]
struct Known {
    /// How many steps the curve of each adapter has.
    steps: BTreeMap<String, usize>,
    conversation: Vec<Exchange>,
    lang: Lang,
    /// The step that ends the training of each adapter that was trained here.
    totals: BTreeMap<String, usize>,
}

impl Panel {
    /// The panels of a host, which watch it from now on.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn new(host: Arc<Host>, carry_out: CarryOut) -> io::Result<Arc<Self>> {
        let seen = host.watch();
        let panel = Arc::new(Self {
            host,
            carry_out,
            losses: Mutex::default(),
            history: Mutex::default(),
            pages: Mutex::default(),
            known: Mutex::default(),
        });
        let watching = Arc::downgrade(&panel);
        thread::Builder::new().name("panel".to_string()).spawn(move || {
            let mut told = Instant::now();
            for seen in seen {
                let Some(panel) = watching.upgrade() else { return };
                panel.pass_on(seen, &mut told);
            }
        })?;
        Ok(panel)
    }

    /// All that a new page is told at once. Curves and conversation follow, when the session has time.
    pub fn snapshot(&self) -> Value {
        state::whole(&self.host, &self.totals(), self.history().all())
    }

    /// One more page; `send` says whether it is still there.
    pub(crate) fn open(&self, send: Tell) -> usize {
        let mut pages = lock(&self.pages);
        pages.opened += 1;
        let number = pages.opened;
        pages.open.insert(number, send);
        number
    }

    pub(crate) fn close(&self, page: usize) {
        lock(&self.pages).open.remove(&page);
    }

    /// Tells every page.
    pub(crate) fn tell(&self, message: &Value) {
        let open: Vec<_> = lock(&self.pages).open.iter().map(|(number, send)| (*number, Arc::clone(send))).collect();
        for (number, send) in open {
            if !send(message) {
                self.close(number);
            }
        }
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    pub(crate) fn losses(&self) -> MutexGuard<'_, Losses> {
        lock(&self.losses)
    }

    /// Keeps a picture that was dropped on a page in [`PICTURES`], and gives its path there: a script that is copied from the
    /// page names it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn upload(name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        // Of the name only what cannot lead elsewhere.
        let plain = |c: &char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        let name: String = name.chars().filter(plain).collect();
        let mut contents = DefaultHasher::new();
        bytes.hash(&mut contents);
        std::fs::create_dir_all(PICTURES)?;
        let path = Path::new(PICTURES).join(format!("{:016x}-{name}", contents.finish()));
        std::fs::write(&path, bytes)?;
        Ok(path)
    }

    /// Tells pages what somebody does with the session.
    fn pass_on(self: &Arc<Self>, seen: Seen, told: &mut Instant) {
        let lang = || self.host.language().get();
        match seen {
            Seen::Event(Event::Step(record)) => {
                let adapter = state::trained(&self.host);
                self.tell(&json!({"type": "step", "adapter": adapter, "record": state::step(&record)}));
                lock(&self.known).steps.insert(adapter.unwrap_or_default(), record.step);
            }
            Seen::Event(Event::Evaluated(record)) => {
                let adapter = state::trained(&self.host);
                self.tell(&json!({"type": "evaluation", "adapter": adapter, "record": state::evaluation(&record)}));
            }
            Seen::Event(Event::MicroBatch { step, last_step, total_steps, done, total, elapsed }) => {
                if told.elapsed() >= MICRO_BATCH {
                    *told = Instant::now();
                    self.tell(&json!({
                        "type": "micro_batch", "step": step, "last_step": last_step, "total_steps": total_steps,
                        "done": done, "total": total, "elapsed": elapsed.as_secs_f64(),
                    }));
                }
            }
            Seen::Event(Event::Advice(advice)) => {
                self.tell(&json!({"type": "note", "id": null, "text": advice.localize(lang())}));
            }
            Seen::Event(Event::Estimate { steps, time }) => {
                self.tell(&json!({"type": "note", "id": null, "text": estimate(steps, time, lang())}));
            }
            Seen::Event(_) => {}
            Seen::Begun { line, step, training } => {
                let message = self.history().begin(line, step, training);
                self.tell(&message);
            }
            Seen::Ended { succeeded } => {
                let message = self.history().end(succeeded);
                message.iter().for_each(|message| self.tell(message));
                self.tell_conversation();
            }
            Seen::Over => self.tell(&json!({"type": "ended"})),
            Seen::Changed => {
                let lang = lang();
                let before = std::mem::replace(&mut lock(&self.known).lang, lang);
                if before == lang {
                    let mut message = state::changed(&self.host, &self.totals());
                    message["type"] = json!("changed");
                    self.tell(&message);
                } else {
                    // Titles and help are others.
                    self.tell(&self.snapshot());
                }
                self.tell_other_curves();
            }
        }
    }

    /// Tells the conversation, when the session has time, if it is another one.
    fn tell_conversation(self: &Arc<Self>) {
        let panel = Arc::clone(self);
        drop(self.host.call(move |session, _| {
            let now = session.conversation();
            if lock(&panel.known).conversation != now {
                panel.tell(&json!({"type": "changed", "chat": state::chat(&now)}));
                lock(&panel.known).conversation = now;
            }
        }));
    }

    /// Tells the curves, when the session has time, if they are others than what steps have told: steps were undone, adapters
    /// loaded, branched off or dropped.
    fn tell_other_curves(self: &Arc<Self>) {
        let adapters = self.host.snapshot().adapters;
        let now: BTreeMap<_, _> = adapters.into_iter().map(|adapter| (adapter.name, adapter.step)).collect();
        if std::mem::replace(&mut lock(&self.known).steps, now.clone()) == now {
            return;
        }
        let panel = Arc::clone(self);
        drop(self.host.call(move |session, _| {
            panel.tell(&json!({"type": "changed", "curves": state::curves(session)}));
        }));
    }

    /// The step that ends the training of each adapter that was trained here.
    fn totals(&self) -> BTreeMap<String, usize> {
        let adapters = self.host.snapshot().adapters;
        let mut known = lock(&self.known);
        if let Some(job) = self.host.jobs().report(Lang::En) {
            known.totals.insert(job.adapter, job.total_steps);
        }
        known.totals.retain(|name, _| adapters.iter().any(|adapter| adapter.name == *name));
        known.totals.clone()
    }
}

/// A thread that panicked has left nothing half-done in what is kept here.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
