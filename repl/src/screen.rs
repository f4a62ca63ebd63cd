//! Draws what a request answers.

use std::io;
use std::io::Write;
use std::time::Duration;

use console::Term;
use crossbeam_channel::Receiver;
use crossbeam_channel::RecvTimeoutError;
use tunebook_commands::Error;
use tunebook_commands::Event;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_commands::text;
use tunebook_commands::text::Page;

use crate::progress::Progress;

/// A request that is silent for so long shows that it is alive.
const PATIENCE: Duration = Duration::from_millis(300);
/// The width of text that goes to a file or a pipe.
const PLAIN_WIDTH: usize = 100;

/// Standard output, and whether somebody looks at it.
pub struct Screen {
    /// Bars are drawn only on a terminal.
    live: bool,
    color: bool,
}

/// How a request ended.
pub enum End {
    Done,
    /// A conversation is asked for.
    Conversation,
    Quit,
    Failed(Error),
}

impl Screen {
    pub fn new() -> Self {
        let live = Term::stdout().is_term() && Term::stderr().is_term();
        Self { live, color: live && console::colors_enabled() }
    }

    pub fn color(&self) -> bool {
        self.color
    }

    /// Whether somebody looks at it, so that what was written can be written over.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Wipes the terminal.
    ///
    /// # Errors
    /// It is closed.
    pub fn clear(&self) -> io::Result<()> {
        if self.live { Term::stdout().clear_screen() } else { Ok(()) }
    }

    pub fn page(&self) -> Page {
        let width = if self.live { usize::from(Term::stdout().size().1) } else { PLAIN_WIDTH };
        Page { width, color: self.color }
    }

    /// Draws messages as they come, until the request is done.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn follow(&self, messages: Receiver<Message>) -> io::Result<End> {
        let mut progress = Progress::new(self.live);
        // Whether the last thing written was a piece of text without a line feed.
        let mut in_text = false;
        let mut end = End::Done;
        loop {
            let message = match messages.recv_timeout(PATIENCE) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    if !in_text {
                        progress.wait();
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(End::Failed(Error::Panic("no answer".to_string()))),
            };
            match message {
                Message::Event(Event::Text(piece)) => {
                    progress.clear();
                    in_text = true;
                    self.write(&piece)?;
                }
                Message::Event(Event::Note(note)) => {
                    progress.clear();
                    self.end_text(&mut in_text)?;
                    self.aside(&format!("note: {note}"))?;
                }
                Message::Event(Event::Progress { task, done, total }) => progress.task(task, done, total),
                Message::Event(Event::Download { file, done, size, all_done, all }) => {
                    progress.download(&file, done, size, all_done, all);
                }
                Message::Event(Event::MicroBatch { step, last_step, total_steps, done, total }) => {
                    progress.micro_batch(step, last_step, total_steps, done, total);
                }
                Message::Event(Event::Step(record)) => progress.step(&record),
                Message::Event(Event::Evaluated(record)) => progress.evaluated(&record),
                Message::Output(output) => {
                    self.end_text(&mut in_text)?;
                    match output {
                        Output::Step(_) | Output::Evaluation(_) => progress.suspend(|| self.output(&output))?,
                        Output::Conversation => end = End::Conversation,
                        Output::Quit => end = End::Quit,
                        Output::Clear => self.clear()?,
                        _ => {
                            progress.clear();
                            self.output(&output)?;
                        }
                    }
                }
                Message::Done(result) => {
                    progress.clear();
                    self.end_text(&mut in_text)?;
                    return Ok(result.map_or_else(End::Failed, |()| end));
                }
            }
        }
    }

    /// Writes an error to standard error.
    ///
    /// # Errors
    /// It is closed.
    pub fn error(&self, error: &dyn std::fmt::Display) -> io::Result<()> {
        let label = if self.color { console::style("error:").red().bold().to_string() } else { "error:".to_string() };
        let text = error.to_string();
        let text = if self.live {
            text::wrap(&format!("error: {text}"), 2, self.page().width)
        } else {
            format!("error: {text}")
        };
        writeln!(io::stderr(), "{}", text.replacen("error:", &label, 1))
    }

    /// # Errors
    /// Standard output is closed.
    pub fn line(&self, text: &str) -> io::Result<()> {
        writeln!(io::stdout(), "{text}")
    }

    /// Writes what is no answer.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn aside(&self, text: &str) -> io::Result<()> {
        self.line(&self.page().faint(&text::wrap(text, 2, self.page().width)))
    }

    fn output(&self, output: &Output) -> io::Result<()> {
        match text::render(output, self.page()) {
            text if text.is_empty() => Ok(()),
            text => self.line(&text),
        }
    }

    fn write(&self, piece: &str) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(piece.as_bytes())?;
        out.flush()
    }

    fn end_text(&self, in_text: &mut bool) -> io::Result<()> {
        if std::mem::take(in_text) { self.line("") } else { Ok(()) }
    }
}
