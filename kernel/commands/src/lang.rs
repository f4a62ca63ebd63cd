//! The two languages, and how a text is written in both at once.
//!
//! A text stands where it is used, in English and Chinese side by side: [`both`] for a fixed text, [`say!`](crate::say!) for one
//! with values in it, which does not compile unless both languages have the same placeholders. The engine and the
//! crates below it give types (errors, notes, advice); [`Say`] puts them into words, with their `Display` as the
//! English.
//!
//! A message catalogue (fluent, rust-i18n) would need keys, and tests to find those that are missing at run time. With
//! two languages, the compiler is that test. The language belongs to the host: LC_ALL and LANG choose the first one,
//! `lang` changes it, and no file depends on it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// A language of help, answers, advice and errors. Files, settings and commands are the same in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    #[default]
    En,
    Zh,
}

impl Lang {
    /// The language of the environment: LC_ALL, or else LC_MESSAGES, or else LANG.
    pub fn from_environment() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
        Self::of_locale(&locale.unwrap_or_default())
    }

    /// `zh_CN.UTF-8` is Chinese; an unknown language is English.
    fn of_locale(locale: &str) -> Self {
        match locale.split(['_', '-', '.', '@']).next() {
            Some("zh") => Self::Zh,
            _ => Self::En,
        }
    }
}

/// The language in use, shared between the session's thread and the faces.
#[derive(Clone, Debug)]
pub struct Language(Arc<AtomicBool>);

impl Language {
    pub fn new(lang: Lang) -> Self {
        Self(Arc::new(AtomicBool::new(lang == Lang::Zh)))
    }

    pub fn get(&self) -> Lang {
        if self.0.load(Ordering::Relaxed) { Lang::Zh } else { Lang::En }
    }

    pub fn set(&self, lang: Lang) {
        self.0.store(lang == Lang::Zh, Ordering::Relaxed);
    }
}

/// Something that can be put into words.
pub trait Say {
    fn say(&self, lang: Lang) -> String;
}

/// A fixed text in both languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    pub en: &'static str,
    pub zh: &'static str,
}

impl Text {
    pub const fn in_lang(self, lang: Lang) -> &'static str {
        match lang {
            Lang::En => self.en,
            Lang::Zh => self.zh,
        }
    }
}

/// A fixed text in both languages.
pub const fn both(en: &'static str, zh: &'static str) -> Text {
    Text { en, zh }
}

/// A text with values, in both languages, chosen when it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub en: String,
    pub zh: String,
}

impl Say for Said {
    fn say(&self, lang: Lang) -> String {
        match lang {
            Lang::En => self.en.clone(),
            Lang::Zh => self.zh.clone(),
        }
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.en)
    }
}

/// `say!(lang, "{n} of {total}", "共 {total}，第 {n}")` is the text in that language. Both must have the same
/// placeholders; formats may differ.
#[macro_export]
macro_rules! say {
    ($lang:expr, $en:literal, $zh:literal $(, $name:ident = $value:expr)* $(,)?) => {{
        const { assert!($crate::lang::same_placeholders($en, $zh), "the two languages have different placeholders") };
        match $lang {
            $crate::Lang::En => format!($en $(, $name = $value)*),
            $crate::Lang::Zh => format!($zh $(, $name = $value)*),
        }
    }};
}

/// The same, to be chosen later: a [`Said`].
#[macro_export]
macro_rules! said {
    ($($text:tt)*) => {
        $crate::lang::Said {
            en: $crate::say!($crate::Lang::En, $($text)*),
            zh: $crate::say!($crate::Lang::Zh, $($text)*),
        }
    };
}

/// Whether every `{name}` and `{name:…}` of one text is in the other one.
pub const fn same_placeholders(a: &str, b: &str) -> bool {
    has_placeholders(a.as_bytes(), b.as_bytes()) && has_placeholders(b.as_bytes(), a.as_bytes())
}

const fn has_placeholders(text: &[u8], of: &[u8]) -> bool {
    let mut at = 0;
    while let Some(name) = next_placeholder(of, at) {
        let mut found = false;
        let mut place = 0;
        while let Some(other) = next_placeholder(text, place) {
            found = found || is_same(text, other, of, name);
            place = other.1;
        }
        if !found {
            return false;
        }
        at = name.1;
    }
    true
}

/// Where the name of the next placeholder from `at` on begins and ends. `{{` is none.
const fn next_placeholder(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut at = at;
    while at + 1 < text.len() {
        if text[at] == b'{' && text[at + 1] == b'{' {
            at += 2;
        } else if text[at] == b'{' {
            let mut end = at + 1;
            while end < text.len() && text[end] != b'}' && text[end] != b':' {
                end += 1;
            }
            return Some((at + 1, end));
        } else {
            at += 1;
        }
    }
    None
}

const fn is_same(a: &[u8], (start, end): (usize, usize), b: &[u8], (other, other_end): (usize, usize)) -> bool {
    if end - start != other_end - other {
        return false;
    }
    let mut at = 0;
    while at < end - start {
        if a[start + at] != b[other + at] {
            return false;
        }
        at += 1;
    }
    true
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

    #[test]
    fn placeholders_are_compared() {
        assert!(same_placeholders("{a} of {b:.2}", "{b}，{a:>3}"));
        assert!(same_placeholders("{{a}} none", "没有"));
        for (en, zh) in [("{a}", ""), ("", "{a}"), ("{a} {b}", "{a} {a}"), ("{ab}", "{a}")] {
            assert!(!same_placeholders(en, zh), "{en} {zh}");
        }
    }

    #[test]
    fn a_text_is_said_in_a_language() {
        let (made, total) = (3, 4);
        assert_eq!(say!(Lang::En, "{made} of {total}", "共 {total}，已 {made}"), "3 of 4");
        assert_eq!(said!("{made} of {all}", "共 {all}，已 {made}", all = total).say(Lang::Zh), "共 4，已 3");
    }
}
