//! The running cell: where its output is shown, and how it ends.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Sender;
use crossbeam_channel::bounded;
use tunebook_commands::CellCall;
use tunebook_commands::Message;
use tunebook_commands::Output;
use tunebook_commands::Question;

/// A text on standard error that an error's end follows is the error's text; so long that is waited for. A panic is on its
/// way for longer, through the destructors of the cell.
const BELONGS: Duration = Duration::from_millis(20);
const UNWINDS: Duration = Duration::from_secs(1);

/// The cell that runs, as the threads that serve it share it. Without one, what arrives is dropped.
#[derive(Default)]
pub(crate) struct Cell {
    inner: Mutex<Inner>,
    /// Calls of the session that are being carried out.
    calls: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    messages: Option<Sender<Message>>,
    /// What came last on standard error, which may be an error's text.
    held: Option<Held>,
    failure: Option<Failure>,
    /// Which adapter was trained last, and to which step; none if that can not go on. Before the first training nothing.
    trained: Option<Place>,
}

type Place = Option<(String, usize)>;

struct Held {
    text: String,
    is_panic: bool,
    since: Instant,
}

/// How a cell has told that it did not reach its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Panicked(String),
    /// An error was passed on by `?`.
    Error(String),
}

impl Cell {
    pub(crate) fn begin(&self, messages: &Sender<Message>) {
        *self.lock() = Inner { messages: Some(messages.clone()), ..Inner::default() };
    }

    /// What arrives from now on belongs to no cell.
    pub(crate) fn end(&self) -> Option<Failure> {
        let mut inner = self.lock();
        inner.say_held();
        std::mem::take(&mut *inner).failure
    }

    pub(crate) fn show(&self, message: Message) {
        let mut inner = self.lock();
        inner.say_held();
        inner.send(message);
    }

    /// A part of what the cell has written.
    pub(crate) fn print(&self, text: String, is_error: bool) {
        let mut inner = self.lock();
        match &mut inner.held {
            // It comes in several parts.
            Some(panic) if is_error && panic.is_panic => {
                panic.text += &text;
                panic.since = Instant::now();
            }
            _ => {
                inner.say_held();
                if is_error && text.trim_start().starts_with("thread '") {
                    inner.held = Some(Held { text, is_panic: true, since: Instant::now() });
                } else {
                    inner.write(text, is_error);
                }
            }
        }
    }

    /// A line for standard error.
    pub(crate) fn stderr(&self, line: String) {
        let mut inner = self.lock();
        inner.say_held();
        inner.held = Some(Held { text: line + "\n", is_panic: false, since: Instant::now() });
    }

    /// The cell does not reach its end.
    pub(crate) fn fail(&self, panicked: bool) {
        let mut inner = self.lock();
        let text = inner.held.take_if(|held| held.is_panic == panicked).map(|held| held.text).unwrap_or_default();
        inner.say_held();
        inner.failure = Some(match panicked {
            true => Failure::Panicked(panic_text(&text)),
            false => Failure::Error(text.trim_end().to_string()),
        });
    }

    /// Says a text that no error's end has followed.
    pub(crate) fn tick(&self) {
        let mut inner = self.lock();
        let is_due = |held: &Held| held.since.elapsed() > if held.is_panic { UNWINDS } else { BELONGS };
        if inner.held.as_ref().is_some_and(is_due) {
            inner.say_held();
        }
    }

    /// What the user answers; nothing if nobody is asked.
    pub(crate) fn ask(&self, prompt: String, is_secret: bool) -> Option<String> {
        let (answer, answers) = bounded(1);
        self.show(Message::Ask(Question { prompt, is_secret, answer }));
        // A question that is dropped has no answer.
        answers.recv().ok()
    }

    /// A training begins at `place`, or trainings at several.
    pub(crate) fn begin_training(&self, place: Place) {
        let goes_on = self.lock().trained.as_ref().is_none_or(|before| before.is_some() && *before == place);
        if !goes_on {
            self.show(Message::Call(CellCall::TrainsAnew));
        }
    }

    /// It has ended at `place`.
    pub(crate) fn end_training(&self, place: Place) {
        self.lock().trained = Some(place);
    }

    pub(crate) fn in_call<T>(&self, call: impl FnOnce() -> T) -> T {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let result = call();
        self.calls.fetch_sub(1, Ordering::SeqCst);
        result
    }

    pub(crate) fn is_in_call(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn say_held(&mut self) {
        if let Some(held) = self.held.take() {
            self.write(held.text, true);
        }
    }

    fn write(&self, text: String, is_error: bool) {
        self.send(Message::Output(Output::Written { text, is_error }));
    }

    fn send(&self, message: Message) {
        if let Some(messages) = &self.messages {
            // A face that is gone hears nothing.
            let _ = messages.send(message);
        }
    }
}

/// What a panic says, without its place in a file that nobody sees.
fn panic_text(text: &str) -> String {
    let lines = text.trim_start().lines().skip(1);
    let said: Vec<_> = lines.take_while(|line| !line.starts_with("note: ") && *line != "stack backtrace:").collect();
    said.join("\n").trim().to_string()
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    /// What was written to standard error and to standard output.
    fn written(received: &crossbeam_channel::Receiver<Message>) -> Vec<(String, bool)> {
        let written = |message| match message {
            Message::Output(Output::Written { text, is_error }) => (text, is_error),
            other => panic!("{other:?}"),
        };
        received.try_iter().map(written).collect()
    }

    #[test]
    fn the_line_before_an_error_is_its_text_and_others_are_shown() {
        let cell = Cell::default();
        let (messages, received) = unbounded();
        cell.begin(&messages);
        cell.stderr("a warning".to_string());
        cell.stderr("no such file".to_string());
        cell.fail(false);
        assert_eq!(cell.end(), Some(Failure::Error("no such file".to_string())));
        assert_eq!(written(&received), [("a warning\n".to_string(), true)]);
    }

    #[test]
    fn a_line_that_stands_alone_is_shown_in_its_place() {
        let cell = Cell::default();
        let (messages, received) = unbounded();
        cell.begin(&messages);
        cell.stderr("first".to_string());
        cell.print("second".to_string(), false);
        cell.print("\rthird".to_string(), true);
        cell.stderr("fourth".to_string());
        std::thread::sleep(2 * BELONGS);
        cell.tick();
        let expected = [("first\n", true), ("second", false), ("\rthird", true), ("fourth\n", true)];
        assert_eq!(written(&received), expected.map(|(text, is_error)| (text.to_string(), is_error)));
        assert_eq!(cell.end(), None);
        cell.print("nobody hears it".to_string(), false);
        assert!(written(&received).is_empty());
    }

    #[test]
    fn a_panic_is_the_cells_or_is_shown() {
        let cell = Cell::default();
        let (messages, received) = unbounded();
        let parts =
            ["\nthread '<unnamed>' (7) panicked at ", "src/lib.rs:3:5:\nindex out of\nbounds\n", "note: run with\n"];
        for is_of_cell in [true, false] {
            cell.begin(&messages);
            parts.iter().for_each(|part| cell.print(part.to_string(), true));
            let failure = is_of_cell.then(|| {
                cell.fail(true);
                Failure::Panicked("index out of\nbounds".to_string())
            });
            assert_eq!(cell.end(), failure);
            let shown: Vec<_> = if is_of_cell { Vec::new() } else { vec![(parts.concat(), true)] };
            assert_eq!(written(&received), shown);
        }
    }
}
