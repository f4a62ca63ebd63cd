//! Text on its way to a terminal.
//!
//! Text from a dataset, a model, a file name or a hub must not steer the terminal. Everything that a face writes goes
//! through [`printable`], which lets colours and line feeds pass and shows every other control character as text.

use std::borrow::Cow;

use tunebook_quote::steers;

/// `text` with colours, line feeds and tabs; every other control character is shown as a symbol instead of being sent.
/// An escape sequence could set the clipboard, hide text or move the cursor.
pub fn printable(text: &str) -> Cow<'_, str> {
    shown(text, colour)
}

/// The same with carriage returns, for what a program of the user's own writes: its progress begins its line anew.
pub fn written(text: &str) -> Cow<'_, str> {
    shown(text, |rest| rest.get(..1).filter(|c| *c == "\r").or_else(|| colour(rest)))
}

/// The same without colours, for text from outside that tunebook will colour: it must not look like a message of
/// tunebook's own.
pub fn colourless(text: &str) -> Cow<'_, str> {
    shown(text, |_| None)
}

/// What `kept` finds at a place stays as it is.
fn shown(text: &str, kept: fn(&str) -> Option<&str>) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let kept = kept(rest);
        let length = kept.map_or(c.len_utf8(), str::len);
        match kept {
            Some(kept) => shown.push_str(kept),
            None if is_hidden(c) => shown.push(visible(c)),
            None => shown.push(c),
        }
        rest = &rest[length..];
    }
    Cow::Owned(shown)
}

/// Line feeds and tabs steer, but no text can be written without them.
fn is_hidden(c: char) -> bool {
    steers(c) && !matches!(c, '\n' | '\t')
}

/// The sequence with which `text` begins, if it is one of those that only colour text or make it bold or faint.
fn colour(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("\x1b[")?;
    let end = rest.find('m')?;
    let mut codes = rest[..end].split(';').map(|code| if code.is_empty() { Some(0) } else { code.parse().ok() });
    while let Some(code) = codes.next() {
        match code? {
            0..=4 | 22..=24 | 30..=37 | 39 | 90..=97 => {}
            // Of 256 colours.
            38 if codes.next()? == Some(5u16) => drop(codes.next()??),
            _ => return None,
        }
    }
    Some(&text[..2 + end + 1])
}

/// `␛` for an escape, and so on.
fn visible(c: char) -> char {
    match u32::from(c) {
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap_or(char::REPLACEMENT_CHARACTER),
        0x7f => '␡',
        _ => char::REPLACEMENT_CHARACTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_instead() {
        for (text, shown) in [
            ("\x1b]52;c;cm0gLXJm\x07x", "␛]52;c;cm0gLXJm␇x"),
            ("\x1b[2J\x1b[H", "␛[2J␛[H"),
            ("\x1b[8mhidden\x1b[0m", "␛[8mhidden\x1b[0m"),
            ("\x1b[48;5;1m", "␛[48;5;1m"),
            ("a\rb\u{8}\u{7f}", "a␍b␈␡"),
            // The same as ESC [ in one character.
            ("\u{9b}31m", "\u{fffd}31m"),
            ("\x1b[", "␛["),
            ("\x1b", "␛"),
            // What follows would be drawn from right to left.
            ("safe\u{202e}gnp.exe\u{2066}\u{2069}", "safe\u{fffd}gnp.exe\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(printable(text), shown, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_coloured_yet_keeps_no_colours() {
        assert_eq!(colourless("\x1b[31merror:\x1b[0m a\n\tb"), "␛[31merror:␛[0m a\n\tb");
        assert_eq!(colourless("学习率 🦀"), "学习率 🦀");
    }

    #[test]
    fn text_and_colours_stay() {
        for text in ["", "one\n\ttwo", "学习率：2e-4，图片 🦀", "\x1b[1;31merror\x1b[0m", "\x1b[38;5;12mx\x1b[m"]
        {
            assert_eq!(printable(text), text);
        }
    }
}
