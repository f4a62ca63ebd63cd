//! The two languages, and how a text is written in both at once.
//!
//! A text stands where it is used, in English and Chinese side by side: [`localized()`] for a fixed text, [`localized!`](crate::localized!) for one
//! with values in it, which does not compile unless both languages have the same placeholders. The engine and the
//! crates below it give types (errors, notes, advice); [`Localize`] puts them into words, with their `Display` as the
//! English.
//!
//! A message catalogue (fluent, rust-i18n) would need keys, and tests to find those that are missing at run time. With
//! two languages, the compiler is that test. The language belongs to the host: LC_ALL and LANG choose the first one,
//! `lang` changes it, and no file depends on it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

pub use tunebook_engine::lang::Lang;
pub use tunebook_engine::lang::Localized;
pub use tunebook_engine::lang::localized;

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
pub trait Localize {
    fn localize(&self, lang: Lang) -> String;
}

/// `localized!(lang, "{n} of {total}", "共 {total}，第 {n}")` is the text in that language; without `lang` it is a
/// [`Localized`], from which a language is chosen later. Both must have the same placeholders; formats may differ.
#[macro_export]
macro_rules! localized {
    ($en:literal, $zh:literal $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::lang::Localized {
            en: $crate::localized!($crate::Lang::En, $en, $zh $(, $name = $value)*),
            zh: $crate::localized!($crate::Lang::Zh, $en, $zh $(, $name = $value)*),
        }
    };
    ($lang:expr, $en:literal, $zh:literal $(, $name:ident = $value:expr)* $(,)?) => {{
        const { assert!($crate::lang::same_placeholders($en, $zh), "the two languages have different placeholders") };
        match $lang {
            $crate::Lang::En => format!($en $(, $name = $value)*),
            $crate::Lang::Zh => format!($zh $(, $name = $value)*),
        }
    }};
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
        assert_eq!(localized!(Lang::En, "{made} of {total}", "共 {total}，已 {made}"), "3 of 4");
        assert_eq!(localized!("{made} of {all}", "共 {all}，已 {made}", all = total).in_lang(Lang::Zh), "共 4，已 3");
    }
}
