//! The declaration of a verb: everything that parsing, help, completion and running need to know about it, in one
//! place.

use crossbeam_channel::Receiver;
use tunebook_engine::Context;
use tunebook_engine::Session;
use tunebook_engine::nearest::nearest;
use tunebook_engine::settings::Group;
use tunebook_quote::quote;

use crate::error::Error;
use crate::error::Result;
use crate::host::Message;
use crate::jobs::Jobs;
use crate::lang::Lang;
use crate::lang::Language;
use crate::lang::Localized;
use crate::output::Output;
use crate::parse::Args;
use crate::serving::Serving;

/// One verb of the command language.
pub struct Verb {
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// The usage line; optional parts are in brackets.
    pub usage: &'static str,
    /// One line of help.
    pub help: Localized,
    /// Further help; may be empty.
    pub details: Localized,
    /// Example lines and what they do.
    pub examples: &'static [(&'static str, Localized)],
    /// What may follow the verb.
    pub takes: Takes,
    /// Options: keys that belong to this verb alone.
    pub options: &'static [VerbOption],
    /// Groups of settings that may be set on the same line.
    pub settings: &'static [Group],
    /// Completion of the next word, given those that are there.
    pub complete: fn(&[&str]) -> Complete,
    pub run: fn(&mut Session, &Args, &CommandContext) -> Result<Output>,
}

/// The arguments of a verb besides options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// From a minimum to a maximum number of words.
    Words(usize, usize),
    /// `NAME=EXPRESSION` in front of options, in one word or several.
    Assignment,
    /// The rest of the line, verbatim.
    Text,
    /// Settings with several values each, which the verb tries.
    Values,
}

/// A key that belongs to one verb alone.
#[derive(Debug)]
pub struct VerbOption {
    pub name: &'static str,
    pub help: Localized,
    /// May be given several times.
    pub repeats: bool,
    pub complete: Complete,
}

/// What a word can be completed from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Complete {
    Nothing,
    Files,
    Folders,
    /// Folders, and names of hubs.
    Models,
    /// Names of data sets, and some words.
    DataSets(&'static [&'static str]),
    Adapters,
    /// Adapters of the session, behind what joins the terms of a sum.
    Terms,
    /// Adapters of the session, `base`, and folders.
    AdaptersAndFolders,
    /// Names of settings and of verbs.
    Topics,
    /// Names of settings and of their groups.
    Settings,
    Words(&'static [&'static str]),
}

/// The surroundings of a command: what the engine gets, and where the outputs of a script go before it ends.
#[derive(Clone, Copy)]
pub struct CommandContext<'a> {
    pub context: Context<'a>,
    pub show: &'a (dyn Fn(Output) + Sync),
    /// The language in use.
    pub language: &'a Language,
    /// Those that a line can begin with.
    pub verbs: &'a [&'static Verb],
    /// Scripts that are running, the outermost first.
    pub scripts: &'a [std::path::PathBuf],
    /// The trainings of the session.
    pub jobs: &'a Jobs,
    /// Who answers others over HTTP.
    pub serving: &'a Serving,
    /// Whether a verb can wait for a job, by [`Output::Wait`].
    pub can_wait: bool,
    /// Has the face show, beside what it does next, what a job tells.
    pub follow: &'a (dyn Fn(Receiver<Message>) + Sync),
    /// Carries out what others ask of the session, between two layers of a training.
    pub between: &'a (dyn Fn(&mut Session) + Sync),
    /// Whether a training or another request waits for the session.
    pub is_awaited: &'a (dyn Fn() -> bool + Sync),
}

impl CommandContext<'_> {
    pub fn lang(&self) -> Lang {
        self.language.get()
    }
}

impl Verb {
    pub fn usage_error(&self, problem: Localized<String>) -> Error {
        Error::Usage { problem: Box::new(problem), usage: self.usage }
    }
}

/// The one of `verbs` that has that name.
///
/// # Errors
/// There is no such verb; the error suggests the closest one.
pub(crate) fn find(word: &str, verbs: &[&'static Verb]) -> Result<&'static Verb> {
    let found = verbs.iter().copied().find(|verb| verb.name == word || verb.aliases.contains(&word));
    found.ok_or_else(|| Error::UnknownVerb { word: quote(word), nearest: nearest(word, names(verbs)) })
}

/// Every name of every verb.
pub(crate) fn names(verbs: &[&'static Verb]) -> impl Iterator<Item = &'static str> {
    verbs.iter().flat_map(|verb| std::iter::once(verb.name).chain(verb.aliases.iter().copied()))
}

#[cfg(test)]
mod tests {
    use tunebook_engine::settings::declarations;

    use super::*;
    use crate::verbs::VERBS;

    /// What stands between backticks, and words that name keys, files or environment variables, in order of the alphabet.
    fn names(text: &str) -> Vec<&str> {
        let quoted = text.split('`').skip(1).step_by(2);
        let rest = text.split('`').step_by(2).flat_map(|text| {
            text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '=' | '/' | '-'))
        });
        let is_name = |word: &&str| word.contains('_') || word.contains('=') && word.len() > 1;
        let mut names: Vec<_> = quoted.chain(rest.map(|word| word.trim_matches('.')).filter(is_name)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Chinese is there, is Chinese, and names the same keys and commands.
    fn check(of: &str, text: Localized) {
        assert_eq!(text.en.is_empty(), text.zh.is_empty(), "{of}");
        let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
        assert!(!text.en.chars().any(is_chinese), "{of}: {}", text.en);
        assert!(text.zh.is_empty() || text.zh.chars().any(is_chinese), "{of}: {}", text.zh);
        assert_eq!(names(text.en), names(text.zh), "{of}");
    }

    #[test]
    fn every_verb_and_setting_is_explained_in_both_languages() {
        for verb in VERBS {
            check(verb.name, verb.help);
            check(verb.name, verb.details);
            verb.options.iter().for_each(|option| check(option.name, option.help));
            for (line, does) in verb.examples {
                assert_eq!(does.en.is_empty(), does.zh.is_empty(), "{line}");
            }
        }
        for setting in declarations() {
            assert!(!setting.help().en.is_empty());
            check(setting.name, setting.help());
        }
    }
}
