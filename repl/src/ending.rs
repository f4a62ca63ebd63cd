//! The end of the program when it is asked to. Before, what was trained is saved.

use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::process;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tunebook_commands::Event;
use tunebook_commands::Host;
use tunebook_commands::Localize;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_rust_cells::RustCells;

use crate::echo;
use crate::echo::Terminal;
use crate::signals;

/// The status of a program whose terminal is gone, as a shell reports SIGHUP.
const TERMINAL_GONE: i32 = 129;
/// Signals that come so soon after the first are one request with it.
const TOGETHER: Duration = Duration::from_secs(1);

/// Ends the program when it is asked to.
pub(crate) struct Ending {
    host: Arc<Host>,
    rust: Arc<RustCells>,
    /// As it was at the start, where there is one.
    terminal: Option<Terminal>,
    has_begun: AtomicBool,
}

impl Ending {
    /// Listens for [signals]. At the first one what runs is stopped at its next safe point, and a checkpoint is written; a
    /// second one ends the program at once.
    ///
    /// # Errors
    /// The system gives no handler or no thread.
    pub(crate) fn on_signals(host: Arc<Host>, rust: Arc<RustCells>) -> io::Result<Arc<Self>> {
        let terminal = io::stdin().is_terminal().then(echo::terminal).flatten();
        let ending = Arc::new(Self { host, rust, terminal, has_begun: AtomicBool::new(false) });
        let listening = Arc::clone(&ending);
        let mut first: Option<Instant> = None;
        signals::listen(move |status| match first {
            // A closed terminal sends one by itself and one by its shell, a service manager two kinds.
            Some(first) if first.elapsed() < TOGETHER => {}
            Some(_) => listening.exit(status),
            None => {
                first = Some(Instant::now());
                if !listening.has_begun.swap(true, Ordering::SeqCst) {
                    let ending = Arc::clone(&listening);
                    thread::spawn(move || ending.keep_and_exit(status));
                }
            }
        })?;
        Ok(ending)
    }

    /// Waits for the end, if it has begun. A terminal that is gone is a reason, too: the end of its input may be seen before
    /// its signal.
    pub(crate) fn join(&self) {
        let is_gone = self.terminal.is_some() && echo::terminal().is_none();
        if is_gone && !self.has_begun.swap(true, Ordering::SeqCst) {
            self.keep_and_exit(TERMINAL_GONE);
        }
        while self.has_begun.load(Ordering::SeqCst) {
            thread::park();
        }
    }

    fn keep_and_exit(&self, status: i32) -> ! {
        self.keep();
        self.rust.close();
        self.exit(status)
    }

    /// Has what was trained written to the disk, and says where.
    pub(crate) fn keep(&self) {
        for message in self.host.end() {
            let text = match message {
                Message::Event(Event::Note(note)) => note.localize(self.host.language().get()),
                Message::Output(Output::Stderr(text)) => text,
                Message::Done(_) => break,
                _ => continue,
            };
            // Nobody may be there to read it.
            let _ = writeln!(io::stderr(), "\n{text}");
        }
    }

    fn exit(&self, status: i32) -> ! {
        echo::restore(&self.terminal);
        process::exit(status)
    }
}
