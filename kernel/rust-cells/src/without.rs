//! What stands in for Rust cells without the feature `evcxr`.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use crossbeam_channel::unbounded;
use tunebook_commands::Host;
use tunebook_commands::Message;
use tunebook_commands::RustError;
use tunebook_commands::rust;
use tunebook_commands::timing;

use crate::Completions;

/// Nothing is run in a process of its own.
pub fn runtime_hook() {}

/// Carries out commands, and refuses Rust.
pub struct RustCells(Arc<Host>);

impl RustCells {
    pub fn new(host: Arc<Host>) -> Self {
        Self(host)
    }

    /// Carries out a command, or commands that are timed.
    pub fn carry_out(self: &Arc<Self>, line: &str) -> Receiver<Message> {
        let cells = Arc::clone(self);
        let carry_out = move |line: &str| cells.carry_out(line);
        if let Some(messages) = timing::carry_out(line, carry_out, self.0.cancel(), self.0.language()) {
            return messages;
        }
        if rust::code(line).is_none() {
            return self.0.line(line);
        }
        let (sender, messages) = unbounded();
        // The other end is the one that is returned.
        let _ = sender.send(Message::Done(Err(RustError::NotBuilt.into())));
        messages
    }

    /// Nothing.
    pub fn complete(&self, _: &str, _: usize) -> Option<Completions> {
        None
    }

    /// Nothing.
    pub fn inspect(&self, _: &str, _: usize) -> Option<String> {
        None
    }

    /// There is nothing to delete.
    pub fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use tunebook_commands::Lang;
    use tunebook_commands::Output;
    use tunebook_commands::script::Line;

    use super::*;

    #[test]
    fn commands_are_carried_out_and_rust_is_refused() {
        let cells = Arc::new(RustCells::new(Arc::new(Host::start(Lang::En).unwrap())));
        let messages: Vec<_> = cells.carry_out("print here").into_iter().collect();
        assert!(
            matches!(&messages[..], [Message::Output(Output::Text(text)), Message::Done(Ok(()))] if text == "here")
        );
        for line in ["rust 1 + 1", "%%rust\n1"] {
            let messages: Vec<_> = cells.carry_out(line).into_iter().collect();
            let [Message::Done(Err(error))] = &messages[..] else { panic!("{messages:?}") };
            assert!(error.to_string().contains("built without Rust cells"), "{error}");
        }
        let messages: Vec<_> = cells.carry_out("%%time\nprint one\ntrian\nprint two").into_iter().collect();
        let [Message::Output(Output::Text(one)), Message::Output(Output::Text(time)), Message::Done(Err(error))] =
            &messages[..]
        else {
            panic!("{messages:?}")
        };
        assert!(one == "one" && time.contains("Wall time: "), "{time}");
        let (line, error) = error.place(&Line { number: 5, text: String::new() });
        assert_eq!((line.number, line.text.as_str()), (7, "trian"));
        assert!(error.to_string().starts_with("there is no command `trian`"));
    }
}
