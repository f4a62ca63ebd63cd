//! The two languages, and a text in both of them: settings and the keys of recipes are declared with theirs.

use std::fmt;

/// A language of help, answers, advice and errors. Files, settings and commands are the same in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    #[default]
    En,
    Zh,
}

impl Lang {
    /// The one that the environment asks for: LC_ALL, or else LC_MESSAGES, or else LANG.
    pub fn from_environment() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
        Self::of_locale(&locale.unwrap_or_default())
    }

    /// `zh_CN.UTF-8` is Chinese; what is not known is English.
    fn of_locale(locale: &str) -> Self {
        match locale.split(['_', '-', '.', '@']).next() {
            Some("zh") => Self::Zh,
            _ => Self::En,
        }
    }
}

/// A text in both languages: a fixed one, or one with values in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Localized<T = &'static str> {
    pub en: T,
    pub zh: T,
}

/// A fixed text in both languages.
pub const fn localized(en: &'static str, zh: &'static str) -> Localized {
    Localized { en, zh }
}

impl<T> Localized<T> {
    pub fn in_lang(self, lang: Lang) -> T {
        match lang {
            Lang::En => self.en,
            Lang::Zh => self.zh,
        }
    }
}

/// As in errors, it is English.
impl<T: fmt::Display> fmt::Display for Localized<T> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.en.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_a_language() {
        for (locale, lang) in
            [("zh_CN.UTF-8", Lang::Zh), ("zh", Lang::Zh), ("zh-Hans", Lang::Zh), ("en_US.UTF-8", Lang::En)]
        {
            assert_eq!(Lang::of_locale(locale), lang, "{locale}");
        }
        assert_eq!([Lang::of_locale(""), Lang::of_locale("C"), Lang::of_locale("zhx")], [Lang::En; 3]);
    }
}
