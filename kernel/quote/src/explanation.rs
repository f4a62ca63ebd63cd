//! The text of an error in its two parts: what is wrong, and what to do about it.
//!
//! Such a text says where its remedy begins: `"no model is loaded{REMEDY}load one first"`. It reads "no model is loaded; load
//! one first", and [`Explanation::of`] gives both parts.

use std::cell::Cell;
use std::fmt;

/// Where the remedy begins in the text of an error.
pub const REMEDY: Remedy = Remedy("; ");
/// The same in Chinese.
pub const REMEDY_ZH: Remedy = Remedy("；");

/// Where a remedy begins, and what stands there in a sentence.
#[derive(Clone, Copy, Debug)]
pub struct Remedy(&'static str);

/// What stands there while a text is taken apart: ASCII's record separator, which [`quote`](crate::quote()) lets through
/// nowhere.
const MARK: &str = "\u{1e}";

thread_local! {
    /// Whether the texts that this thread writes are taken apart.
    static IS_TAKEN_APART: Cell<bool> = const { Cell::new(false) };
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if IS_TAKEN_APART.get() { MARK } else { self.0 })
    }
}

/// What is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub cause: String,
    pub remedy: Option<String>,
}

impl Explanation {
    /// The parts of what `write` writes. Where there are several remedies, one of them follows the other, with `between`
    /// between them.
    pub fn of(write: impl FnOnce() -> String, between: Remedy) -> Self {
        let text = with(true, write);
        match text.split_once(MARK) {
            Some((cause, remedy)) => Self { cause: cause.to_string(), remedy: Some(remedy.replace(MARK, between.0)) },
            None => Self { cause: text, remedy: None },
        }
    }
}

/// What `write` writes, as one sentence: for an error that is quoted within another one's cause.
pub fn in_one(write: impl FnOnce() -> String) -> String {
    with(false, write)
}

fn with(is_taken_apart: bool, write: impl FnOnce() -> String) -> String {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            IS_TAKEN_APART.set(self.0);
        }
    }
    let _before = Before(IS_TAKEN_APART.replace(is_taken_apart));
    write()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_sentence_or_two_parts() {
        let inner = || format!("a; b{REMEDY}c");
        assert_eq!(inner(), "a; b; c");
        let parts = |cause: &str, remedy: Option<&str>| Explanation {
            cause: cause.to_string(),
            remedy: remedy.map(str::to_string),
        };
        assert_eq!(Explanation::of(inner, REMEDY), parts("a; b", Some("c")));
        assert_eq!(Explanation::of(|| format!("{}{REMEDY}d", inner()), REMEDY), parts("a; b", Some("c; d")));
        assert_eq!(Explanation::of(|| format!("x ({})", in_one(inner)), REMEDY), parts("x (a; b; c)", None));
        assert_eq!(inner(), "a; b; c");
    }
}
