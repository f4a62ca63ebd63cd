//! Help for the word at the cursor, without asking the session.

use tunebook_engine::settings::declaration;

use crate::host::Snapshot;
use crate::parse;
use crate::shell;
use crate::timing;
use crate::verb;
use crate::verbs::VERBS;
use crate::verbs::help::about_setting;
use crate::verbs::help::about_verb;
use crate::words;

/// Help for the setting at `cursor` (a byte offset) in `line`, or else for the verb of the line.
pub fn at(line: &str, cursor: usize, snapshot: &Snapshot) -> Option<String> {
    if let Some(start) = timing::line_start(line).filter(|start| *start <= cursor) {
        return at(&line[start..], cursor - start, snapshot);
    }
    if shell::command(line).is_some() {
        return about(shell::MARK, snapshot);
    }
    let offset = line.len() - line.trim_start().trim_start_matches('%').len();
    let split = words::split(&line[offset..]);
    let (verb, rest) = parse::verb_and_rest(&split.words, VERBS)?;
    let at = cursor.saturating_sub(offset);
    let word = rest.iter().find(|word| (word.span.start..=word.span.end).contains(&at));
    let key = word.map(|word| word.option().map_or_else(|| word.text.clone(), |(key, _)| key));
    let verb = verb.ok();
    // `image` is a key of `chat` and no setting; help for `chat` explains it.
    let is_topic = |key: &String| verb.is_none_or(|verb| verb.name == "help" || parse::keys(verb).any(|k| k == key));
    key.filter(is_topic)
        .and_then(|key| about(&key, snapshot))
        .or_else(|| verb.map(|verb| about_verb(verb, snapshot.lang)))
}

/// The help of a verb or a setting.
fn about(topic: &str, Snapshot { settings, lang, .. }: &Snapshot) -> Option<String> {
    let verb = verb::find(topic, VERBS).ok().map(|verb| about_verb(verb, *lang));
    verb.or_else(|| declaration(topic).ok().map(|setting| about_setting(setting, &setting.get(settings), *lang)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_line(line: &str, cursor: usize) -> Option<String> {
        at(line, cursor, &Snapshot::default()).map(|text| text.lines().next().unwrap_or_default().to_string())
    }

    #[test]
    fn help_is_for_the_key_or_the_verb() {
        assert_eq!(first_line("  %train 5 lr=1e-4", 14).as_deref(), Some("learning_rate = 5e-5"));
        assert!(about("train", &Snapshot::default()).unwrap().contains("usage: train"));
        assert_eq!(first_line("train 5", 6), first_line("train", 2));
        assert_eq!(first_line("lr=1e-4", 1).as_deref(), Some("learning_rate = 5e-5"));
        assert_eq!(first_line("help seed", 9).as_deref(), Some("seed = 42"));
        assert_eq!(first_line("chat image=a.png What?", 7), first_line("chat", 0));
        assert_eq!(first_line("time train 5", 7), first_line("train", 2));
        assert_eq!(
            first_line("time train 5", 2).as_deref(),
            Some("Carry out a line and tell how long it took; %%time begins a cell")
        );
        assert_eq!(first_line("!ls", 2).as_deref(), Some("Run a command of the system's shell"));
        assert_eq!(first_line("nothing", 3), None);
        assert_eq!(first_line("", 0), None);
    }
}
