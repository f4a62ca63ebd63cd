//! The host: a thread that owns the session, and how a face talks to it.
//!
//! The prompt and the Jupyter kernel submit lines and draw the events and outputs that come back; requests are carried
//! out one after another. While the host works, completion and help are answered from a [`Snapshot`] and the
//! declarations of verbs and settings.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::thread;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::unbounded;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Note;
use tunebook_engine::Session;
use tunebook_engine::Settings;

use crate::error::Error;
use crate::error::Result;
use crate::lang::Lang;
use crate::lang::Language;
use crate::lang::Localize;
use crate::output::Output;
use crate::recipe;
use crate::run;
use crate::verb::CommandContext;
use crate::verbs::VERBS;

/// The messages of a request, in order; the last one is `Done`.
#[derive(Debug)]
pub enum Message {
    Event(Event),
    /// One for every line of a script, and the last of the request itself.
    Output(Output),
    Done(Result<()>),
}

/// The state of the session after its last request, for questions while it is busy.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub settings: Settings,
    pub adapters: Vec<String>,
    pub lang: Lang,
}

/// The session on its own thread. Requests are carried out one after another.
pub struct Host {
    requests: Sender<Request>,
    cancel: Cancel,
    snapshot: Arc<RwLock<Snapshot>>,
    language: Language,
}

/// What to do with a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipeTask {
    /// Train, evaluate and predict, as far as the recipe says so.
    Train,
    /// Write the model with its adapter merged in.
    Export,
}

struct Request {
    job: Job,
    reply: Sender<Message>,
}

enum Job {
    Line(String),
    File(PathBuf),
    Recipe { task: RecipeTask, arguments: Vec<String> },
    Call(Call),
}

/// Something that is done with the session and tells its result itself.
type Call = Box<dyn FnOnce(&mut Session, &CommandContext) + Send>;

impl Host {
    /// Starts the thread, with an empty session whose language is `lang`.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(lang: Lang) -> std::io::Result<Self> {
        let (requests, received) = unbounded::<Request>();
        let host =
            Self { requests, cancel: Cancel::default(), snapshot: Arc::default(), language: Language::new(lang) };
        let (cancel, snapshot, language) = (host.cancel.clone(), Arc::clone(&host.snapshot), host.language.clone());
        thread::Builder::new().name("engine".to_string()).spawn(move || {
            let mut session = Session::default();
            for Request { job, reply } in received {
                // From outside the pool every product would have to wake it, and wait.
                let done = rayon::scope(|_| carry_out(job, &reply, &mut session, &cancel, &language));
                let now = Snapshot {
                    settings: session.settings().clone(),
                    adapters: session.adapters().into_iter().map(|adapter| adapter.name).collect(),
                    lang: language.get(),
                };
                *snapshot.write().unwrap_or_else(PoisonError::into_inner) = now;
                // Whoever hears that it is done may ask for the snapshot at once.
                let _ = reply.send(done);
            }
        })?;
        Ok(host)
    }

    /// Carries out one line.
    pub fn line(&self, line: &str) -> Receiver<Message> {
        self.submit(Job::Line(line.to_string()))
    }

    /// Carries out the lines of a file.
    pub fn file(&self, path: PathBuf) -> Receiver<Message> {
        self.submit(Job::File(path))
    }

    /// Does what a LLaMA-Factory recipe says: a file with overrides, or arguments alone.
    pub fn recipe(&self, task: RecipeTask, arguments: Vec<String>) -> Receiver<Message> {
        self.submit(Job::Recipe { task, arguments })
    }

    /// Calls a function with the session. A stop that was requested earlier still counts, since the call is part of
    /// what should stop.
    pub fn call(&self, call: impl FnOnce(&mut Session, &CommandContext) + Send + 'static) -> Receiver<Message> {
        self.submit(Job::Call(Box::new(call)))
    }

    /// Stops what is running at its next safe point.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Drops the session when the current request is done, so that nothing of it stays behind: its output folder is
    /// unlocked. The process is about to end.
    pub fn close(&self) -> Receiver<Message> {
        self.call(|session, _| drop(std::mem::take(session)))
    }

    /// Stops the current request, saves trainings that are not on disk, and ends the session; see [`Session::keep`].
    pub fn end(&self) -> Receiver<Message> {
        self.cancel.cancel();
        self.call(|session, cx| {
            match session.keep(&cx.context) {
                Ok(kept) => {
                    kept.into_iter().for_each(|checkpoint| cx.context.emit(Event::Note(Note::Kept { checkpoint })))
                }
                Err(error) => (cx.show)(Output::Stderr(Error::from(error).localize(cx.lang()))),
            }
            drop(std::mem::take(session));
        })
    }

    pub fn snapshot(&self) -> Snapshot {
        let known = self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone();
        // A snapshot is taken when a request is done, and there may have been none yet.
        Snapshot { lang: self.language.get(), ..known }
    }

    /// The language that `lang` changes.
    pub fn language(&self) -> &Language {
        &self.language
    }

    fn submit(&self, job: Job) -> Receiver<Message> {
        let (reply, messages) = unbounded();
        // The thread lives as long as `requests`; if it did not, the channel would end without `Done`.
        let _ = self.requests.send(Request { job, reply });
        messages
    }
}

/// Gives the message that it is done.
fn carry_out(
    job: Job,
    reply: &Sender<Message>,
    session: &mut Session,
    cancel: &Cancel,
    language: &Language,
) -> Message {
    if !matches!(job, Job::Call(_)) {
        cancel.reset();
    }
    // A face that is gone hears nothing; what it asked for is done all the same.
    let send = |message| drop(reply.send(message));
    let emit = |event| send(Message::Event(event));
    let show = |output| send(Message::Output(output));
    let context = Context { emit: &emit, cancel };
    let cx = CommandContext { context, show: &show, language, verbs: VERBS, scripts: &[] };
    let job = AssertUnwindSafe(|| match job {
        Job::Line(line) => run::run(&line, session, &cx),
        Job::File(path) => run::run_given(&path, session, &cx),
        Job::Recipe { task: RecipeTask::Train, arguments } => recipe::train(&arguments, session, &cx),
        Job::Recipe { task: RecipeTask::Export, arguments } => recipe::export(&arguments, session, &cx),
        Job::Call(call) => {
            call(session, &cx);
            Ok(Output::Nothing)
        }
    });
    let result = catch_unwind(job).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
        Err(Error::Panic(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()))
    });
    Message::Done(result.map(show))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(messages: Receiver<Message>) -> (Vec<String>, std::result::Result<(), String>) {
        let page = crate::page::Page { width: 80, color: false, lang: Lang::En };
        let mut outputs = Vec::new();
        for message in messages {
            match message {
                Message::Event(_) => {}
                Message::Output(output) => outputs.push(crate::text::render(&output, page)),
                Message::Done(result) => return (outputs, result.map_err(|error| error.to_string())),
            }
        }
        panic!("no end");
    }

    #[test]
    fn settings_given_along_stay_only_if_the_verb_succeeds() {
        let host = Host::start(Lang::En).unwrap();
        let (_, result) = outcome(host.line("load nowhere/at/all dtype=float32"));
        assert!(result.unwrap_err().contains("nowhere/at/all"));
        assert_eq!(outcome(host.line("show dtype")).0, ["dtype = auto"]);
        assert_eq!(outcome(host.line("set dtype=float32 lr=2e-4")).0, ["dtype = float32\nlearning_rate = 2e-4"]);
        assert_eq!(host.snapshot().settings.learning_rate, 2e-4);
        assert!(outcome(host.line("set lr=1 rank=0")).1.is_err());
        assert_eq!(outcome(host.line("show lr")).0, ["learning_rate = 2e-4"]);
    }

    #[test]
    fn every_verb_says_what_is_missing() {
        let host = Host::start(Lang::En).unwrap();
        for line in ["unload", "data x", "lora", "adapter load x", "train 5", "chat", "chat hi", "save x"] {
            let error = outcome(host.line(line)).1.unwrap_err();
            assert!(error.starts_with("no model is loaded"), "{line}: {error}");
        }
        assert!(outcome(host.line("sample")).1.unwrap_err().starts_with("no dataset is selected"));
        assert!(outcome(host.line("plot")).1.unwrap_err().contains("has not been trained yet"));
        assert!(outcome(host.line("adapter use x")).1.unwrap_err().contains("no adapter named `x`"));
    }

    #[test]
    fn a_script_shows_as_it_goes_and_stops_where_it_fails() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tune");
        std::fs::write(&file, "print one\n\nprint \"two\" # said\nset lr=x\nprint three\n").unwrap();
        let host = Host::start(Lang::En).unwrap();
        let (outputs, result) = outcome(host.line(&format!("run {}", file.display())));
        assert_eq!(outputs, ["one", "two"]);
        let error = result.unwrap_err();
        assert!(error.starts_with(&format!("{}:4: `x` is not a value for learning_rate", file.display())), "{error}");

        std::fs::write(&file, format!("run {}", file.display())).unwrap();
        assert!(outcome(host.file(file)).1.unwrap_err().contains("run by a script that it runs itself"));
    }

    #[test]
    fn help_covers_every_verb_and_setting() {
        let host = Host::start(Lang::En).unwrap();
        let topics = crate::verb::names(VERBS).chain(tunebook_engine::settings::names()).chain(["settings"]);
        for topic in topics {
            let (outputs, result) = outcome(host.line(&format!("help {topic}")));
            assert!(result.is_ok() && outputs[0].len() > 40, "{topic}");
        }
        assert!(outcome(host.line("help trian")).1.unwrap_err().contains("did you mean `train`?"));
    }
}
