//! A page that is open: what it asks, and what it is told.

use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crossbeam_channel::Sender;
use crossbeam_channel::unbounded;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use tunebook_commands::Event;
use tunebook_commands::Lang;
use tunebook_commands::Localize;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_commands::cell;
use tunebook_commands::complete;
use tunebook_commands::rust;
use tunebook_commands::shell;
use tunebook_commands::timing;
use tunebook_data::DatasetInfo;
use tunebook_engine::Split;
use tunebook_view::Progress;
use tunebook_view::bundle::bundle;

use crate::gallery;
use crate::panel::Panel;
use crate::panel::Tell;
use crate::state;

/// What a page says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Said {
    Hello,
    Run { id: String, line: String },
    Interrupt,
    Upload { id: String, name: String, data: String },
    Complete { id: String, line: String, cursor: usize },
    Samples(gallery::Asked),
    Datasets { id: String },
}

/// Between two reports of how far a line is.
const PROGRESS: Duration = Duration::from_millis(200);

/// A page, until it is dropped.
pub struct Connection {
    page: Page,
    number: usize,
    /// To the thread that carries lines out, one after another.
    lines: Sender<(String, String)>,
}

impl Connection {
    /// A page that is told by `send`, which says whether it is still there.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn open(panel: Arc<Panel>, send: Tell) -> std::io::Result<Self> {
        let number = panel.open(Arc::clone(&send));
        let (lines, asked) = unbounded::<(String, String)>();
        let page = Page { panel, send };
        let carrying_out = page.clone();
        thread::Builder::new().name("page".to_string()).spawn(move || {
            asked.into_iter().for_each(|(id, line)| carrying_out.carry_out(&id, &line));
        })?;
        Ok(Self { page, number, lines })
    }

    /// Hears a message. What is no message of ours is not answered.
    pub fn hear(&self, message: Value) {
        let Ok(said) = serde_json::from_value::<Said>(message) else { return };
        let (page, host) = (&self.page, &self.page.panel.host);
        match said {
            Said::Hello => page.clone().hello(),
            Said::Run { id, line } => {
                let _ = self.lines.send((id, line));
            }
            Said::Interrupt => host.cancel().cancel(),
            Said::Upload { id, name, data } => page.upload(&id, &name, &data),
            Said::Complete { id, line, cursor } => {
                // A page counts characters.
                let bytes = line.char_indices().nth(cursor).map_or(line.len(), |(byte, _)| byte);
                let (start, candidates) = complete::complete(&line, bytes, &host.snapshot());
                let start = line[..start].chars().count();
                let candidate = |candidate: complete::Candidate| json!({"text": candidate.text, "description": candidate.description});
                let candidates: Vec<_> = candidates.into_iter().map(candidate).collect();
                page.tell(&json!({"type": "completions", "id": id, "start": start, "candidates": candidates}));
            }
            Said::Samples(asked) => {
                let page = page.clone();
                drop(host.call(move |session, _| {
                    let losses = page.panel.losses().clone();
                    page.tell(&gallery::answer(&asked, session, &losses));
                }));
            }
            Said::Datasets { id } => {
                let folder = host.snapshot().settings.dataset_dir;
                let names = DatasetInfo::read(&folder).map(|info| info.names().map(str::to_string).collect::<Vec<_>>());
                page.tell(&match names {
                    Ok(names) => json!({
                        "type": "datasets", "id": id, "folder": folder.display().to_string(), "names": names,
                    }),
                    Err(error) => json!({"type": "failed", "id": id, "cause": error.to_string()}),
                });
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.page.panel.close(self.number);
    }
}

/// What the threads of a page have of it.
#[derive(Clone)]
struct Page {
    panel: Arc<Panel>,
    send: Tell,
}

impl Page {
    fn tell(&self, message: &Value) {
        // One that is gone is found out by the next message to all.
        let _ = (self.send)(message);
    }

    /// Tells what is there: at once what the host knows, and the rest when the session has time.
    fn hello(self) {
        self.tell(&self.panel.snapshot());
        let panel = Arc::clone(&self.panel);
        drop(panel.host.call(move |session, _| {
            let chat = state::chat(&session.conversation());
            self.tell(&json!({"type": "changed", "curves": state::curves(session), "chat": chat}));
        }));
    }

    fn upload(&self, id: &str, name: &str, data: &str) {
        let written =
            BASE64_STANDARD.decode(data).map_err(std::io::Error::other).and_then(|bytes| Panel::upload(name, &bytes));
        self.tell(&match written {
            Ok(path) => json!({"type": "uploaded", "id": id, "path": path.display().to_string()}),
            Err(error) => json!({"type": "failed", "id": id, "cause": error.to_string()}),
        });
    }

    /// Carries out a line, and tells what comes of it.
    fn carry_out(&self, id: &str, line: &str) {
        let host = &self.panel.host;
        let lang = || host.language().get();
        host.cancel().reset();
        // A message of several lines, as a cell has it, is one command.
        let command = match &cell::lines(line)[..] {
            [command] => command.text.clone(),
            _ => line.to_string(),
        };
        let recorded = self.begin(id, line, &command);
        let mut answering = Value::Null;
        let (mut progress, mut told) = (Progress::start(), Instant::now());
        for message in (self.panel.carry_out)(&command) {
            match message {
                Message::Event(Event::Text(text)) => {
                    self.tell(&json!({"type": "text", "id": id, "answer": answering, "text": text}));
                }
                Message::Event(Event::Answering(name)) => answering = json!(name),
                Message::Event(Event::Note(note)) => {
                    self.tell(&json!({"type": "note", "id": id, "text": note.localize(lang())}));
                }
                Message::Event(event) => {
                    progress.event(&event);
                    let is_due = progress.is_worth_showing() && told.elapsed() >= PROGRESS;
                    if let Some(activity) = progress.activity.as_ref().filter(|_| is_due) {
                        told = Instant::now();
                        for (text, part) in activity.lines(lang()) {
                            self.tell(&json!({"type": "progress", "id": id, "text": text, "part": part}));
                        }
                    }
                }
                Message::Output(output) => self.output(id, &output, lang()),
                // What a training in the background tells comes to all pages.
                Message::Job(_) | Message::Ask(_) | Message::Call(_) => {}
                Message::Done(result) => {
                    let error = result.err().map(|error| error.explain_in_session(lang()));
                    let error = error.map(|error| json!({"cause": error.cause, "remedy": error.remedy}));
                    if let Some(number) = recorded {
                        let ended = self.panel.history().close(number, error.is_none());
                        ended.iter().for_each(|message| self.panel.tell(message));
                    }
                    self.tell(&json!({"type": "done", "id": id, "error": error}));
                    return;
                }
            }
        }
        self.tell(&json!({"type": "done", "id": id, "error": {"cause": "the session has ended", "remedy": null}}));
    }

    /// Has the line recorded: when the session begins the command that it is, or here what no single command of the session
    /// is: Rust, the shell's, several that are timed. The number of what is recorded here.
    fn begin(&self, id: &str, line: &str, command: &str) -> Option<usize> {
        let panel = &self.panel;
        let timed = timing::lines(command);
        let command = match timed.as_deref() {
            Some([line]) if timing::line_start(command).is_some() => Some(line.text.as_str()),
            Some(_) => None,
            None => Some(command),
        };
        if let Some(command) = command.filter(|line| rust::code(line).is_none() && shell::command(line).is_none()) {
            panel.history().ask(id, line, command);
            return None;
        }
        let adapters = panel.host.snapshot().adapters;
        let step = adapters.iter().find(|adapter| adapter.active).map_or(0, |adapter| adapter.step);
        let (number, message) =
            panel.history().add(Some(id.to_string()), line.to_string(), step, panel.host.jobs().standing());
        panel.tell(&message);
        Some(number)
    }

    fn output(&self, id: &str, output: &Output, lang: Lang) {
        if let Output::Worst(report) = output {
            let mut losses = self.panel.losses();
            let is_eval = report.split == Split::Eval;
            losses.extend(report.worst.iter().map(|sample| ((is_eval, sample.index), sample.loss)));
        }
        let data = bundle(output, lang);
        let text = data["text/plain"].as_str().unwrap_or_default();
        let html = data.get("text/html");
        if text.is_empty() && html.is_none() {
            return;
        }
        let kind = if html.is_some() { "html" } else { "text" };
        self.tell(&json!({"type": "output", "id": id, "kind": kind, "text": text, "html": html}));
    }
}
