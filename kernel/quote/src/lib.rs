//! Text from outside, cut to what a message has room for.
//!
//! A value, key or role in somebody's file may be megabytes long, or hold control characters that a terminal obeys.
//! Messages quote at most [`MOST`] characters of it. They are cut where the error is made, so both languages, a
//! notebook and a log show the same.

mod explanation;

pub use explanation::Explanation;
pub use explanation::REMEDY;
pub use explanation::REMEDY_ZH;
pub use explanation::Remedy;
pub use explanation::in_one;

/// Most characters of a quotation.
pub const MOST: usize = 80;

/// `text`, or the beginning of it and an ellipsis.
pub fn quote(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        None => printable(text),
        Some(_) => {
            let end = text.char_indices().nth(MOST - 1).map_or(text.len(), |(end, _)| end);
            printable(&text[..end]) + "…"
        }
    }
}

/// `text`, or an ellipsis and the end of it, which says more of a path than its beginning.
pub fn quote_end(text: &str) -> String {
    match text.char_indices().nth_back(MOST) {
        None => printable(text),
        Some(_) => {
            let start = text.char_indices().nth_back(MOST - 2).map_or(0, |(start, _)| start);
            format!("…{}", printable(&text[start..]))
        }
    }
}

/// What a library says of a file, which may quote all that it has read: where it is long, its middle is left out.
pub fn message(text: &str) -> String {
    const END: usize = 2 * MOST;
    let count = text.chars().count();
    match count > 2 * END {
        true => text.chars().take(END).chain(['…']).chain(text.chars().skip(count - END)).collect(),
        false => text.to_owned(),
    }
}

/// Whether a terminal obeys the character instead of drawing it: control characters, and those that turn the direction in
/// which what follows is drawn, so that a name can look like another one.
pub fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Line feeds and what else a terminal would obey, written as Rust and Python write them.
fn printable(text: &str) -> String {
    let written = |c: char| match steers(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_stays() {
        let text = "图".repeat(MOST);
        assert_eq!((quote(&text), quote_end(&text)), (text.clone(), text));
        assert_eq!((quote(""), quote_end("")), (String::new(), String::new()));
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        let text = format!("ab{}yz", "é图".repeat(1000));
        let (start, end) = (quote(&text), quote_end(&text));
        assert_eq!((start.chars().count(), end.chars().count()), (MOST, MOST));
        assert!(start.starts_with("abé图é") && start.ends_with('…'), "{start}");
        assert!(end.starts_with('…') && end.ends_with("é图yz"), "{end}");
        let one_more = "a".repeat(MOST + 1);
        assert_eq!(quote(&one_more).chars().count(), MOST);
        assert_eq!(quote_end(&one_more).chars().count(), MOST);
    }

    #[test]
    fn a_message_keeps_both_ends() {
        let text = format!("invalid type: string \"{}\", expected a map at line 3", "é".repeat(10_000));
        let cut = message(&text);
        assert!(cut.starts_with("invalid type") && cut.ends_with("at line 3") && cut.contains("é…é"), "{cut}");
        assert_eq!(cut.chars().count(), 4 * MOST + 1);
        assert_eq!(message("one\ntwo"), "one\ntwo");
    }

    #[test]
    fn what_a_terminal_obeys_is_written() {
        assert_eq!(quote("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
    }
}
