//! A training in the background, on the line above the prompt.
//!
//! While somebody types, the line is drawn anew in its place; a command's own output is left alone. The end of the
//! training is said there as well, or before the next prompt.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use console::truncate_str;
use crossbeam_channel::Receiver;
use rustyline::ExternalPrinter;
use tunebook_commands::Language;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_commands::colourless;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::page;
use tunebook_commands::page::Page;
use tunebook_commands::text;
use tunebook_view::Progress;

use crate::progress;

/// How often the line is drawn anew.
const REDRAW: Duration = Duration::from_millis(500);
/// Goes up to the line above the prompt, and wipes it.
const IN_PLACE: &str = "\x1b[1A\r\x1b[2K";

/// What the prompt shows of a training in the background.
#[derive(Clone)]
pub(crate) struct Background {
    shared: Arc<Shared>,
    language: Language,
}

struct Shared {
    line: Mutex<Line>,
    /// Somebody is typing, and the line above the prompt is ours.
    is_prompting: AtomicBool,
    printer: Mutex<Option<Box<dyn ExternalPrinter + Send>>>,
}

#[derive(Default)]
struct Line {
    /// Counts trainings: a thread that draws an earlier one has nothing to say any more.
    number: usize,
    text: Option<String>,
    /// The training is over: the text is said once.
    is_last: bool,
}

impl Background {
    pub(crate) fn new(language: Language) -> Self {
        let shared = Shared { line: Mutex::default(), is_prompting: AtomicBool::new(false), printer: Mutex::new(None) };
        Self { shared: Arc::new(shared), language }
    }

    /// Where to draw while somebody types.
    pub(crate) fn print_through(&self, printer: impl ExternalPrinter + Send + 'static) {
        *self.shared.printer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(printer));
    }

    /// Draws from now on what this training tells.
    pub(crate) fn follow(&self, messages: Receiver<Message>, page: impl Fn() -> Page + Send + 'static) {
        let number = {
            let mut line = self.line();
            let begins = page().faint(localized("training …", "正在训练……").in_lang(self.language.get()));
            *line = Line { number: line.number + 1, text: Some(begins), is_last: false };
            line.number
        };
        let background = self.clone();
        // Without a thread the training goes on unseen; `jobs` tells of it.
        let _ = thread::Builder::new().name("background".to_string()).spawn(move || {
            background.draw(&messages, number, &page);
        });
    }

    /// Its end has been said.
    pub(crate) fn forget(&self) {
        let mut line = self.line();
        *line = Line { number: line.number + 1, ..Line::default() };
    }

    /// The line that stands above the prompt, which comes now.
    pub(crate) fn begin_prompt(&self) -> Option<String> {
        let mut line = self.line();
        self.shared.is_prompting.store(!line.is_last && line.text.is_some(), Ordering::SeqCst);
        if line.is_last {
            line.is_last = false;
            return line.text.take();
        }
        line.text.clone()
    }

    pub(crate) fn end_prompt(&self) {
        self.shared.is_prompting.store(false, Ordering::SeqCst);
    }

    fn draw(&self, messages: &Receiver<Message>, number: usize, page: &dyn Fn() -> Page) {
        let (mut progress, mut drawn, mut report) = (Progress::start(), Instant::now() - REDRAW, None);
        for message in messages {
            match message {
                Message::Event(event) => {
                    progress.event(&event);
                    if drawn.elapsed() >= REDRAW && progress.training.is_some() {
                        drawn = Instant::now();
                        let page = page();
                        let text = progress::line(&progress, self.language.get());
                        let text = truncate_str(&colourless(&text), page.width.saturating_sub(1), "").into_owned();
                        self.say(page.faint(&text), number, false);
                    }
                }
                Message::Output(output @ Output::Trained(_)) => report = Some(text::render(&output, page())),
                Message::Done(result) => {
                    let page = page();
                    let text = match (result, report.take()) {
                        (Err(error), _) => {
                            let problem = error.localize_in_session(page.lang);
                            let text = localized!(
                                page.lang,
                                "error: the training has ended: {problem}",
                                "错误：训练已结束：{problem}"
                            );
                            page::wrap(&colourless(&text), 2, page.width)
                        }
                        (Ok(()), Some(report)) => report,
                        (Ok(()), None) => return,
                    };
                    self.say(text, number, true);
                    return;
                }
                Message::Output(_) | Message::Job(_) | Message::Ask(_) | Message::Call(_) => {}
            }
        }
    }

    /// Puts `text` above the prompt, where there is one. No lock is held while the prompt is asked to print.
    fn say(&self, text: String, number: usize, is_last: bool) {
        {
            let mut line = self.line();
            if line.number != number {
                return;
            }
            (line.text, line.is_last) = (Some(text.clone()), is_last);
        }
        if !self.shared.is_prompting.load(Ordering::SeqCst) {
            return;
        }
        if let Some(printer) = &mut *self.shared.printer.lock().unwrap_or_else(PoisonError::into_inner) {
            // A terminal that is gone ends the prompt by itself.
            let _ = printer.print(format!("{IN_PLACE}{text}\n"));
        }
        if is_last {
            self.shared.is_prompting.store(false, Ordering::SeqCst);
            let mut line = self.line();
            if line.number == number {
                (line.text, line.is_last) = (None, false);
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.shared.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
