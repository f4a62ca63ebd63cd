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
use tunebook_commands::Localize;
use tunebook_commands::Message;
use tunebook_commands::Seen;
use tunebook_commands::estimate;

use crate::state;

/// Carries out a line, a command or Rust.
pub type CarryOut = Box<dyn Fn(&str) -> Receiver<Message> + Send + Sync>;
/// Sends a message to a page; whether that is still there.
pub type Tell = Arc<dyn Fn(&Value) -> bool + Send + Sync>;

/// Between two reports of how far a step is.
const MICRO_BATCH: Duration = Duration::from_millis(100);
/// Where pictures go that are dropped on a page, below the folder that the session runs in.
const PICTURES: &str = "panel-pictures";
/// The most lines that a new page is told of.
const MOST_RECORDED: usize = 1000;

/// The panels of a session.
pub struct Panel {
    pub(crate) host: Arc<Host>,
    pub(crate) carry_out: CarryOut,
    /// The losses that were measured last, by split and sample.
    pub(crate) losses: Mutex<BTreeMap<(bool, usize), f64>>,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    open: BTreeMap<usize, Tell>,
    opened: usize,
    recorded: Vec<Value>,
    /// Lines that a page has asked for and that are not done.
    asked: Vec<String>,
}

impl Panel {
    /// The panels of a host, which watch it from now on.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn new(host: Arc<Host>, carry_out: CarryOut) -> io::Result<Arc<Self>> {
        let seen = host.watch();
        let panel = Arc::new(Self { host, carry_out, losses: Mutex::default(), pages: Mutex::default() });
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

    /// All that a new page is told at once.
    pub fn snapshot(&self) -> Value {
        state::whole(&self.host, &self.recorded())
    }

    /// One more page; `send` says whether it is still there.
    pub(crate) fn open(&self, send: Tell) -> usize {
        let mut pages = self.pages();
        pages.opened += 1;
        let number = pages.opened;
        pages.open.insert(number, send);
        number
    }

    pub(crate) fn close(&self, page: usize) {
        self.pages().open.remove(&page);
    }

    /// Tells every page.
    pub(crate) fn tell(&self, message: &Value) {
        let open: Vec<_> = self.pages().open.iter().map(|(number, send)| (*number, Arc::clone(send))).collect();
        for (number, send) in open {
            if !send(message) {
                self.close(number);
            }
        }
    }

    /// The lines that were carried out, the last ones.
    pub(crate) fn recorded(&self) -> Vec<Value> {
        self.pages().recorded.clone()
    }

    /// A page asks for a line.
    pub(crate) fn ask(&self, line: &str) {
        self.pages().asked.push(line.to_string());
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

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells pages what somebody does with the session.
    fn pass_on(&self, seen: Seen, told: &mut Instant) {
        let lang = || self.host.language().get();
        match seen {
            Seen::Event(Event::Step(record)) => {
                let adapter = state::trained(&self.host);
                self.tell(&json!({"type": "step", "adapter": adapter, "record": state::step(&record)}));
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
            Seen::Line { line, succeeded } => {
                let message = {
                    let mut pages = self.pages();
                    let asked = pages.asked.iter().position(|asked| *asked == line);
                    asked.map(|place| pages.asked.remove(place));
                    let from = if asked.is_some() { "panel" } else { "other" };
                    let step = state::active_step(&self.host.snapshot());
                    let running = self.host.jobs().is_running();
                    let line = json!({"line": line, "ok": succeeded, "from": from, "step": step, "running": running});
                    if pages.recorded.len() == MOST_RECORDED {
                        pages.recorded.remove(0);
                    }
                    pages.recorded.push(line.clone());
                    let mut message = line;
                    message["type"] = json!("recorded");
                    message
                };
                self.tell(&message);
            }
            Seen::Changed => {
                let mut message = state::changed(&self.host);
                message["type"] = json!("changed");
                self.tell(&message);
            }
        }
    }
}
