//! The host: a thread that owns the session, and how a face talks to it.
//!
//! The prompt and the Jupyter kernel submit lines and draw the events and outputs that come back; requests are carried
//! out one after another, also while a training runs (see `training.rs`). While the host works, completion and help are
//! answered from a [`Snapshot`] and the declarations of verbs and settings.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::Weak;
use std::thread;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::bounded;
use crossbeam_channel::unbounded;
use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Note;
use tunebook_engine::Session;
use tunebook_engine::Settings;
use tunebook_engine::report::AdapterReport;
use tunebook_engine::report::DataReport;
use tunebook_engine::report::LoadReport;
use tunebook_engine::report::TrainReport;

use crate::error::Error;
use crate::error::Result;
use crate::jobs::Jobs;
use crate::jobs::Standing;
use crate::lang::Lang;
use crate::lang::Language;
use crate::lang::Localize;
use crate::output::Output;
use crate::recipe;
use crate::run;
use crate::serving::Serving;
use crate::shell;
use crate::training;
use crate::verb::CommandContext;
use crate::verbs::VERBS;

/// The messages of a request, in order; the last one is `Done`.
#[derive(Debug)]
pub enum Message {
    Event(Event),
    /// One for every line of a script, and the last of the request itself.
    Output(Output),
    /// What a training tells, to be shown beside what comes next; it goes on when the request is done.
    Job(Receiver<Message>),
    /// A Rust cell asks the user.
    Ask(Question),
    /// What a Rust cell does with the session.
    Call(CellCall),
    Done(Result<()>),
}

/// A question of a Rust cell, which reads standard input. If it is dropped without an answer, the input is at its end.
#[derive(Debug)]
pub struct Question {
    pub prompt: String,
    /// Whether the answer should not be seen.
    pub is_secret: bool,
    /// Takes the answer, a line without its end.
    pub answer: Sender<String>,
}

/// What a Rust cell does with the session. The answer goes to the cell, so there is no output.
#[derive(Debug)]
pub enum CellCall {
    /// It begins a training that does not go on where its last one has ended.
    TrainsAnew,
    /// A call is over, and what it told of its progress; if it was one of `train`, this is what it has done.
    Ended(Option<TrainReport>),
}

/// What a host does, as somebody hears it who has not asked for it.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Of a command or a training.
    Event(Event),
    /// A line is being carried out, whoever has asked for it: `step` optimizer steps of the active adapter are made. If it
    /// trains, others begin and end before it does.
    Begun { line: String, step: usize, training: Option<Standing> },
    /// The line that has begun last and had not ended yet.
    Ended { succeeded: bool },
    /// The snapshot is another one, or a training has ended.
    Changed,
    /// The session is about to end.
    Over,
}

/// The state of the session after its last request, for questions while it is busy.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub settings: Settings,
    pub model: Option<LoadReport>,
    pub data: Option<DataReport>,
    pub adapters: Vec<AdapterReport>,
    pub lang: Lang,
}

/// The session on its own thread. Requests are carried out one after another; while a training runs, between two of its
/// layers.
pub struct Host {
    requests: Arc<Sender<Request>>,
    cancel: Cancel,
    snapshot: Arc<RwLock<Snapshot>>,
    language: Language,
    jobs: Arc<Jobs>,
    serving: Arc<Serving>,
    watchers: Arc<Watchers>,
}

/// Those who hear what a host does.
type Watchers = Mutex<Vec<Sender<Seen>>>;

/// A way to a host that does not keep it alive.
#[derive(Clone)]
pub(crate) struct Caller(Weak<Sender<Request>>);

/// What to do with a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipeTask {
    /// Train, evaluate and predict, as far as the recipe says so.
    Train,
    /// Write the model with its adapter merged in.
    Export,
}

struct Request {
    work: Work,
    reply: Sender<Message>,
}

enum Work {
    Line(String),
    Recipe {
        task: RecipeTask,
        arguments: Vec<String>,
    },
    Call(Call),
    /// The last one, for which a training is stopped.
    End(Call),
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
        let (cancel, snapshot, language, jobs) =
            (Cancel::default(), Arc::<RwLock<Snapshot>>::default(), Language::new(lang), Arc::<Jobs>::default());
        let requests = Arc::new(requests);
        let caller = Caller(Arc::downgrade(&requests));
        let watchers = Arc::<Watchers>::default();
        let serving = Arc::new(Serving::new(caller, Arc::clone(&snapshot), Arc::clone(&jobs)));
        let engine = Engine {
            received,
            ending: Mutex::default(),
            cancel: Cancel::clone(&cancel),
            snapshot: Arc::clone(&snapshot),
            language: language.clone(),
            jobs: Arc::clone(&jobs),
            serving: Arc::clone(&serving),
            watchers: Arc::clone(&watchers),
        };
        thread::Builder::new().name("engine".to_string()).spawn(move || engine.run())?;
        Ok(Self { requests, cancel, snapshot, language, jobs, serving, watchers })
    }

    /// Carries out one line. A command of the system's shell runs beside the session.
    pub fn line(&self, line: &str) -> Receiver<Message> {
        match shell::command(line) {
            Some(command) => self.shell(command.to_string()),
            None => self.submit(Work::Line(line.to_string())),
        }
    }

    /// Runs a command of the shell on a thread of its own.
    fn shell(&self, command: String) -> Receiver<Message> {
        // What a request waits for is stopped by the same key.
        if !self.jobs.is_waited_for() {
            self.cancel.reset();
        }
        // A command that writes faster than the face shows waits for it.
        let (reply, messages) = bounded(1);
        let cancel = self.cancel.clone();
        // A thread that could not be started drops the sender, which the face hears.
        let _ = thread::Builder::new().name("shell".to_string()).spawn(move || {
            let result = shell::run(&command, &|output| drop(reply.send(Message::Output(output))), &cancel);
            let _ = reply.send(Message::Done(result));
        });
        messages
    }

    /// Does what a LLaMA-Factory recipe says: a file with overrides, or arguments alone.
    pub fn recipe(&self, task: RecipeTask, arguments: Vec<String>) -> Receiver<Message> {
        self.submit(Work::Recipe { task, arguments })
    }

    /// Calls a function with the session. A stop that was requested earlier still counts, since the call is part of
    /// what should stop.
    pub fn call(&self, call: impl FnOnce(&mut Session, &CommandContext) + Send + 'static) -> Receiver<Message> {
        self.submit(Work::Call(Box::new(call)))
    }

    /// Stops the request that is carried out at its next safe point, and a training if the request waits for it; one in
    /// the background goes on.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The trainings of the session.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Stops a training and drops the session, so that nothing of it stays behind: its output folder is unlocked. The
    /// process is about to end.
    pub fn close(&self) -> Receiver<Message> {
        self.serving.stop();
        self.submit(Work::End(Box::new(|session, _| drop(std::mem::take(session)))))
    }

    /// Stops the current request and a training, saves trainings that are not on disk, and ends the session; see
    /// [`Session::keep`].
    pub fn end(&self) -> Receiver<Message> {
        self.cancel.cancel();
        self.serving.stop();
        self.submit(Work::End(Box::new(|session, cx| {
            match session.keep(&cx.context) {
                Ok(kept) => {
                    kept.into_iter().for_each(|checkpoint| cx.context.emit(Event::Note(Note::Kept { checkpoint })))
                }
                Err(error) => (cx.show)(Output::Stderr(Error::from(error).localize(cx.lang()))),
            }
            drop(std::mem::take(session));
        })))
    }

    /// Hears all that is done from now on, as long as the receiver is there.
    pub fn watch(&self) -> Receiver<Seen> {
        let (sender, receiver) = unbounded();
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Whether it answers others over HTTP.
    pub fn is_serving(&self) -> bool {
        self.serving.is_running()
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

    fn submit(&self, work: Work) -> Receiver<Message> {
        let (reply, messages) = unbounded();
        // The thread lives as long as `requests`; if it did not, the channel would end without `Done`.
        let _ = self.requests.send(Request { work, reply });
        messages
    }
}

impl Caller {
    /// As [`Host::call`]; nothing where the host is gone.
    pub(crate) fn call(&self, call: impl FnOnce(&mut Session, &CommandContext) + Send + 'static) {
        if let Some(requests) = self.0.upgrade() {
            // Nobody hears what it says: it tells its result itself.
            let _ = requests.send(Request { work: Work::Call(Box::new(call)), reply: unbounded().0 });
        }
    }
}

/// What the thread has that owns the session.
struct Engine {
    received: Receiver<Request>,
    /// A request of the end, which has to wait until a training has stopped.
    ending: Mutex<Option<Request>>,
    cancel: Cancel,
    snapshot: Arc<RwLock<Snapshot>>,
    language: Language,
    jobs: Arc<Jobs>,
    serving: Arc<Serving>,
    watchers: Arc<Watchers>,
}

impl Engine {
    fn run(self) {
        let mut session = Session::default();
        while let Some(request) = self.next() {
            // From outside the pool every product would have to wake it, and wait.
            rayon::scope(|_| {
                self.carry_out(request, &mut session);
                self.run_started(&mut session);
            });
        }
    }

    fn next(&self) -> Option<Request> {
        let ending = self.ending().take();
        ending.or_else(|| self.received.recv().ok())
    }

    /// Runs a training that was begun in the background.
    fn run_started(&self, session: &mut Session) {
        let Some((job, cancel)) = self.jobs.take_started() else { return };
        let emit = |event: Event| self.tell(|| Seen::Event(event.clone()));
        let context = Context { emit: &emit, cancel: &cancel };
        let between = |session: &mut Session| self.between(session);
        let (show, follow, is_awaited) = (|_| {}, |_| {}, || self.is_awaited());
        let cx = self.context(context, &show, &follow, &between, &is_awaited);
        let trained = training::carry_out(job, &cancel, session, &cx);
        self.take_snapshot(session);
        self.jobs.end(trained.map_err(Arc::new));
        self.tell(|| Seen::Changed);
    }

    /// Carries out what has been asked meanwhile.
    fn between(&self, session: &mut Session) {
        if self.jobs.is_waited_for() && self.cancel.is_cancelled() {
            self.jobs.stop();
        }
        while self.ending().is_none()
            && let Ok(request) = self.received.try_recv()
        {
            match request.work {
                Work::End(_) => {
                    self.jobs.stop();
                    *self.ending() = Some(request);
                }
                _ => self.carry_out(request, session),
            }
        }
    }

    fn carry_out(&self, Request { work, reply }: Request, session: &mut Session) {
        // What a request waits for is stopped by the same key.
        if !matches!(work, Work::Call(_) | Work::End(_)) && !self.jobs.is_waited_for() {
            self.cancel.reset();
        }
        // A face that is gone hears nothing; what it asked for is done all the same.
        let send = |message| drop(reply.send(message));
        let emit = |event: Event| {
            self.tell(|| Seen::Event(event.clone()));
            send(Message::Event(event));
        };
        let (is_line, is_end) = (matches!(work, Work::Line(_)), matches!(work, Work::End(_)));
        match &work {
            Work::Line(line) => {
                let (step, training) = (session.step(), self.jobs.standing());
                self.tell(|| Seen::Begun { line: line.clone(), step, training: training.clone() });
            }
            Work::End(_) => self.tell(|| Seen::Over),
            _ => {}
        }
        let show = |output| send(Message::Output(output));
        let follow = |messages| send(Message::Job(messages));
        let between = |session: &mut Session| self.between(session);
        let context = Context { emit: &emit, cancel: &self.cancel };
        let is_awaited = || self.is_awaited();
        let cx = self.context(context, &show, &follow, &between, &is_awaited);
        let cx = CommandContext { can_wait: is_line, ..cx };
        let work = AssertUnwindSafe(|| match work {
            Work::Line(line) => run::run(&line, session, &cx),
            Work::Recipe { task: RecipeTask::Train, arguments } => recipe::train(&arguments, session, &cx),
            Work::Recipe { task: RecipeTask::Export, arguments } => recipe::export(&arguments, session, &cx),
            Work::Call(call) | Work::End(call) => {
                call(session, &cx);
                Ok(Output::Nothing)
            }
        });
        let result = catch_unwind(work).unwrap_or_else(|panic| Err(Error::of_panic(panic)));
        // Whoever hears that it is done may ask for the snapshot at once. Of a session that is over, what it was stays.
        if !is_end {
            self.take_snapshot(session);
        }
        if is_line {
            self.tell(|| Seen::Ended { succeeded: result.is_ok() });
        }
        match result {
            Ok(Output::Wait) => self.jobs.wait(reply),
            result => send(Message::Done(result.map(show))),
        }
    }

    fn context<'a>(
        &'a self,
        context: Context<'a>,
        show: &'a (dyn Fn(Output) + Sync),
        follow: &'a (dyn Fn(Receiver<Message>) + Sync),
        between: &'a (dyn Fn(&mut Session) + Sync),
        is_awaited: &'a (dyn Fn() -> bool + Sync),
    ) -> CommandContext<'a> {
        CommandContext {
            context,
            show,
            language: &self.language,
            verbs: VERBS,
            scripts: &[],
            jobs: &self.jobs,
            serving: &self.serving,
            can_wait: false,
            follow,
            between,
            is_awaited,
        }
    }

    /// Whether a training or another request waits for the session.
    fn is_awaited(&self) -> bool {
        self.jobs.is_running() || !self.received.is_empty()
    }

    fn take_snapshot(&self, session: &Session) {
        let now = Snapshot {
            settings: session.settings().clone(),
            model: session.load_report().cloned(),
            data: session.data_report().cloned(),
            adapters: session.adapters(),
            lang: self.language.get(),
        };
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = now;
        self.tell(|| Seen::Changed);
    }

    /// Tells those who watch, and forgets those who are gone.
    fn tell(&self, seen: impl Fn() -> Seen) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.send(seen()).is_ok());
    }

    fn ending(&self) -> MutexGuard<'_, Option<Request>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(messages: Receiver<Message>) -> (Vec<String>, std::result::Result<(), String>) {
        let page = crate::page::Page { width: 80, color: false, lang: Lang::En };
        let mut outputs = Vec::new();
        for message in messages {
            match message {
                Message::Event(_) | Message::Job(_) | Message::Ask(_) | Message::Call(_) => {}
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
        assert!(
            outcome(host.line(&format!("run {}", file.display())))
                .1
                .unwrap_err()
                .contains("run by a script that it runs itself")
        );
    }

    #[test]
    fn lines_ask_for_help_as_in_ipython() {
        let host = Host::start(Lang::En).unwrap();
        let help = outcome(host.line("help train")).0;
        for line in ["train?", "?train", "%train??"] {
            assert_eq!(outcome(host.line(line)).0, help, "{line}");
        }
        assert_eq!(outcome(host.line("?")).0, outcome(host.line("help")).0);
        assert!(outcome(host.line("What?")).1.unwrap_err().contains("no command `What`"));
    }

    #[cfg(unix)]
    #[test]
    fn a_script_runs_commands_of_the_shell_and_times_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tune");
        let script = "!echo shell \\\n  one\ntime print two\n%%time\n!echo three\nset lr=x\n\nprint never\n";
        std::fs::write(&file, script).unwrap();
        let host = Host::start(Lang::En).unwrap();
        let (outputs, result) = outcome(host.line(&format!("run {}", file.display())));
        let outputs: Vec<_> = outputs.into_iter().filter(|text| !text.is_empty()).collect();
        let [shell, two, time, three] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!((shell.trim(), two.as_str(), three.trim()), ("shell one", "two", "three"));
        assert!(time.starts_with("CPU times: user ") && time.contains("\nWall time: "), "{time}");
        assert!(result.unwrap_err().starts_with(&format!("{}:6: `x` is not", file.display())));
        // The session is not asked for one: its own thread is there for others.
        assert_eq!(
            outcome(host.line("!echo $((1 + 1)); exit 3")),
            (vec!["2\n".to_string()], Err("the command has ended with status 3".to_string()))
        );
        let waits = host.line("!sleep 100");
        assert_eq!(outcome(host.line("print meanwhile")).0, ["meanwhile"]);
        host.cancel().cancel();
        assert_eq!(outcome(waits).1, Err("stopped".to_string()));
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
