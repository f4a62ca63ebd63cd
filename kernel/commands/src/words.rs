//! A line as words, quoted as in a shell.

use std::ops::Range;

/// One word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Without its quotes and backslashes.
    pub text: String,
    /// Where it stands in the line, quotes included.
    pub span: Range<usize>,
    /// Where the value of a `key=value` begins in `text`; a word that begins with a quote has no key.
    value: Option<usize>,
}

impl Word {
    /// The key and value of `key=value`, `--key=value` or `--key` (whose value is the next word).
    pub(crate) fn option(&self) -> Option<(String, Option<&str>)> {
        let dashed = self.text.starts_with("--") && self.text.len() > 2;
        let key = |key: &str| key.trim_start_matches("--").replace('-', "_");
        match self.value {
            Some(value) => Some((key(&self.text[..value - 1]), Some(&self.text[value..]))),
            None if dashed => Some((key(&self.text), None)),
            None => None,
        }
    }
}

/// The words of a line, and how it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub words: Vec<Word>,
    /// Where a `#` begins a comment.
    pub comment: Option<usize>,
    /// Where a quote opens that is never closed.
    pub open_quote: Option<usize>,
}

/// Splits a line at white space. `'…'` is literal, within `"…"` a backslash escapes `"` and `\`, elsewhere whatever
/// would end a word or be taken out of it. Before anything else it stays, as in Windows' paths. A word that begins with
/// `#` begins a comment.
pub(crate) fn split(line: &str) -> Words {
    let mut found = Words::default();
    let mut chars = line.char_indices().peekable();
    while let Some(&(start, c)) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
            continue;
        }
        if c == '#' {
            found.comment = Some(start);
            break;
        }
        let mut word = Word { text: String::new(), span: start..line.len(), value: None };
        let mut quote: Option<(usize, char)> = None;
        while let Some(&(at, c)) = chars.peek() {
            if quote.is_none() && c.is_whitespace() {
                word.span.end = at;
                break;
            }
            chars.next();
            match (quote, c) {
                (None, '\'' | '"') => quote = Some((at, c)),
                (Some((_, open)), c) if c == open => quote = None,
                (None, '\\') => match chars.next_if(|(_, c)| is_special(*c)) {
                    Some((_, c)) => word.text.push(c),
                    None => word.text.push('\\'),
                },
                (Some((_, '"')), '\\') => match chars.next_if(|(_, c)| matches!(c, '"' | '\\')) {
                    Some((_, c)) => word.text.push(c),
                    None => word.text.push('\\'),
                },
                (None, '=') if word.value.is_none() && is_key(&line[start..at]) => {
                    word.text.push('=');
                    word.value = Some(word.text.len());
                }
                _ => word.text.push(c),
            }
        }
        found.open_quote = quote.map(|(at, _)| at);
        found.words.push(word);
    }
    found
}

/// `text` with a backslash before whatever would end a word or be taken out of it.
pub(crate) fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| is_special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Whether the character means something between words or to a word, unless a backslash stands before it.
fn is_special(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\'' | '"' | '\\' | '#')
}

fn is_key(text: &str) -> bool {
    let name = text.trim_start_matches("--");
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        split(line).words.into_iter().map(|word| word.text).collect()
    }

    fn option(line: &str) -> Option<(String, Option<String>)> {
        split(line).words[0].option().map(|(key, value)| (key, value.map(str::to_string)))
    }

    #[test]
    fn words_are_quoted_as_in_a_shell() {
        assert_eq!(texts("load  path/to/model"), ["load", "path/to/model"]);
        assert_eq!(texts(r#"load "a b" 'c "d"' e\ f"#), ["load", "a b", "c \"d\"", "e f"]);
        assert_eq!(
            texts(r"load C:\models\new D:\my\ models a\\b \# \"),
            ["load", r"C:\models\new", r"D:\my models", r"a\b", "#", "\\"]
        );
        assert_eq!(texts(r#"print "say \"hi\" \n""#), ["print", r#"say "hi" \n"#]);
        assert_eq!(texts("print \"\""), ["print", ""]);
        assert_eq!(texts("图 画"), ["图", "画"]);
        assert!(texts("   ").is_empty());
    }

    #[test]
    fn a_comment_begins_with_a_word() {
        assert_eq!(texts("train 5 # five"), ["train", "5"]);
        assert_eq!(texts("load a#b"), ["load", "a#b"]);
        assert_eq!(split("a # b").comment, Some(2));
    }

    #[test]
    fn an_open_quote_is_told() {
        assert_eq!(split("print 'a b").open_quote, Some(6));
        assert_eq!(split("print \"it's\"").open_quote, None);
    }

    #[test]
    fn options_come_in_two_spellings() {
        let expected = |value: &str| Some(("save".to_string(), Some(value.to_string())));
        assert_eq!(option("save=a"), expected("a"));
        assert_eq!(option("--save=a"), expected("a"));
        assert_eq!(option("save=\"a b\""), expected("a b"));
        assert_eq!(option("save=a=b"), expected("a=b"));
        assert_eq!(option("--learning-rate"), Some(("learning_rate".to_string(), None)));
        assert_eq!(option("\"a=b\""), None);
        assert_eq!(option("2+2=4"), None);
        assert_eq!(option("--"), None);
    }

    #[test]
    fn what_is_escaped_is_read_back() {
        for text in ["a", "a b", "it's", "say \"x\"", "#x", "back\\slash", "图 画"] {
            assert_eq!(texts(&escaped(text)), [text]);
        }
    }
}
