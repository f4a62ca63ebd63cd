//! What is known of a setting beside its value.

use std::fmt;

use super::Settings;
use super::value::Kind;
use super::value::Value;
use super::value::shown;
use crate::lang::Localized;
use crate::lang::localized;

/// One setting.
#[derive(Debug)]
pub struct Declaration {
    /// As LLaMA-Factory, PEFT or transformers call it.
    pub name: &'static str,
    /// Shorter names.
    pub aliases: &'static [&'static str],
    pub group: Group,
    pub(super) help: Localized,
    pub(crate) flags: Flags,
    pub kind: Kind,
    pub(super) optional: bool,
    pub(super) limits: &'static [Limits],
    pub(super) set: fn(&mut Settings, &str, &[Limits]) -> Option<()>,
    pub(super) get: fn(&Settings) -> String,
}

/// What `resume` must know of a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    /// It is of the machine or of the moment: a checkpoint does not keep it.
    pub transient: bool,
    /// It has no part in what is learned: another value makes no other result.
    pub no_effect_on_result: bool,
    /// It says where data lies, and nothing of what is in it.
    pub location: bool,
}

impl Flags {
    pub(crate) const NONE: Self = Self { transient: false, no_effect_on_result: false, location: false };
}

/// What a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Model,
    Pictures,
    Data,
    Prompt,
    Lora,
    Freeze,
    Method,
    Training,
    Evaluation,
    Generation,
    Output,
    Export,
}

/// What a value must keep to, beyond its type.
#[derive(Clone, Copy, Debug)]
pub enum Limits {
    /// At least this.
    Min(f64),
    /// From the first to the last.
    Range(f64, f64),
    /// From the first to below the last.
    Below(f64, f64),
}

impl Declaration {
    /// One line: what it does.
    pub fn help(&self) -> Localized {
        localized(self.help.en.trim(), self.help.zh.trim())
    }

    /// Whether `none` is a value.
    pub fn is_optional(&self) -> bool {
        self.optional
    }

    pub fn limits(&self) -> &'static [Limits] {
        self.limits
    }

    /// The value in `settings`, in the form in which it is set.
    pub fn get(&self, settings: &Settings) -> String {
        (self.get)(settings)
    }

    /// The value of a new session.
    pub fn default(&self) -> String {
        self.get(&Settings::default())
    }

    /// The words that it can be set to, where these are few.
    pub fn choices(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Choice(words) | Kind::Choices(words) => words,
            Kind::Bool => &["true", "false"],
            _ => &[],
        }
    }

    /// The values that it takes, in words.
    pub fn expected(&self) -> String {
        let kind = match self.kind {
            Kind::Choices(words) => format!("one or more of {}, separated by commas", words.join(", ")),
            _ if !self.choices().is_empty() => self.choices().join(", "),
            Kind::Integer => "an integer".to_string(),
            Kind::Number => "a number".to_string(),
            Kind::List => "names separated by commas".to_string(),
            Kind::Numbers => "numbers separated by commas".to_string(),
            Kind::Path => "a path".to_string(),
            Kind::Mapping => "name:value pairs separated by commas".to_string(),
            Kind::Text | Kind::Bool | Kind::Choice(_) => "text".to_string(),
        };
        let limits: String = self.limits.iter().map(Limits::to_string).collect();
        format!("{kind}{limits}{}", if self.optional { ", or none" } else { "" })
    }

    pub(super) fn is_called(&self, key: &str) -> bool {
        self.name == key || self.aliases.contains(&key)
    }
}

impl Limits {
    pub fn allow<T: Value>(&self, value: &T) -> bool {
        let number = |test: &dyn Fn(f64) -> bool| value.number().is_none_or(test);
        match *self {
            Self::Min(least) => number(&|x| x >= least),
            Self::Range(least, most) => number(&|x| (least..=most).contains(&x)),
            Self::Below(least, end) => number(&|x| (least..end).contains(&x)),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Min(least) => write!(f, " of at least {}", shown(*least)),
            Self::Range(least, most) => write!(f, " from {} to {}", shown(*least), shown(*most)),
            Self::Below(least, end) => write!(f, " of at least {} and below {}", shown(*least), shown(*end)),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Pictures => "pictures",
            Self::Data => "data",
            Self::Prompt => "prompt",
            Self::Lora => "lora",
            Self::Freeze => "freeze",
            Self::Method => "method",
            Self::Training => "training",
            Self::Evaluation => "evaluation",
            Self::Generation => "generation",
            Self::Output => "output",
            Self::Export => "export",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_divide_zero_by_zero_is_refused() {
        // torch takes it, and makes NaN of every weight without a gradient.
        let error = |key, value| Settings::default().set(key, value).unwrap_err().to_string();
        assert_eq!(
            error("adam_epsilon", "0"),
            "`0` is not a value for adam_epsilon, which accepts a number from 1e-30 to 1"
        );
        // In float32 this is 0.
        error("adam_epsilon", "1e-46");
    }
}
