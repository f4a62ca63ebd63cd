//! `tunebook`: the command language at a prompt, in a pipe, out of a file.
//!
//! This crate reads lines and draws what comes back. What lines mean is `tunebook-commands`; how anything is computed
//! it does not know.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a face prints")]

mod allocator;
mod attach;
mod background;
mod cli;
mod completions;
#[cfg_attr(windows, path = "no_echo.rs")]
mod echo;
mod ending;
mod helper;
mod interactive;
mod kernel;
mod man;
mod panel;
mod progress;
mod screen;
mod script;
#[cfg_attr(windows, path = "console_events.rs")]
mod signals;

use std::io;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use tunebook_commands::Host;
use tunebook_commands::Lang;
use tunebook_commands::Language;
use tunebook_commands::RecipeTask;
use tunebook_commands::colourless;
use tunebook_commands::environment;
use tunebook_commands::given_file;
use tunebook_commands::serve_session;
use tunebook_commands::version;
use tunebook_engine::Cancel;
use tunebook_rust_cells::RustCells;

use cli::Cli;
use cli::Command;
use ending::Ending;
use panel::Page;
use screen::End;
use screen::Screen;
use script::Script;

fn main() -> ExitCode {
    tunebook_rust_cells::runtime_hook();
    allocator::reuse_freed_memory();
    match start(Cli::read()) {
        Ok(code) => code,
        // Whoever read our output has gone: as a shell reports a program that SIGPIPE ended.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(141),
        Err(error) => {
            eprintln!("tunebook: {}", colourless(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> io::Result<ExitCode> {
    let lang = Lang::from_environment();
    signals::survive_size_limits()?;
    let command = match cli.command {
        Some(Command::Version) => {
            println!("{}", version());
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Env) => {
            println!("{}", environment(lang, &Cancel::default()).map_err(io::Error::other)?);
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Completions { shell }) => return completions::write(shell).map(|()| ExitCode::SUCCESS),
        Some(Command::Man) => return man::write().map(|()| ExitCode::SUCCESS),
        Some(Command::Attach { connection }) => {
            return attach::run(connection.as_deref(), &Screen::new(Language::new(lang)));
        }
        Some(Command::Worker) => return work(lang),
        Some(Command::Kernel(command)) => return kernel::run(command, lang).map(|()| ExitCode::SUCCESS),
        command => command,
    };
    let host = Arc::new(Host::start(lang)?);
    let rust = Arc::new(RustCells::new(Arc::clone(&host)));
    let cancel = host.cancel().clone();
    ctrlc::set_handler(move || cancel.cancel()).map_err(io::Error::other)?;
    let ending = Ending::on_signals(Arc::clone(&host), Arc::clone(&rust))?;
    let screen = Screen::new(host.language().clone());
    let page = Page::new(Arc::clone(&host), Arc::clone(&rust));
    let is_typed = command.is_none() && io::stdin().is_terminal();
    let script = Script { host: &host, rust: &rust, page: &page, screen: &screen };
    let ended = match command {
        None if is_typed => interactive::run(&host, &rust, &page, &screen),
        None => script.run("stdin", io::stdin().lock()),
        Some(Command::Run { file }) => match given_file::read(&file, host.cancel()) {
            Ok(text) => script.run_whole(&file.display().to_string(), text),
            Err(error) => Ok(End::Failed(error.into())),
        },
        Some(Command::Panel { port }) => page.show(port, &screen).map(|()| {
            script::serve(&host, &page);
            End::Done
        }),
        Some(Command::Train(recipe)) => screen.follow(host.recipe(RecipeTask::Train, recipe.arguments)),
        Some(Command::Export(recipe)) => screen.follow(host.recipe(RecipeTask::Export, recipe.arguments)),
        Some(
            Command::Version
            | Command::Completions { .. }
            | Command::Man
            | Command::Env
            | Command::Attach { .. }
            | Command::Kernel(_)
            | Command::Worker,
        ) => Ok(End::Done),
    };
    ending.join();
    // Ctrl-C ends a script, and with it the session.
    // So does an output that nobody reads any more.
    if ended.is_err() || !is_typed && host.cancel().is_cancelled() {
        ending.keep();
    }
    rust.close();
    let ended = ended?;
    host.close().into_iter().for_each(drop);
    Ok(match ended {
        // As a shell reports a program that Ctrl-C ended.
        _ if host.cancel().is_cancelled() => ExitCode::from(130),
        End::Failed(error) => {
            screen.last_error(&error)?;
            ExitCode::FAILURE
        }
        End::Done | End::Quit | End::Conversation | End::Panel => ExitCode::SUCCESS,
    })
}

/// Works for the session that started this process.
fn work(lang: Lang) -> io::Result<ExitCode> {
    serve_session(lang).map_err(io::Error::other)?;
    Ok(ExitCode::SUCCESS)
}
