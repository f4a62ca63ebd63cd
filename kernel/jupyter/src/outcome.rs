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
use tunebook_commands::shell;
use tunebook_engine::Error as EngineError;
use tunebook_quote::Explanation;

/// A command that failed: which one, why, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    name: &'static str,
    line: Line,
    cause: String,
    remedy: Option<String>,
    /// Where the compiler found it.
    report: Option<Box<str>>,
    lang: Lang,
}

impl Failure {
    pub(crate) fn new(line: &Line, error: &Error, lang: Lang) -> Self {
        let (line, error) = error.place(line);
        let Explanation { cause, remedy } = error.explain_in_session(lang);
        Self { report: error.report().map(Into::into), ..Self::told(name(error), &line, &cause, remedy, lang) }
    }

    /// The user stopped it; `said` is what the command said at its end.
    pub(crate) fn interrupted(line: &Line, said: Option<String>, lang: Lang) -> Self {
        const STOPPED: Localized = localized("stopped", "已停止");
        const AS_BEFORE: Localized =
            localized("the session is as it was before this command", "会话与这个命令之前相同");
        match said {
            Some(said) => Self::told("Interrupted", line, &said, None, lang),
            None => {
                let as_before = AS_BEFORE.in_lang(lang).to_string();
                Self::told("Interrupted", line, STOPPED.in_lang(lang), Some(as_before), lang)
            }
        }
    }

    /// The engine's thread is gone.
    pub(crate) fn lost(line: &Line, lang: Lang) -> Self {
        const LOST: Localized = localized("the engine has ended, which is a bug", "引擎已结束，这是程序缺陷");
        const RESTART: Localized = localized("restart the kernel", "请重启内核");
        Self::told("EngineLost", line, LOST.in_lang(lang), Some(RESTART.in_lang(lang).to_string()), lang)
    }

    fn told(name: &'static str, line: &Line, cause: &str, remedy: Option<String>, lang: Lang) -> Self {
        let (cause, remedy) = (colourless(cause).into_owned(), remedy.map(|text| colourless(&text).into_owned()));
        Self { name, line: line.clone(), cause, remedy, report: None, lang }
    }

    /// The content of an `error` message.
    pub(crate) fn content(&self) -> Value {
        let Self { name, line, cause, remedy, report, lang } = self;
        let command = colourless(line.text.lines().next().unwrap_or_default());
        let number = line.number;
        let head = localized!(
            lang,
            "\x1b[31;1m{name}\x1b[0m in line {number}: \x1b[1m{command}\x1b[0m",
            "\x1b[31;1m{name}\x1b[0m 第 {number} 行：\x1b[1m{command}\x1b[0m"
        );
        let shown = report.as_deref().map_or_else(|| format!("  {cause}"), str::to_string);
        let verb = command.trim_start_matches('%').split_whitespace().next().unwrap_or_default();
        let help = || localized!(lang, "`help {verb}` shows what it takes", "`help {verb}` 显示它接受什么");
        let is_ours = rust::code(&line.text).is_none() && shell::command(&line.text).is_none();
        let advice = remedy.clone().or_else(|| (is_ours && *name != "Interrupted").then(help));
        let advice = advice.map(|advice| format!("  \x1b[32m→ {advice}\x1b[0m"));
        let traceback: Vec<_> = [head, shown].into_iter().chain(advice).collect();
        let value = match remedy {
            Some(remedy) => localized!(lang, "{cause}; {remedy}", "{cause}；{remedy}"),
            None => cause.clone(),
        };
        json!({"ename": name, "evalue": value, "traceback": traceback})
    }
}

fn name(error: &Error) -> &'static str {
    match error {
        Error::UnknownVerb { .. } => "UnknownCommand",
        Error::InScript { error, .. } | Error::InBlock { error, .. } => name(error),
        Error::OfJob(error) => name(error),
        Error::Engine(EngineError::Cancelled) | Error::Rust(RustError::Interrupted { .. } | RustError::Killed) => {
            "Interrupted"
        }
        Error::Rust(RustError::Compile { .. } | RustError::Refused { .. }) => "CompilationError",
        Error::Rust(RustError::Panicked { .. }) => "Panic",
        Error::Rust(RustError::Failed { .. }) => "RustError",
        Error::Rust(_) => "RustUnavailable",
        Error::Engine(_) | Error::Shell(_) => "CommandFailed",
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
