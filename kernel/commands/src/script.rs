//! Text as commands, each on a line of its own.

/// A command and the number of its first line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub number: usize,
    pub text: String,
}

/// The commands of `text`: a `\` at the end of a line joins the next one to it; empty lines and comments are left out.
pub fn lines(text: &str) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    let mut joins = false;
    for (index, text) in text.lines().enumerate() {
        let (text, goes_on) = match text.strip_suffix('\\') {
            Some(head) if joins || !is_comment(text) => (head, true),
            _ => (text, false),
        };
        match found.last_mut() {
            Some(last) if joins => {
                last.text.push(' ');
                last.text.push_str(text.trim());
            }
            _ => found.push(Line { number: index + 1, text: text.trim().to_string() }),
        }
        joins = goes_on;
    }
    found.retain(|line| !line.text.is_empty() && !is_comment(&line.text));
    found
}

/// Whether `text` can be run as it is: its last line asks for no other.
pub fn is_complete(text: &str) -> bool {
    let last = text.lines().last().unwrap_or_default();
    is_comment(last) || !last.ends_with('\\')
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers() {
        let found = lines("# set up\nload m\n\n  train 5 \\\n    lr=1e-4 \\\n\nplot # loss\n");
        let found: Vec<_> = found.iter().map(|line| (line.number, line.text.as_str())).collect();
        assert_eq!(found, [(2, "load m"), (4, "train 5 lr=1e-4 "), (7, "plot # loss")]);
    }

    #[test]
    fn a_comment_does_not_go_on() {
        assert_eq!(lines("# a \\\ntrain").len(), 1);
        assert!(is_complete("# a \\"));
    }

    #[test]
    fn a_backslash_asks_for_more() {
        assert!(!is_complete("train 5 \\"));
        assert!(is_complete("train 5 \\\nlr=1e-4"));
        assert!(is_complete(""));
    }
}
