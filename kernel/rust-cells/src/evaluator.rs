//! One evcxr with the session at hand: runs a cell, hears what it prints, and stops it if it must.

use std::process::Child;
use std::process::Command;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::bounded;
use crossbeam_channel::select;
use evcxr::CommandContext;
use evcxr::EvalContext;
use evcxr::EvalContextOutputs;
use evcxr::EvalOutputs;
use tunebook_commands::Host;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_commands::RustError;
use tunebook_commands::lang::localized;

use crate::Completion;
use crate::Completions;
use crate::cell::Cell;
use crate::cell::Failure;
use crate::client_folder;
use crate::compile_report;
use crate::server::Server;
use crate::toolchain;
use crate::workplace;
use crate::workplace::Workplace;

/// How often a running cell is looked after.
const POLL: Duration = Duration::from_millis(20);
/// How long a cell that was stopped may take to end by itself, its calls of the session not counted.
const GRACE: Duration = Duration::from_secs(3);

pub(crate) struct Evaluator {
    context: CommandContext,
    outputs: EvalContextOutputs,
    process: Arc<Mutex<Child>>,
    host: Arc<Host>,
    cell: Arc<Cell>,
    /// Cells need it as long as there are any.
    _server: Server,
}

impl Evaluator {
    /// Starts the process that cells run in, with `session()` at hand. It takes some seconds, which `messages` hears.
    ///
    /// # Errors
    /// Something of Rust is missing, or does not work.
    pub(crate) fn start(
        host: &Arc<Host>,
        workplace: &Workplace,
        messages: &Sender<Message>,
    ) -> Result<Self, RustError> {
        toolchain::check()?;
        let say = |text: &str| drop(messages.send(Message::Output(Output::Aside(text.to_string()))));
        let lang = host.language().get();
        say(localized(
            "starting Rust; this takes some seconds, once per session",
            "正在启动 Rust；每个会话只需一次，要几秒",
        )
        .in_lang(lang));
        if !toolchain::has_library_source() {
            say(localized(
                "the source of the standard library is missing; if `rustup component add rust-src` cannot install it, \
                 variables need explicit types",
                "没有标准库的源代码；如果 `rustup component add rust-src` 无法取得，变量需要写明类型",
            )
            .in_lang(lang));
        }
        let problem = |problem: &dyn std::fmt::Display| RustError::Start { problem: problem.to_string() };
        let cell = Arc::new(Cell::default());
        let folder = workplace.open().map_err(|error| problem(&error))?;
        let server = Server::start(&folder, host, &cell).map_err(|error| problem(&error))?;
        let own = tunebook_files::own_folder(dirs::cache_dir()).map_err(|error| problem(&error))?;
        let client = client_folder::write(&own).map_err(|error| problem(&error))?;
        let mut command = Command::new(std::env::current_exe().map_err(|error| problem(&error))?);
        command.env(tunebook_client::SOCKET, server.place()).env(tunebook_client::TOKEN, server.token());
        // A session that a cell starts has a folder of its own.
        command.env_remove(workplace::VARIABLE);
        let (context, outputs) = EvalContext::with_subprocess_command(command).map_err(|error| problem(&error))?;
        let mut context = CommandContext::with_eval_context(context);
        let process = context.process_handle();
        workplace.runs(Arc::clone(&process));
        // Cells steer what computes elsewhere; compiled faster, they are there sooner. `:opt 2` is there for others.
        context.set_opt_level("1").map_err(|error| problem(&error))?;
        let prelude = format!(
            ":dep tunebook-client = {{ path = {:?} }}\nuse tunebook_client::{{Session, eprintln, print, println, session}};",
            client.display().to_string()
        );
        context.execute(&prelude).map_err(|error| problem(&error))?;
        Ok(Self { context, outputs, process, host: Arc::clone(host), cell, _server: server })
    }

    /// Runs a cell; what it prints and displays, and what its calls of the session show, goes to `messages`.
    ///
    /// # Errors
    /// It does not compile, or does not reach its end.
    pub(crate) fn run(&mut self, code: &str, messages: &Sender<Message>) -> Result<(), RustError> {
        self.cell.begin(messages);
        let Self { context, outputs, process, host, cell, .. } = self;
        let (result, was_killed) = thread::scope(|scope| {
            let (running, ended) = bounded::<()>(0);
            let (outputs, process, host, cell) = (&*outputs, &*process, &*host, &*cell);
            let listener = scope.spawn(move || listen(outputs, process, host, cell, &ended));
            let result = context.execute(code);
            drop(running);
            (result, listener.join().unwrap_or_default())
        });
        let failure = self.cell.end();
        let was_stopped = self.host.cancel().is_cancelled();
        match (result, failure) {
            (Ok(_), Some(Failure::Panicked(message))) => Err(RustError::Panicked { message }),
            (Ok(_), Some(Failure::Error(_))) if was_stopped => Err(RustError::Interrupted { is_whole: false }),
            (Ok(_), Some(Failure::Error(message))) => Err(RustError::Failed { message }),
            (Ok(_), None) if was_stopped => Err(RustError::Interrupted { is_whole: true }),
            (Ok(outputs), None) => {
                display(outputs, messages);
                Ok(())
            }
            (Err(evcxr::Error::CompilationErrors(errors)), _) => Err(RustError::Compile {
                message: errors.first().map(|error| error.message()).unwrap_or_default(),
                report: compile_report::draw(&errors, code),
            }),
            (Err(evcxr::Error::SubprocessTerminated(_)), _) if was_killed => Err(RustError::Killed),
            (Err(evcxr::Error::SubprocessTerminated(how)), _) => {
                Err(RustError::Died { how: how.lines().last().unwrap_or_default().to_string() })
            }
            (Err(error), _) => Err(RustError::Refused { message: error.to_string() }),
        }
    }

    /// What can stand at `cursor`, a byte of `code`.
    pub(crate) fn complete(&mut self, code: &str, cursor: usize) -> Completions {
        // Code that cannot be read has no completions.
        let Ok(found) = self.context.completions(code, cursor) else { return Completions::default() };
        Completions {
            start: found.start_offset,
            end: found.end_offset,
            candidates: found
                .completions
                .into_iter()
                .map(|found| Completion { text: found.code, kind: found.kind, description: found.label })
                .collect(),
        }
    }

    /// The type and documentation of the name that ends at `cursor`.
    pub(crate) fn inspect(&mut self, code: &str, cursor: usize) -> Option<String> {
        let (text, _) = self.context.hover_at(code, cursor).ok()?;
        (text != "No documentation found").then_some(text)
    }
}

/// Looks after a cell until it has ended; ends its process if it was stopped and does not end by itself, and says whether.
fn listen(
    outputs: &EvalContextOutputs,
    process: &Mutex<Child>,
    host: &Host,
    cell: &Cell,
    ended: &Receiver<()>,
) -> bool {
    let mut was_killed = false;
    let mut stopped: Option<Instant> = None;
    // What the process writes before it hands over what cells write, and behind that.
    let written = |line: String, is_error| cell.print(line + "\n", is_error);
    loop {
        select! {
            recv(outputs.stdout) -> line => line.into_iter().for_each(|line| written(line, false)),
            recv(outputs.stderr) -> line => line.into_iter().for_each(|line| written(line, true)),
            recv(ended) -> _ => break,
            default(POLL) => {}
        }
        cell.tick();
        if cell.is_in_call() || !host.cancel().is_cancelled() {
            stopped = None;
        } else if stopped.get_or_insert_with(Instant::now).elapsed() > GRACE && !was_killed {
            was_killed = process.lock().unwrap_or_else(PoisonError::into_inner).kill().is_ok();
        }
    }
    outputs.stdout.try_iter().for_each(|line| written(line, false));
    outputs.stderr.try_iter().for_each(|line| written(line, true));
    was_killed
}

fn display(outputs: EvalOutputs, messages: &Sender<Message>) {
    let is_unit = |kind: &str, content: &str| kind == "text/plain" && content == "()";
    let mut contents: Vec<_> = outputs.content_by_mime_type.into_iter().collect();
    contents.retain(|(kind, content)| !is_unit(kind, content));
    contents.sort();
    if !contents.is_empty() {
        let _ = messages.send(Message::Output(Output::Display(contents)));
    }
}
