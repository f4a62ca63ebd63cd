//! Text as commands, each on a line of its own, with blocks of Rust between them.

use crate::error::Error;
use crate::error::Result;
use crate::rust;

/// A command and the number of its first line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub number: usize,
    pub text: String,
}

/// The text of `bytes`, which begin with line `first` of `file`, without a byte order mark.
///
/// # Errors
/// They are not UTF-8.
pub fn text(bytes: Vec<u8>, file: &str, first: usize) -> Result<String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = first + good.iter().filter(|byte| **byte == b'\n').count();
        Error::NotUtf8 { file: file.to_string(), line }
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text))
}

/// The commands of `text`. A `\` at the end of a line joins the next one to it; empty lines and comments are dropped. A
/// block of Rust is one command, from `%%rust` to the empty line after it.
pub fn lines(text: &str) -> Vec<Line> {
    let mut found: Vec<Line> = Vec::new();
    let mut joins = false;
    let mut is_open = false;
    for (index, text) in text.lines().enumerate() {
        if let Some(block) = found.last_mut().filter(|_| is_open) {
            block.text.push_str(text);
            block.text.push('\n');
            is_open = !rust::is_whole(&block.text);
            continue;
        }
        if !joins && rust::begins_block(text) {
            found.push(Line { number: index + 1, text: format!("{}\n", text.trim()) });
            is_open = true;
            continue;
        }
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

/// Whether `text` can be run as it is: its last line asks for no other, and its last block of Rust is at its end.
pub fn is_complete(text: &str) -> bool {
    // The last line, which may be empty, is at its end as well.
    let last = lines(&format!("{text}\n")).pop().filter(|line| rust::begins_block(&line.text));
    if let Some(block) = last {
        return rust::is_whole(&block.text);
    }
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
    fn bytes_that_are_no_text_are_named_with_their_line() {
        let problem = text(b"load m\ntrain \xff\n".to_vec(), "a.tune", 1).unwrap_err().to_string();
        assert!(problem.starts_with("a.tune:2 is not UTF-8"), "{problem}");
        // As Notepad writes it.
        assert_eq!(text("\u{feff}load 模型".into(), "a.tune", 1).unwrap(), "load 模型");
    }

    #[test]
    fn a_block_of_rust_is_one_line() {
        let found = lines("train 5\n%%rust\nlet x = 1; // \\\n\nplot\n%%rust\nfn f() {\n\n}\n\n");
        let found: Vec<_> = found.iter().map(|line| (line.number, line.text.as_str())).collect();
        let blocks = ["%%rust\nlet x = 1; // \\\n\n", "%%rust\nfn f() {\n\n}\n\n"];
        assert_eq!(found, [(1, "train 5"), (2, blocks[0]), (5, "plot"), (6, blocks[1])]);
        assert!(!is_complete("%%rust"));
        assert!(!is_complete("%%rust\nlet x = 1;"));
        assert!(!is_complete("%%rust\nfn f() {\n"));
        assert!(is_complete("%%rust\nlet x = 1;\n"));
        assert!(is_complete("%%rust\nlet x = 1;\n\nplot"));
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
