//! Drawing the answers to a request.

use std::io;
use std::io::IsTerminal;
use std::io::Write;

use console::Term;
use crossbeam_channel::Receiver;
use crossbeam_channel::RecvTimeoutError;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use tunebook_commands::Error;
use tunebook_commands::Event;
use tunebook_commands::Lang;
use tunebook_commands::Language;
use tunebook_commands::Localize;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_commands::Question;
use tunebook_commands::colourless;
use tunebook_commands::estimate;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::page;
use tunebook_commands::page::Page;
use tunebook_commands::printable;
use tunebook_commands::text;
use tunebook_commands::written;
use tunebook_view::PATIENCE;
use tunebook_view::View;

use crate::background::Background;
use crate::echo::ControlKeysUnwritten;
use crate::progress::Bars;

/// The width of text that goes to a file or a pipe.
const PLAIN_WIDTH: usize = 100;

/// Standard output, and whether somebody looks at it. All that is written goes through [`printable`].
pub(crate) struct Screen {
    /// Bars are drawn only on a terminal.
    live: bool,
    color: bool,
    language: Language,
    background: Background,
}

/// How a request ended.
pub(crate) enum End {
    Done,
    /// A conversation is asked for.
    Conversation,
    /// The panel is asked for.
    Panel,
    Quit,
    Failed(Error),
}

impl Screen {
    /// What it says is in `language`, and changes with it.
    pub(crate) fn new(language: Language) -> Self {
        let live = Term::stdout().is_term() && Term::stderr().is_term();
        let background = Background::new(language.clone());
        Self { live, color: live && console::colors_enabled(), language, background }
    }

    pub(crate) fn lang(&self) -> Lang {
        self.language.get()
    }

    pub(crate) fn color(&self) -> bool {
        self.color
    }

    /// Whether somebody looks at it, so that what was written can be written over.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Wipes the terminal.
    ///
    /// # Errors
    /// It is closed.
    pub(crate) fn clear(&self) -> io::Result<()> {
        if self.live { Term::stdout().clear_screen() } else { Ok(()) }
    }

    pub(crate) fn page(&self) -> Page {
        page_of(self.live, self.color, &self.language)
    }

    /// What the prompt shows of a training in the background.
    pub(crate) fn background(&self) -> &Background {
        &self.background
    }

    /// Draws messages as they come, until the request is done. A training is not there for what it writes: it goes on to its
    /// end when nobody reads that any more.
    ///
    /// # Errors
    /// Standard output is closed, and the request was no training.
    pub(crate) fn follow(&self, messages: Receiver<Message>) -> io::Result<End> {
        let _unwritten = self.live.then(ControlKeysUnwritten::new);
        let mut drawing = Drawing {
            screen: self,
            bars: Bars::new(self.live, self.language.clone()),
            in_text: false,
            line: String::new(),
            end: End::Done,
        };
        let (mut trains, mut is_read) = (false, true);
        loop {
            // A request that is silent for so long shows that it is alive.
            let message = match messages.recv_timeout(PATIENCE) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    if !drawing.in_text && is_read {
                        drawing.bars.wait();
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(End::Failed(Error::Lost)),
            };
            trains |= matches!(message, Message::Event(Event::MemoryEstimate(_) | Event::MicroBatch { .. }));
            match message {
                Message::Done(result) if !is_read => return Ok(result.map_or_else(End::Failed, |()| drawing.end)),
                Message::Done(result) => {
                    drawing.bars.clear();
                    drawing.end_text()?;
                    return Ok(result.map_or_else(End::Failed, |()| drawing.end));
                }
                message if is_read => match drawing.draw(message) {
                    Err(_) if trains => is_read = false,
                    drawn => drawn?,
                },
                _ => {}
            }
        }
    }

    /// Writes an error to standard error, after which the session goes on.
    ///
    /// # Errors
    /// It is closed.
    pub(crate) fn error(&self, error: &Error) -> io::Result<()> {
        self.write_error(error, &error.localize_in_session(self.lang()))
    }

    /// The same of an error that ends it.
    ///
    /// # Errors
    /// As [`Screen::error`].
    pub(crate) fn last_error(&self, error: &Error) -> io::Result<()> {
        self.write_error(error, &error.localize(self.lang()))
    }

    fn write_error(&self, error: &Error, text: &str) -> io::Result<()> {
        if let Some(report) = error.report() {
            let report = if self.color { report.into() } else { console::strip_ansi_codes(report) };
            writeln!(io::stderr(), "{}", printable(&report))?;
        }
        let label = localized("error:", "错误：").in_lang(self.lang());
        let text = localized!(self.lang(), "{label} {text}", "{label}{text}");
        let text = if self.live { page::wrap(&text, 2, self.page().width) } else { text };
        let text = colourless(&text);
        let styled = if self.color { console::style(label).red().bold().to_string() } else { label.to_string() };
        writeln!(io::stderr(), "{}", text.replacen(label, &styled, 1))
    }

    /// Says what the user should know.
    fn note(&self, text: &str) -> io::Result<()> {
        self.aside(&localized!(self.lang(), "note: {text}", "提示：{text}"))
    }

    /// # Errors
    /// Standard output is closed.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        let text = if self.color { printable(text) } else { colourless(text) };
        writeln!(io::stdout(), "{text}")
    }

    /// Writes what is no answer.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(crate) fn aside(&self, text: &str) -> io::Result<()> {
        self.line(&self.page().faint(&colourless(&page::wrap(text, 2, self.page().width))))
    }

    fn output(&self, output: &Output) -> io::Result<()> {
        match text::render(output, self.page()) {
            text if text.is_empty() => Ok(()),
            text => self.line(&text),
        }
    }

    fn write(&self, piece: &str) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(colourless(piece).as_bytes())?;
        out.flush()
    }
}

fn page_of(live: bool, color: bool, language: &Language) -> Page {
    let width = if live { usize::from(Term::stdout().size().1) } else { PLAIN_WIDTH };
    Page { width, color, lang: language.get() }
}

/// What is on the screen of a request that is being carried out.
struct Drawing<'a> {
    screen: &'a Screen,
    bars: Bars,
    /// Whether the last thing written was a piece of text without a line feed.
    in_text: bool,
    /// What a Rust cell has written of a line.
    line: String,
    end: End,
}

impl Drawing<'_> {
    /// # Errors
    /// Standard output is closed.
    fn draw(&mut self, message: Message) -> io::Result<()> {
        match message {
            Message::Event(event) => self.event(event),
            Message::Output(output) => self.output(&output),
            // Of a pipe, the lines are in order: what a training tells stands where it is waited for.
            Message::Job(messages) if self.screen.live => {
                let (live, color, language) = (self.screen.live, self.screen.color, self.screen.language.clone());
                self.screen.background.follow(messages, move || page_of(live, color, &language));
                Ok(())
            }
            Message::Ask(question) => self.ask(question),
            Message::Job(_) | Message::Call(_) | Message::Done(_) => Ok(()),
        }
    }

    /// Asks the user, where there is one who looks at it.
    fn ask(&mut self, question: Question) -> io::Result<()> {
        self.bars.clear();
        if !self.screen.live || !io::stdin().is_terminal() {
            return Ok(());
        }
        self.in_text = false;
        // The prompt is drawn where the line begins.
        let prompt = if question.prompt.is_empty() { std::mem::take(&mut self.line) } else { question.prompt };
        let mut editor = DefaultEditor::new().map_err(io::Error::other)?;
        match editor.readline(&*colourless(&prompt)) {
            // Whoever has asked may be gone.
            Ok(answer) => drop(question.answer.send(answer)),
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> io::Result<()> {
        let (screen, lang) = (self.screen, self.screen.lang());
        self.bars.event(&event);
        match event {
            Event::Text(piece) => {
                self.bars.clear();
                self.in_text = true;
                screen.write(&piece)?;
            }
            Event::Note(note) => {
                self.bars.clear();
                self.end_text()?;
                screen.note(&note.localize(lang))?;
            }
            Event::MemoryEstimate(plan) => {
                self.bars.clear();
                screen.aside(&plan.localize(lang))?;
            }
            Event::Estimate { steps, time } => {
                self.bars.suspend(|| screen.aside(&estimate(steps, time, lang)))?;
            }
            Event::Advice(advice) => self.bars.suspend(|| screen.note(&advice.localize(lang)))?,
            Event::Answering(name) => {
                self.bars.clear();
                self.end_text()?;
                screen.line(&screen.page().bright(&name))?;
            }
            Event::Progress { .. } | Event::Predicting { .. } | Event::Download { .. } | Event::MicroBatch { .. } => {
                self.bars.draw()
            }
            Event::Trial { number, total, settings } => {
                self.bars.clear();
                screen.aside(&text::trial(number, total, &settings, lang))?;
            }
            Event::Earlier { .. } | Event::Step(_) | Event::Evaluated(_) | Event::Probed(_) => {}
        }
        Ok(())
    }

    fn output(&mut self, output: &Output) -> io::Result<()> {
        let screen = self.screen;
        if let Output::Written { text, is_error } = output {
            return self.written(text, *is_error);
        }
        self.end_text()?;
        if let Output::Trained(_) = output {
            screen.background.forget();
        }
        match View::of(output, screen.lang()) {
            // The answers were shown as they came; where there is room, they are put side by side now.
            View::Comparison(report) if !(screen.live && text::fits_side_by_side(report, screen.page())) => {
                self.bars.clear();
                screen.line(&text::compared_ends(report, screen.page()))?;
            }
            View::Log => self.bars.suspend(|| screen.output(output))?,
            View::Stderr(line) => self.bars.suspend(|| writeln!(io::stderr(), "{}", printable(line)))?,
            View::Aside(text) => self.bars.suspend(|| screen.aside(text))?,
            View::Conversation => self.end = End::Conversation,
            View::Panel => self.end = End::Panel,
            View::Quit => self.end = End::Quit,
            View::Clear => screen.clear()?,
            View::Nothing
            | View::Written { .. }
            | View::Stdout(_)
            | View::Answer(_)
            | View::DetailedAnswer(_)
            | View::Prediction(_)
            | View::Report
            | View::Trained(_)
            | View::Table(_)
            | View::Data(..)
            | View::Predictions(..)
            | View::Series(_)
            | View::Overlay(_)
            | View::Sweep(_)
            | View::RangeTest(_)
            | View::Picture(_)
            | View::Sample(_)
            | View::Worst(_)
            | View::Comparison(_)
            | View::Probes(_)
            | View::Media(_) => {
                self.bars.clear();
                screen.output(output)?;
            }
        }
        Ok(())
    }

    /// What a cell has written is passed on as it came.
    fn written(&mut self, text: &str, is_error: bool) -> io::Result<()> {
        self.bars.clear();
        self.in_text = !text.ends_with('\n');
        self.line += text;
        let begin = self.line.rfind(['\n', '\r']).map_or(0, |end| end + 1);
        self.line.drain(..begin);
        let mut to: Box<dyn Write> = if is_error { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
        to.write_all(written(text).as_bytes())?;
        to.flush()
    }

    fn end_text(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.in_text) { self.screen.line("") } else { Ok(()) }
    }
}
