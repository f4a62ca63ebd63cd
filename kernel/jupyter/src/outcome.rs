//! What a notebook is told of a command that did not finish.

use serde_json::Value;
use serde_json::json;
use tunebook_commands::Error;
use tunebook_commands::script::Line;
use tunebook_engine::Error as EngineError;

/// A command that did not finish: which, why, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    name: &'static str,
    line: Line,
    message: String,
}

impl Failure {
    pub fn new(line: &Line, error: &Error) -> Self {
        Self { name: name(error), line: line.clone(), message: error.to_string() }
    }

    /// The user stopped it; `said` is what the command said at its end.
    pub fn interrupted(line: &Line, said: Option<String>) -> Self {
        let message = said.unwrap_or_else(|| "stopped; the session is as it was before this command".to_string());
        Self { name: "Interrupted", line: line.clone(), message }
    }

    /// The engine's thread is gone.
    pub fn lost(line: &Line) -> Self {
        let message = "the engine has ended, which is a bug; restart the kernel".to_string();
        Self { name: "EngineLost", line: line.clone(), message }
    }

    /// The content of an `error` message.
    pub fn content(&self) -> Value {
        let command = self.line.text.lines().next().unwrap_or_default();
        let verb = command.trim_start_matches('%').split_whitespace().next().unwrap_or_default();
        let (cause, remedy) = match self.message.split_once("; ") {
            Some((cause, remedy)) => (cause, remedy.to_string()),
            None => (self.message.as_str(), format!("`help {verb}` shows what it takes")),
        };
        let traceback = [
            format!("\x1b[31;1m{}\x1b[0m in line {}: \x1b[1m{command}\x1b[0m", self.name, self.line.number),
            format!("  {cause}"),
            format!("  \x1b[32m→ {remedy}\x1b[0m"),
        ];
        json!({"ename": self.name, "evalue": self.message, "traceback": traceback})
    }
}

fn name(error: &Error) -> &'static str {
    match error {
        Error::UnknownVerb { .. } => "UnknownCommand",
        Error::InScript { error, .. } => name(error),
        Error::Engine(EngineError::Cancelled) => "Interrupted",
        Error::Engine(_) => "CommandFailed",
        Error::Panic(_) => "Bug",
        _ => "InvalidCommand",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_traceback_names_command_cause_and_remedy() {
        let line = Line { number: 3, text: "trian 5".to_string() };
        let error = Error::UnknownVerb { word: "trian".to_string(), nearest: Some("train".to_string()) };
        let content = Failure::new(&line, &error).content();
        assert_eq!(content["ename"], "UnknownCommand");
        assert_eq!(content["evalue"], "there is no command `trian` (did you mean `train`?); `help` lists them");
        assert_eq!(
            content["traceback"],
            json!([
                "\u{1b}[31;1mUnknownCommand\u{1b}[0m in line 3: \u{1b}[1mtrian 5\u{1b}[0m",
                "  there is no command `trian` (did you mean `train`?)",
                "  \u{1b}[32m→ `help` lists them\u{1b}[0m"
            ])
        );
    }
}
