//! The lines that were carried out, as pages list them and copy them as a script.
//!
//! They stand in the order in which they began, since a line that trains goes on while others come and go. With each stands
//! how far the trainings were, so that a script can do the same at the same optimizer steps.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;
use tunebook_commands::Standing;

/// The most lines that a new page is told of.
const MOST: usize = 1000;

/// A line, from its beginning on.
#[derive(Clone, Debug, Serialize)]
struct Recorded {
    number: usize,
    /// What the page that asked for it calls it; none if no page did.
    id: Option<String>,
    line: String,
    /// Whether it succeeded; none while it is being carried out.
    ok: Option<bool>,
    /// Optimizer steps of the active adapter when it began.
    step: usize,
    training: Option<Standing>,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    lines: VecDeque<Recorded>,
    count: usize,
    /// The numbers of those that the session is carrying out. One begins within another, so the last ends first.
    open: Vec<usize>,
    /// What pages have asked for and has not begun.
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Asked {
    id: String,
    line: String,
    /// The line as the session has it.
    command: String,
}

impl History {
    pub(crate) fn all(&self) -> Value {
        self.lines.iter().map(told).collect()
    }

    /// A page asks the session for a line.
    pub(crate) fn ask(&mut self, id: &str, line: &str, command: &str) {
        self.asked.push(Asked { id: id.to_string(), line: line.to_string(), command: command.to_string() });
    }

    /// The session begins a command; what pages are told of it.
    pub(crate) fn begin(&mut self, command: String, step: usize, training: Option<Standing>) -> Value {
        let place = self.asked.iter().position(|asked| asked.command == command);
        let (id, line) = match place.map(|place| self.asked.remove(place)) {
            Some(Asked { id, line, .. }) => (Some(id), line),
            None => (None, command),
        };
        let (number, message) = self.add(id, line, step, training);
        self.open.push(number);
        message
    }

    /// The session ends the line that it began last.
    pub(crate) fn end(&mut self, succeeded: bool) -> Option<Value> {
        let number = self.open.pop()?;
        self.close(number, succeeded)
    }

    /// A line begins, be it none of the session's own: its number, and what pages are told of it.
    pub(crate) fn add(
        &mut self,
        id: Option<String>,
        line: String,
        step: usize,
        training: Option<Standing>,
    ) -> (usize, Value) {
        self.count += 1;
        let recorded = Recorded { number: self.count, id, line, ok: None, step, training };
        let message = told(&recorded);
        if self.lines.len() == MOST {
            self.lines.pop_front();
        }
        self.lines.push_back(recorded);
        (self.count, message)
    }

    /// The end of the line of this number.
    pub(crate) fn close(&mut self, number: usize, succeeded: bool) -> Option<Value> {
        let recorded = self.lines.iter_mut().rfind(|line| line.number == number)?;
        recorded.ok = Some(succeeded);
        Some(told(recorded))
    }
}

/// What pages are told of a line.
fn told(recorded: &Recorded) -> Value {
    let mut message = serde_json::to_value(recorded).unwrap_or_default();
    message["type"] = "recorded".into();
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn standing(step: usize, counts_from: usize) -> Option<Standing> {
        Some(Standing { running: true, stopped: false, step, counts_from })
    }

    #[test]
    fn a_line_ends_within_the_one_that_it_began_in() {
        let mut history = History::default();
        history.ask("a", "train 9", "train 9");
        history.begin("train 9".to_string(), 4, None);
        history.ask("b", "set seed=1", "set seed=1");
        let begun = history.begin("set seed=1".to_string(), 6, standing(6, 7));
        assert_eq!(
            (&begun["id"], &begun["ok"], &begun["training"]["counts_from"]),
            (&json!("b"), &json!(null), &json!(7))
        );
        history.begin("print x".to_string(), 6, standing(6, 7));
        assert_eq!(history.end(false).unwrap()["line"], "print x");
        assert_eq!(history.end(true).unwrap()["id"], "b");
        assert_eq!(history.end(true).unwrap()["line"], "train 9");
        assert_eq!(history.end(true), None);
        let all = history.all();
        let seen: Vec<_> =
            all.as_array().unwrap().iter().map(|line| (&line["id"], &line["ok"], &line["step"])).collect();
        let expected = [
            (json!("a"), json!(true), json!(4)),
            (json!("b"), json!(true), json!(6)),
            (json!(null), json!(false), json!(6)),
        ];
        assert_eq!(seen, expected.iter().map(|(id, ok, step)| (id, ok, step)).collect::<Vec<_>>());
    }

    #[test]
    fn a_message_of_several_lines_stays_as_it_was_asked_for() {
        let mut history = History::default();
        history.ask("a", "%%chat\none\ntwo", "chat \"one\ntwo\"");
        let begun = history.begin("chat \"one\ntwo\"".to_string(), 0, None);
        assert_eq!((&begun["id"], &begun["line"]), (&json!("a"), &json!("%%chat\none\ntwo")));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut history = History::default();
        for at in 0..=MOST {
            history.begin(format!("print {at}"), 0, None);
            history.end(true);
        }
        assert_eq!(history.all()[0]["line"], "print 1");
        assert_eq!(history.all().as_array().unwrap().len(), MOST);
    }
}
