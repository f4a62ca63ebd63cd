//! Draws what a request answers.

use std::io;
use std::io::Write;
use std::time::Duration;

use console::Term;
use crossbeam_channel::Receiver;
use crossbeam_channel::RecvTimeoutError;
use tunebook_commands::Error;
use tunebook_commands::Event;
use tunebook_commands::Lang;
use tunebook_commands::Language;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_commands::Say;
use tunebook_commands::estimate;
use tunebook_commands::lang::both;
use tunebook_commands::page;
use tunebook_commands::page::Page;
use tunebook_commands::say;
use tunebook_commands::text;

#[cfg(unix)]
use crate::echo::ControlKeysUnwritten;
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
    language: Language,
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
    /// What it says is in `language`, and changes with it.
    pub fn new(language: Language) -> Self {
        let live = Term::stdout().is_term() && Term::stderr().is_term();
        Self { live, color: live && console::colors_enabled(), language }
    }

    pub fn lang(&self) -> Lang {
        self.language.get()
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
        Page { width, color: self.color, lang: self.lang() }
    }

    /// Draws messages as they come, until the request is done.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn follow(&self, messages: Receiver<Message>) -> io::Result<End> {
        #[cfg(unix)]
        let _unwritten = self.live.then(ControlKeysUnwritten::new);
        let mut progress = Progress::new(self.live, self.language.clone());
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
                    self.note(&note.say(self.lang()))?;
                }
                Message::Event(Event::Plan(plan)) => {
                    progress.clear();
                    self.aside(&plan.say(self.lang()))?;
                }
                Message::Event(Event::Estimate { steps, time }) => {
                    progress.suspend(|| self.aside(&estimate(steps, time, self.lang())))?;
                }
                Message::Event(Event::Advice(advice)) => {
                    progress.suspend(|| self.note(&advice.say(self.lang())))?;
                }
                Message::Event(Event::Answering(name)) => {
                    progress.clear();
                    self.end_text(&mut in_text)?;
                    self.line(&self.page().bright(&name))?;
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
                        // The answers were shown as they came; where there is room, they are put side by side now.
                        Output::Compared(report) if !(self.live && text::fits_side_by_side(&report, self.page())) => {
                            progress.clear();
                            self.line(&text::compared_ends(&report, self.page()))?;
                        }
                        Output::Step(_) | Output::Evaluation(_) => progress.suspend(|| self.output(&output))?,
                        Output::Stderr(line) => progress.suspend(|| writeln!(io::stderr(), "{line}"))?,
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
    pub fn error(&self, error: &Error) -> io::Result<()> {
        if let Some(report) = error.report() {
            let report = if self.color { report.into() } else { console::strip_ansi_codes(report) };
            writeln!(io::stderr(), "{report}")?;
        }
        let (label, text) = (both("error:", "错误：").in_lang(self.lang()), error.say(self.lang()));
        let text = say!(self.lang(), "{label} {text}", "{label}{text}");
        let text = if self.live { page::wrap(&text, 2, self.page().width) } else { text };
        let styled = if self.color { console::style(label).red().bold().to_string() } else { label.to_string() };
        writeln!(io::stderr(), "{}", text.replacen(label, &styled, 1))
    }

    /// Says what the user should know.
    fn note(&self, text: &str) -> io::Result<()> {
        self.aside(&say!(self.lang(), "note: {text}", "提示：{text}"))
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
        self.line(&self.page().faint(&page::wrap(text, 2, self.page().width)))
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
