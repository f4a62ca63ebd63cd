//! The width of a page, and fitting text to it.

use unicode_width::UnicodeWidthChar;
use unicode_width::UnicodeWidthStr;

use crate::lang::Lang;

/// The page that text is written on.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// In columns of the terminal; a Chinese character takes two.
    pub width: usize,
    /// Whether ANSI escapes may be used.
    pub color: bool,
    pub lang: Lang,
}

impl Page {
    pub fn bright(&self, text: &str) -> String {
        self.styled("32", text)
    }

    pub fn faint(&self, text: &str) -> String {
        self.styled("2", text)
    }

    pub fn warm(&self, text: &str) -> String {
        self.styled("33", text)
    }

    /// In the colour of the curve of this index.
    pub fn curve(&self, index: usize, text: &str) -> String {
        const COLOURS: [&str; 6] = ["34", "33", "32", "31", "35", "36"];
        self.styled(COLOURS[index % COLOURS.len()], text)
    }

    /// `text` in a colour or style of the terminal, by its number.
    pub(crate) fn styled(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// `text` in lines of at most `width` columns, if its words allow; all but the first are indented. Between Chinese
/// characters a line may end, but not in front of their punctuation.
pub fn wrap(text: &str, indent: usize, width: usize) -> String {
    let (mut wrapped, mut column) = (String::new(), 0);
    for (index, word) in text.split(' ').enumerate() {
        for (part, piece) in pieces(word).into_iter().enumerate() {
            let space = usize::from(part == 0 && index > 0);
            let length = piece.width();
            if column > indent && column + space + length > width {
                wrapped += &format!("\n{:indent$}", "");
                column = indent;
            } else if space == 1 {
                wrapped.push(' ');
                column += 1;
            }
            wrapped += piece;
            column += length;
        }
    }
    wrapped
}

/// The parts of a word between which a line may end: of an English one, the word; an empty one is a part, too.
fn pieces(word: &str) -> Vec<&str> {
    let is_wide = |c: char| c.width() == Some(2);
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut last: Option<char> = None;
    for (at, c) in word.char_indices() {
        let may_end = last.is_some_and(|last| (is_wide(last) || is_wide(c)) && !"（《“‘「".contains(last));
        if may_end && !"，。；：！？、）》”’」…".contains(c) {
            pieces.push(&word[start..at]);
            start = at;
        }
        last = Some(c);
    }
    pieces.push(&word[start..]);
    pieces
}

/// `text` with spaces up to `width` columns.
pub fn padded(text: &str, width: usize) -> String {
    format!("{text}{:1$}", "", width.saturating_sub(text.width()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_wrapped_between_words() {
        assert_eq!(wrap("one two three four", 2, 9), "one two\n  three\n  four");
        assert_eq!(wrap("  key  does this and that", 7, 16), "  key  does this\n       and that");
        assert_eq!(wrap("unbreakable", 2, 5), "unbreakable");
        assert_eq!(wrap("学习率太高，损失上升。", 2, 10), "学习率太\n  高，损失\n  上升。");
    }
}
