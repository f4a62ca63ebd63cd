//! A notebook's cell as commands.

use crate::parse;
use crate::rust;
use crate::script;
use crate::script::Line;
use crate::shell;
use crate::timing;
use crate::verbs::VERBS;

/// Makes the rest of a cell one message.
pub(crate) const CHAT: &str = "%%chat";

/// The commands of a cell, one a line, as in a script. If it begins with `%%chat`, perhaps followed by options, the
/// rest of it is one message; if it begins with `%%rust`, the rest of it is Rust; and with `%%time` the rest of it is a cell
/// that is timed.
pub fn lines(code: &str) -> Vec<Line> {
    if rust::begins_block(code) || timing::block(code).is_some() {
        return vec![Line { number: 1, text: code.trim_start().to_string() }];
    }
    message(code).map_or_else(|| script::lines(code), |text| vec![Line { number: 1, text }])
}

/// Whether `line` begins a message of several lines.
pub(crate) fn begins_message(line: &str) -> bool {
    chat(line).is_some()
}

/// The command of a message of several lines.
pub(crate) fn message(code: &str) -> Option<String> {
    let (options, text) = chat(code)?;
    Some(match text.trim() {
        "" => format!("chat {options}"),
        text => format!("chat {options} {}", quoted(text)),
    })
}

/// Whether a cell can be run as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Complete,
    /// It needs another line.
    Incomplete,
    /// It can be run, but will fail.
    Invalid,
}

/// Whether `code` can be run as it is: a message ends with an empty line, other lines go on after a `\`.
pub fn state(code: &str) -> State {
    if chat(code).is_some() {
        return if code.ends_with("\n\n") { State::Complete } else { State::Incomplete };
    }
    if rust::begins_block(code) {
        return if rust::is_whole(code) { State::Complete } else { State::Incomplete };
    }
    if !script::is_complete(code) {
        return State::Incomplete;
    }
    match lines(code).iter().all(is_valid) {
        true => State::Complete,
        false => State::Invalid,
    }
}

fn is_valid(line: &Line) -> bool {
    if let Some(lines) = timing::lines(&line.text) {
        return lines.iter().all(is_valid);
    }
    rust::code(&line.text).is_some() || question(&line.text).is_some() || parse::parse(&line.text, VERBS).is_ok()
}

/// The topic of a line like `train?` or `?train`, which asks for help as IPython users do.
pub fn question(line: &str) -> Option<&str> {
    let line = line.trim();
    let topic = line.strip_prefix('?').or_else(|| line.strip_suffix('?'))?.trim_matches('?').trim();
    let is_topic = shell::command(line).is_none() && !topic.contains(char::is_whitespace);
    is_topic.then(|| topic.trim_start_matches('%'))
}

/// The options and the text of a cell that begins with `%%chat`.
fn chat(code: &str) -> Option<(&str, &str)> {
    let rest = code.trim_start().strip_prefix(CHAT)?;
    let (options, text) = rest.split_once('\n').unwrap_or((rest, ""));
    (options.is_empty() || options.starts_with(char::is_whitespace)).then_some((options.trim(), text))
}

/// `text` as one word, whatever it holds.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(code: &str) -> Vec<String> {
        lines(code).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_cell_is_lines_or_a_message() {
        assert_eq!(texts("# set up\n%load m\ntrain 5"), ["%load m", "train 5"]);
        let cell = "%%chat image=a.png top_p=0.5\nWhat's \"this\"?\n\nimage=b \\ # really\n";
        let (verb, args) = parse::parse(&texts(cell)[0], VERBS).unwrap().unwrap();
        assert_eq!((verb.name, args.text.as_str()), ("chat", "What's \"this\"?\n\nimage=b \\ # really"));
        assert_eq!(args.options, [("image", "a.png".to_string())]);
        assert_eq!(texts("%%chatter\nx"), ["%%chatter", "x"]);
        assert_eq!(texts("%%rust\nlet a = 1;\n\nlet b = 2;"), ["%%rust\nlet a = 1;\n\nlet b = 2;"]);
        assert_eq!(texts("%%time\ntrain 5\n\nplot"), ["%%time\ntrain 5\n\nplot"]);
        assert_eq!(texts("train 5\nrust session().step()"), ["train 5", "rust session().step()"]);
    }

    #[test]
    fn a_cell_says_whether_it_is_whole() {
        assert_eq!(state("train 5\nplot"), State::Complete);
        assert_eq!(state("train 5 \\"), State::Incomplete);
        assert_eq!(state("%%chat\nWhat?"), State::Incomplete);
        assert_eq!(state("%%chat\nWhat?\n\n"), State::Complete);
        assert_eq!(state("%%rust\nlet x = 1;"), State::Incomplete);
        assert_eq!(state("%%rust\nlet x = 1;\n\n"), State::Complete);
        assert_eq!(state("rust 1 +"), State::Complete);
        assert_eq!(state("load \"a b"), State::Invalid);
        assert_eq!(state("trian 5"), State::Invalid);
        assert_eq!(state("train?\n!ls 'a\n%time train 5\n?lr"), State::Complete);
        assert_eq!(state("time trian 5"), State::Invalid);
        assert_eq!(state("%%time\ntrain 5\n\n"), State::Complete);
        assert_eq!(state("%%time\ntrain 5"), State::Incomplete);
        assert_eq!(state("%%time\ntrian 5\n\n"), State::Invalid);
        assert_eq!(state(""), State::Complete);
    }

    #[test]
    fn questions_are_single_words() {
        assert_eq!(question("train?"), Some("train"));
        assert_eq!(question(" ?%lora_rank "), Some("lora_rank"));
        assert_eq!(question("?"), Some(""));
        assert_eq!(question("chat What is it?"), None);
        assert_eq!(question("train"), None);
        assert_eq!((question("train??"), question("??%%time")), (Some("train"), Some("time")));
        assert_eq!(question("!ls?"), None);
    }
}
