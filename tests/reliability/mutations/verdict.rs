//! What is a fault, and what is not.

use super::bytes::MARK;
use super::child::Ended;

/// Megabytes that no small input may take.
const MEMORY: i64 = 1000;
/// Most characters in a row that are quoted of one value: a library's sentence keeps twice as many at each of its ends.
const QUOTED: usize = 2 * tunebook_quote::MOST;
/// Most characters of what is said at the end.
const SAID: usize = 4000;

/// What became of an input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was carried out.
    Taken,
    /// It was refused with a message.
    Refused,
    /// Neither, and why.
    Fault(String),
}

impl Verdict {
    /// Its place in a tally.
    pub(super) fn index(&self) -> usize {
        match self {
            Self::Taken => 0,
            Self::Refused => 1,
            Self::Fault(_) => 2,
        }
    }
}

/// Judges a child that was given an input.
pub(super) fn of(ended: &Ended) -> Verdict {
    let longest = ended.err.split(|c| c != MARK).map(|run| run.chars().count()).max().unwrap_or(0);
    match (of_typed(ended), longest > QUOTED || ended.err.chars().count() > SAID) {
        (Verdict::Fault(fault), _) => Verdict::Fault(fault),
        (_, true) => Verdict::Fault(format!("it quotes {longest} characters: {}", end(&ended.err))),
        (verdict, false) => verdict,
    }
}

/// The same where what is said may hold all that was typed.
pub(super) fn of_typed(ended: &Ended) -> Verdict {
    let Ended { code, out, err, .. } = ended;
    match fault(ended) {
        Some(fault) => Verdict::Fault(format!("{fault}\n  status {code}\n  out: {}\n  err: {}", end(out), end(err))),
        None if *code == 1 || *code == 2 => Verdict::Refused,
        None => Verdict::Taken,
    }
}

fn fault(Ended { code, hung, peak_megabytes, out, err }: &Ended) -> Option<String> {
    // Ended as it was asked to, by SIGTERM, perhaps before it could hear that.
    let is_end = matches!(code, 0..=2 | 143) || *code == -libc::SIGTERM;
    if *hung {
        return Some("it hangs".to_string());
    }
    for text in [out, err] {
        if let Some(problem) = of_text(text) {
            return Some(problem);
        }
    }
    match is_end {
        false if *code == -libc::SIGXCPU => Some("it computes without an end".to_string()),
        false => Some(format!("it ends with {code}")),
        true if *peak_megabytes > MEMORY => Some(format!("it takes {peak_megabytes} MB")),
        true if *code == 0 && !err.is_empty() => Some("it complains and reports success".to_string()),
        true if *code == 1 && err.trim().is_empty() => Some("it fails without a word".to_string()),
        true => None,
    }
}

/// What no text that is shown may hold.
fn of_text(text: &str) -> Option<String> {
    for word in ["panicked at", "this is a bug", "which is a bug", "程序缺陷", "RUST_BACKTRACE", "memory allocation of"]
    {
        if text.contains(word) {
            return Some(format!("it says `{word}`"));
        }
    }
    text.chars().find(|c| steers(*c)).map(|c| format!("it writes {c:?} as it came"))
}

/// Whether a terminal obeys the character: line feeds and tabs, without which no text can be written, are left out.
fn steers(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') || c.is_control() && !matches!(c, '\n' | '\t')
}

/// The end of a text, so that a report stays short.
fn end(text: &str) -> String {
    let start = text.char_indices().rev().nth(300).map_or(0, |(at, _)| at);
    text[start..].trim().escape_debug().to_string()
}

mod tests {
    use super::*;

    #[test]
    fn faults_are_seen() {
        let ended = |code, out: &str, err: &str| {
            let (out, err) = (out.to_string(), err.to_string());
            of(&Ended { code, hung: false, peak_megabytes: 30, out, err })
        };
        assert_eq!(ended(0, "图\n\tb", ""), Verdict::Taken);
        assert_eq!(ended(1, "", "error: no"), Verdict::Refused);
        let long = MARK.to_string().repeat(161);
        for (code, out, err) in [
            (-6, "", "error: no"),
            (101, "", "thread 'main' panicked at"),
            (0, "", "error: no"),
            (1, "", "\n"),
            (1, "", "error: \x1b[2J"),
            (1, "", "error: \u{202e}"),
            (1, "", &*long),
        ] {
            assert!(matches!(ended(code, out, err), Verdict::Fault(_)), "{code} {out} {err}");
        }
        let slow = Ended { code: -9, hung: true, peak_megabytes: 1, out: String::new(), err: String::new() };
        assert!(matches!(of(&slow), Verdict::Fault(_)));
        let large = Ended { code: 0, hung: false, peak_megabytes: 1001, out: String::new(), err: String::new() };
        assert!(matches!(of(&large), Verdict::Fault(_)));
    }
}
