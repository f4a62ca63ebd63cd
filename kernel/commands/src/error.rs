//! Why a line was not carried out.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use tunebook_quote::Explanation;
use tunebook_quote::REMEDY;
use tunebook_quote::REMEDY_ZH;
use tunebook_quote::Remedy;
use tunebook_serve::StartError;

use crate::lang::Lang;
use crate::lang::Localize;
use crate::lang::Localized;
use crate::lang::localized;
use crate::rust::RustError;
use crate::script::Line;
use crate::shell::ShellError;

/// The result of a command.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a line was not carried out; the session is unchanged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no command `{word}`{}{REMEDY}`help` lists them", hint(.nearest))]
    UnknownVerb { word: String, nearest: Option<String> },
    #[error("`{key}` is a setting: `{key}=VALUE` sets it, `show {key}` shows it")]
    SettingAsVerb { key: String },
    #[error("`{verb}` does not accept `{key}`{}{REMEDY}`help {verb}` shows what it accepts", hint(.nearest))]
    UnknownOption { verb: &'static str, key: String, nearest: Option<String> },
    #[error("`{verb}` does not accept `{key}`{REMEDY}set it with `set {key}={value}`")]
    SettingOfAnother { verb: &'static str, key: &'static str, value: String },
    #[error("write `{key}={value}`, without spaces around the `=`")]
    Spaced { key: String, value: String },
    #[error("a value with spaces needs quotes{REMEDY}if that is what you mean, write {key}=\"{value}\"")]
    Unquoted { key: String, value: String },
    #[error("`{key}` has no value{REMEDY}write `{key}=VALUE`")]
    NoValue { key: String },
    #[error("`{key}` is given twice{REMEDY}give it only once")]
    Twice { key: String },
    #[error("the quote ({quote}) is not closed: {rest}")]
    OpenQuote { quote: char, rest: String },
    #[error("{problem}{REMEDY}usage: {usage}")]
    Usage { problem: Box<Localized<String>>, usage: &'static str },
    #[error("`{key}=` must come before the text{REMEDY}if it is part of the text, put the text in quotes")]
    OptionInText { key: String },
    #[error("`image=` has no file{REMEDY}write image=FILE")]
    NoPicture,
    #[error("images are read from files{REMEDY}download {url} first, for example with `curl -LO`, and give the file")]
    RemotePicture { url: String },
    #[error("the active adapter has not been trained yet{REMEDY}`train 5` trains five steps")]
    NothingTrained,
    #[error(
        "the active adapter was not evaluated during its training{REMEDY}hold out samples with `data NAME val_size=0.1`"
    )]
    NothingEvaluated,
    #[error("`chat` without a text opens a conversation, which needs somebody at a prompt{REMEDY}write `chat TEXT`")]
    NobodyToTalk,
    #[error("{file}:{line}: {error}")]
    InScript { file: String, line: usize, error: Box<Error> },
    /// Of a line that was carried out on account of another one; its number counts from that.
    #[error("{error}")]
    InBlock { line: Line, error: Box<Error> },
    #[error("{file}:{line} is not UTF-8 text{REMEDY}save it as UTF-8")]
    NotUtf8 { file: String, line: usize },
    #[error("{} is run by a script that it runs itself{REMEDY}remove one of the two `run` lines", .path.display())]
    Recursion { path: PathBuf },
    #[error("an internal error occurred ({0}){REMEDY}this is a bug in tunebook")]
    Panic(String),
    /// The thread that owned the session is gone.
    #[error("the engine has ended, which is a bug{REMEDY}the session is lost, restart tunebook")]
    Lost,
    #[error(
        "nothing is held out to compare by{REMEDY}`by=loss` compares training losses; `data NAME val_size=0.1` holds out samples"
    )]
    NothingHeldOutToSweepBy,
    #[error("`wait` waits at a prompt or in a cell{REMEDY}put it on a line of its own there")]
    CannotWait,
    #[error("a script trains to the end of each `train` before it goes on{REMEDY}leave out the `&`")]
    BackgroundInScript,
    #[error("{source}{}", remedy_of_start(.source))]
    Serve {
        #[from]
        source: StartError,
    },
    /// Of a training, which several may hear of.
    #[error(transparent)]
    OfJob(Arc<Error>),
    #[error(transparent)]
    Rust(#[from] RustError),
    #[error(transparent)]
    Shell(#[from] ShellError),
    #[error(transparent)]
    Demo(#[from] tunebook_demo::DemoError),
    #[error(transparent)]
    Engine(#[from] tunebook_engine::Error),
}

/// What to do where the server cannot start.
fn remedy_of_start(error: &StartError) -> String {
    match error {
        StartError::OpenWithoutKey { .. } => format!("{REMEDY}give one: api_key= or the variable API_KEY"),
        StartError::Bind { .. } => format!("{REMEDY}`serve port=0` takes a port that is free"),
        StartError::BadKey | StartError::Threads(_) => String::new(),
    }
}

impl Error {
    /// Of what a thread panicked with.
    pub(crate) fn of_panic(panic: Box<dyn Any + Send>) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
        Self::Panic(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default())
    }

    /// The error as it is told where the session goes on: with what is left of it. Where a script ends with the error, so does
    /// the session.
    pub fn localize_in_session(&self, lang: Lang) -> String {
        let error = self.localize(lang);
        match self.left().map(|left| left.in_lang(lang)) {
            Some(left) => format!("{error}{}{left}", remedy(lang)),
            None => error,
        }
    }

    /// The same in its parts; what is left of the session belongs to the remedy.
    pub fn explain_in_session(&self, lang: Lang) -> Explanation {
        Explanation::of(|| self.localize_in_session(lang), remedy(lang))
    }

    /// Which line has failed where `line` was carried out, and why.
    pub fn place(&self, line: &Line) -> (Line, &Self) {
        match self {
            Self::InBlock { line: inner, error } => {
                error.place(&Line { number: line.number + inner.number - 1, text: inner.text.clone() })
            }
            _ => (line.clone(), self),
        }
    }

    fn left(&self) -> Option<Localized> {
        match self {
            Self::Panic(_) => Some(localized(
                "the session is still there, but save your work and restart soon",
                "会话还在，但请尽快保存并重新启动",
            )),
            Self::Rust(error) => error.left(),
            Self::InScript { error, .. } | Self::InBlock { error, .. } => error.left(),
            Self::OfJob(error) => error.left(),
            _ => None,
        }
    }

    /// Where the compiler found what it refuses, drawn in several lines with colours.
    pub fn report(&self) -> Option<&str> {
        match self {
            Self::Rust(RustError::Compile { report, .. }) => Some(report),
            Self::InScript { error, .. } | Self::InBlock { error, .. } => error.report(),
            Self::OfJob(error) => error.report(),
            _ => None,
        }
    }
}

/// Where the remedy begins in a text of that language.
fn remedy(lang: Lang) -> Remedy {
    match lang {
        Lang::En => REMEDY,
        Lang::Zh => REMEDY_ZH,
    }
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that fails ends its session.
    #[test]
    fn only_a_session_that_goes_on_is_said_to_be_there() {
        let of_rust = Error::Rust(RustError::Died { how: "killed".to_string() });
        for (error, left) in
            [(Error::Panic("x".to_string()), "session is still there"), (of_rust, "training are still there")]
        {
            let located = Error::InScript { file: "a.tune".to_string(), line: 2, error: Box::new(error) };
            assert!(located.localize_in_session(Lang::En).contains(left));
            for lang in [Lang::En, Lang::Zh] {
                let (ends, goes_on) = (located.localize(lang), located.localize_in_session(lang));
                assert!(
                    goes_on.starts_with(&ends) && !ends.contains("still there") && !ends.contains("还在"),
                    "{ends}"
                );
            }
        }
        assert_eq!(Error::NothingTrained.localize_in_session(Lang::En), Error::NothingTrained.to_string());
    }
}
