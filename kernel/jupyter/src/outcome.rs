//! How a notebook is told of a command that failed.

use serde_json::Value;
use serde_json::json;
use tunebook_commands::Error;
use tunebook_commands::Lang;
use tunebook_commands::RustError;
use tunebook_commands::colourless;
use tunebook_commands::lang::Localized;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::rust;
use tunebook_commands::script::Line;
use tunebook_engine::Error as EngineError;

/// A command that failed: which one, why, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    name: &'static str,
    line: Line,
    message: String,
    /// Where the compiler found it.
    report: Option<String>,
    lang: Lang,
}

impl Failure {
    pub fn new(line: &Line, error: &Error, lang: Lang) -> Self {
        let report = error.report().map(str::to_string);
        let message = colourless(&error.localize_in_session(lang)).into_owned();
        Self { name: name(error), line: line.clone(), message, report, lang }
    }

    /// The user stopped it; `said` is what the command said at its end.
    pub fn interrupted(line: &Line, said: Option<String>, lang: Lang) -> Self {
        const STOPPED: Localized =
            localized("stopped; the session is as it was before this command", "已停止；会话与这个命令之前相同");
        let message = said.unwrap_or_else(|| STOPPED.in_lang(lang).to_string());
        Self { name: "Interrupted", line: line.clone(), message, report: None, lang }
    }

    /// The engine's thread is gone.
    pub fn lost(line: &Line, lang: Lang) -> Self {
        const LOST: Localized = localized(
            "the engine has ended, which is a bug; restart the kernel",
            "引擎已结束，这是程序缺陷；请重启内核",
        );
        Self { name: "EngineLost", line: line.clone(), message: LOST.in_lang(lang).to_string(), report: None, lang }
    }

    /// The content of an `error` message.
    pub fn content(&self) -> Value {
        let command = colourless(self.line.text.lines().next().unwrap_or_default());
        let verb = command.trim_start_matches('%').split_whitespace().next().unwrap_or_default();
        let ends = localized("; ", "；").in_lang(self.lang);
        let (cause, remedy) = match self.message.split_once(ends) {
            Some((cause, remedy)) => (cause, Some(remedy.to_string())),
            None if rust::code(&self.line.text).is_some() => (self.message.as_str(), None),
            None => (
                self.message.as_str(),
                Some(localized!(self.lang, "`help {verb}` shows what it takes", "`help {verb}` 显示它接受什么")),
            ),
        };
        let shown = self.report.clone().unwrap_or_else(|| format!("  {cause}"));
        let head = [
            localized!(
                self.lang,
                "\x1b[31;1m{name}\x1b[0m in line {number}: \x1b[1m{command}\x1b[0m",
                "\x1b[31;1m{name}\x1b[0m 第 {number} 行：\x1b[1m{command}\x1b[0m",
                name = self.name,
                number = self.line.number
            ),
            shown,
        ];
        let remedy = remedy.map(|remedy| format!("  \x1b[32m→ {remedy}\x1b[0m"));
        let traceback: Vec<_> = head.into_iter().chain(remedy).collect();
        json!({"ename": self.name, "evalue": self.message, "traceback": traceback})
    }
}

fn name(error: &Error) -> &'static str {
    match error {
        Error::UnknownVerb { .. } => "UnknownCommand",
        Error::InScript { error, .. } => name(error),
        Error::Engine(EngineError::Cancelled) | Error::Rust(RustError::Interrupted | RustError::Killed) => {
            "Interrupted"
        }
        Error::Rust(RustError::Compile { .. } | RustError::Refused { .. }) => "CompilationError",
        Error::Rust(RustError::Panicked { .. }) => "Panic",
        Error::Rust(RustError::Failed { .. }) => "RustError",
        Error::Rust(_) => "RustUnavailable",
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
        let content = Failure::new(&line, &error, Lang::En).content();
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
