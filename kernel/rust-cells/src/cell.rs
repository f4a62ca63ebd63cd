//! The running cell: where its output is shown, and how it ends.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Sender;
use tunebook_commands::Message;
use tunebook_commands::Output;

/// A line of standard error that an error's end follows is the error's text; so long it is waited for.
const BELONGS: Duration = Duration::from_millis(20);

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
    /// The last line of standard error, which may be an error's text.
    last_line: Option<(String, Instant)>,
    failure: Option<Failure>,
}

/// How a cell has told that it did not reach its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Panicked,
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
        inner.say_last_line();
        std::mem::take(&mut *inner).failure
    }

    pub(crate) fn show(&self, message: Message) {
        let mut inner = self.lock();
        inner.say_last_line();
        inner.send(message);
    }

    /// A line for standard error.
    pub(crate) fn stderr(&self, line: String) {
        let mut inner = self.lock();
        inner.say_last_line();
        inner.last_line = Some((line, Instant::now()));
    }

    /// The cell does not reach its end.
    pub(crate) fn fail(&self, panicked: bool) {
        let mut inner = self.lock();
        let text = inner.last_line.take().map(|(line, _)| line);
        inner.failure = Some(if panicked { Failure::Panicked } else { Failure::Error(text.unwrap_or_default()) });
    }

    pub(crate) fn has_panicked(&self) -> bool {
        self.lock().failure == Some(Failure::Panicked)
    }

    /// Says a line that no error's end has followed.
    pub(crate) fn tick(&self) {
        let mut inner = self.lock();
        if inner.last_line.as_ref().is_some_and(|(_, since)| since.elapsed() > BELONGS) {
            inner.say_last_line();
        }
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
    fn say_last_line(&mut self) {
        if let Some((line, _)) = self.last_line.take() {
            self.send(Message::Output(Output::Stderr(line)));
        }
    }

    fn send(&self, message: Message) {
        if let Some(messages) = &self.messages {
            // A face that is gone hears nothing.
            let _ = messages.send(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    fn lines(received: &crossbeam_channel::Receiver<Message>) -> Vec<String> {
        received.try_iter().map(|message| format!("{message:?}")).collect()
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
        assert_eq!(lines(&received), ["Output(Stderr(\"a warning\"))"]);
    }

    #[test]
    fn a_line_that_stands_alone_is_shown_in_its_place() {
        let cell = Cell::default();
        let (messages, received) = unbounded();
        cell.begin(&messages);
        cell.stderr("first".to_string());
        cell.show(Message::Output(Output::Text("second".to_string())));
        cell.stderr("third".to_string());
        std::thread::sleep(2 * BELONGS);
        cell.tick();
        assert_eq!(
            lines(&received),
            ["Output(Stderr(\"first\"))", "Output(Text(\"second\"))", "Output(Stderr(\"third\"))"]
        );
        assert_eq!(cell.end(), None);
        cell.show(Message::Output(Output::Text("nobody hears it".to_string())));
        assert!(lines(&received).is_empty());
    }
}
