//! Signals that ask the program to end. Before it does, what was trained is saved.

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

use rustix::termios::Termios;
use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGTERM;
use signal_hook::consts::SIGUSR1;
use signal_hook::consts::SIGXFSZ;
use signal_hook::iterator::Signals;
use tunebook_commands::Event;
use tunebook_commands::Host;
use tunebook_commands::Localize;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_rust_cells::RustCells;

use crate::echo;

/// Signals that come so soon after the first are one request with it.
const TOGETHER: Duration = Duration::from_secs(1);

/// Ends the program when it is asked to.
pub(crate) struct Ending {
    host: Arc<Host>,
    rust: Arc<RustCells>,
    /// As it was at the start, where there is one.
    terminal: Option<Termios>,
    has_begun: AtomicBool,
}

impl Ending {
    /// Listens for the signals of `kill` and `docker stop`, of a terminal or SSH session that is closed, and of Slurm before a
    /// job's time is up. At the first one what runs is stopped at its next safe point, and a checkpoint is written; a second
    /// one ends the program at once.
    ///
    /// # Errors
    /// The system gives no handler or no thread.
    pub(crate) fn on_signals(host: Arc<Host>, rust: Arc<RustCells>) -> io::Result<Arc<Self>> {
        let terminal = io::stdin().is_terminal().then(echo::terminal).flatten();
        let ending = Arc::new(Self { host, rust, terminal, has_begun: AtomicBool::new(false) });
        let asked: Vec<_> = [SIGHUP, SIGTERM, SIGUSR1].into_iter().filter(|signal| !is_ignored(*signal)).collect();
        let mut signals = Signals::new(asked)?;
        let listening = Arc::clone(&ending);
        thread::Builder::new().name("signals".to_string()).spawn(move || {
            let mut first: Option<Instant> = None;
            for signal in signals.forever() {
                match first {
                    // A closed terminal sends one by itself and one by its shell, a service manager two kinds.
                    Some(first) if first.elapsed() < TOGETHER => {}
                    Some(_) => listening.exit(signal),
                    None => {
                        first = Some(Instant::now());
                        if !listening.has_begun.swap(true, Ordering::SeqCst) {
                            let ending = Arc::clone(&listening);
                            thread::spawn(move || ending.keep_and_exit(signal));
                        }
                    }
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
            self.keep_and_exit(SIGHUP);
        }
        while self.has_begun.load(Ordering::SeqCst) {
            thread::park();
        }
    }

    fn keep_and_exit(&self, signal: i32) -> ! {
        self.keep();
        self.rust.close();
        self.exit(signal)
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

    /// As a shell reports a program that a signal ended.
    fn exit(&self, signal: i32) -> ! {
        echo::restore(&self.terminal);
        process::exit(128 + signal)
    }
}

/// Has a write beyond `ulimit -f` or a file system's limit fail as on a full disk, instead of ending the program.
///
/// # Errors
/// The system gives no handler.
pub(crate) fn survive_size_limits() -> io::Result<()> {
    // Unlike a signal that is ignored, one with a handler is as it was in the programs that are started, as for Rust cells.
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Whether the program was started with a signal ignored, as by `nohup`.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: sigaction is plain data, and without a new action the call only writes the old one into it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}
