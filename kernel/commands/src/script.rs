//! Text as commands, each on a line of its own, with blocks of Rust and messages between them.

use tunebook_engine::settings::declaration;

use crate::cell;
use crate::error::Error;
use crate::error::Result;
use crate::parse;
use crate::rust;
use crate::shell;
use crate::timing;
use crate::verb;
use crate::verbs::VERBS;
use crate::words;
use crate::words::Word;

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
/// block, which `%%rust`, `%%chat` or `%%time` begins, is one command and ends with an empty line. Where more of the text
/// follows, that is one before a command, so that cells with empty lines can stand one after another, as `nbconvert` writes them.
pub fn lines(text: &str) -> Vec<Line> {
    let all: Vec<&str> = text.lines().collect();
    let mut found: Vec<Line> = Vec::new();
    let (mut joins, mut index) = (false, 0);
    while let Some(&text) = all.get(index) {
        let number = index + 1;
        index += 1;
        if !joins && begins_block(text) {
            let mut block = format!("{}\n", text.trim());
            while let Some(line) = all.get(index) {
                block.push_str(line);
                block.push('\n');
                index += 1;
                let next = all[index..].iter().find(|line| !line.trim().is_empty());
                if is_whole(&block) && next.is_none_or(|line| is_command(line)) {
                    break;
                }
            }
            found.push(Line { number, text: block });
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
            _ => found.push(Line { number, text: text.trim().to_string() }),
        }
        joins = goes_on;
    }
    found.retain(|line| !line.text.is_empty() && !is_comment(&line.text));
    found
}

/// Whether `text` can be run as it is: its last line asks for no other, and its last block is at its end.
pub fn is_complete(text: &str) -> bool {
    // The last line, which may be empty, is at its end as well.
    let last = lines(&format!("{text}\n")).pop().filter(|line| begins_block(&line.text));
    if let Some(block) = last {
        return is_whole(&block.text);
    }
    let last = text.lines().last().unwrap_or_default();
    is_comment(last) || !last.ends_with('\\')
}

/// Whether `line`, or the first of several, begins a block.
pub(crate) fn begins_block(line: &str) -> bool {
    rust::begins_block(line) || cell::begins_message(line) || timing::block(line).is_some()
}

/// Whether the lines of a block may be all.
fn is_whole(block: &str) -> bool {
    if let Some(code) = timing::block(block) {
        return if begins_block(code) { is_whole(code) } else { !code.trim().is_empty() && code.ends_with("\n\n") };
    }
    if rust::begins_block(block) { rust::is_whole(block) } else { block.ends_with("\n\n") }
}

/// Whether a line behind a block is none of it. Of what begins like a command, Rust gives values to names, and has
/// attributes.
fn is_command(line: &str) -> bool {
    let line = line.trim();
    if begins_block(line) || rust::code(line).is_some() || shell::command(line).is_some() {
        return true;
    }
    if let Some(topic) = cell::question(line) {
        return verb::find(topic, VERBS).is_ok() || declaration(topic).is_ok();
    }
    if is_comment(line) {
        return !line.starts_with("#[") && !line.starts_with("#![");
    }
    let split = words::split(parse::without_percent(line));
    let Some(first) = split.words.first() else { return false };
    match first.option() {
        Some((key, _)) => declaration(&key).is_ok() && !line.ends_with(';'),
        None => {
            let is_operator = |word: &Word| word.text.ends_with('=') && !word.text.contains(char::is_alphanumeric);
            verb::find(&first.text, VERBS).is_ok() && !split.words.get(1).is_some_and(is_operator)
        }
    }
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
    fn a_block_with_empty_lines_ends_before_a_command() {
        let blocks = [
            "%%rust\nuse std::io;\n\n#[derive(Debug)]\nstruct S;\n\ndata = load();\nset += 1;\nbatch=2;\n\nfn f() {\n\n\n}\n\n",
            "%%chat top_p=0.5\nWhat is it?\n\nAnd who?\n\n",
            "%%rust\n1\n\n",
        ];
        for next in [
            "plot",
            "!ls -l",
            "train?",
            "?lr",
            "time plot",
            "%%time\nplot\n",
            "%train 5",
            "batch=2",
            "# a comment",
            "rust 1",
            "%%rust\n1\n\n",
            "%%chat\nWhat?\n\n",
        ] {
            let found = lines(&format!("{}{}{}{next}\n", blocks[0], blocks[1], blocks[2]));
            let found: Vec<_> = found.into_iter().map(|line| line.text).collect();
            assert_eq!(found[..3], blocks);
        }
        // An error of the compiler's stays in its block.
        let found = lines("%%rust\nfn f() {\n\n\nplot\n");
        assert_eq!((found[0].text.as_str(), found[1].text.as_str()), ("%%rust\nfn f() {\n\n\n", "plot"));
        assert!(!is_complete("%%chat\nWhat?") && is_complete("%%chat\nWhat?\n"));
    }

    #[test]
    fn a_block_that_is_timed_ends_as_what_is_in_it() {
        let found = lines("%%time\nset lr=1\nplot\n\nplot\n%%time\n\n%%rust\nfn f() {\n\n}\n\n");
        let found: Vec<_> = found.iter().map(|line| (line.number, line.text.as_str())).collect();
        let blocks = ["%%time\nset lr=1\nplot\n\n", "%%time\n\n%%rust\nfn f() {\n\n}\n\n"];
        assert_eq!(found, [(1, blocks[0]), (5, "plot"), (6, blocks[1])]);
        assert!(!is_complete("%%time") && !is_complete("%%time\nplot") && is_complete("%%time\nplot\n"));
        assert!(!is_complete("%%time\n%%rust\nfn f() {\n"));
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
