//! The parts of a line, for a face to colour.

use std::ops::Range;

use tunebook_engine::settings::declaration;

use crate::cell;
use crate::parse;
use crate::script;
use crate::shell;
use crate::timing;
use crate::verb;
use crate::verb::Takes;
use crate::verbs::VERBS;
use crate::words;

/// What a part of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Verb,
    UnknownVerb,
    /// A key with its `=`.
    Key,
    UnknownKey,
    Value,
    /// A word in quotes.
    Quoted,
    Comment,
}

/// The parts of `line` that are more than plain words, in order.
pub fn parts(line: &str) -> Vec<(Range<usize>, Part)> {
    let offset = line.len() - line.trim_start().trim_start_matches('%').len();
    let within = |Range { start, end }: Range<usize>| {
        parts(&line[start..end]).into_iter().map(move |(range, part)| (start + range.start..start + range.end, part))
    };
    if shell::command(line).is_some() {
        return vec![(offset..offset + shell::MARK.len(), Part::Verb)];
    }
    if let Some(topic) = cell::question(line) {
        let start = line.find(topic).unwrap_or(offset);
        let is_known = topic.is_empty() || verb::find(topic, VERBS).is_ok() || declaration(topic).is_ok();
        return vec![(start..start + topic.len(), if is_known { Part::Verb } else { Part::UnknownVerb })];
    }
    let timed = (offset..offset + timing::VERB.len(), Part::Verb);
    if let Some(code) = timing::block(line) {
        let pieces = if script::begins_block(code) { vec![code] } else { code.lines().collect() };
        let lines = pieces.into_iter().flat_map(|piece| {
            let start = piece.as_ptr() as usize - line.as_ptr() as usize;
            within(start..start + piece.len())
        });
        return [timed].into_iter().chain(lines).collect();
    }
    if let Some(start) = timing::line_start(line) {
        return [timed].into_iter().chain(within(start..line.len())).collect();
    }
    let split = words::split(&line[offset..]);
    let mut found = Vec::new();
    let Some((verb, rest)) = parse::verb_and_rest(&split.words, VERBS) else {
        return split.comment.map(|at| (offset + at..line.len(), Part::Comment)).into_iter().collect();
    };
    let verb = verb.ok();
    if let Some(first) = split.words.first().filter(|_| rest.len() < split.words.len()) {
        found.push((first.span.clone(), if verb.is_some() { Part::Verb } else { Part::UnknownVerb }));
    }
    let is_text = verb.is_some_and(|verb| verb.takes == Takes::Text);
    let knows = |key: &str| verb.is_some_and(|verb| parse::keys(verb).any(|name| name == key));
    let mut is_value = false;
    let mut in_text = false;
    for word in rest {
        let raw = &line[offset..][word.span.clone()];
        in_text = in_text || is_text && !is_value && word.option().is_none_or(|(key, _)| !knows(&key));
        if in_text {
            break;
        }
        let is_key = knows(&word.option().map(|(key, _)| key).unwrap_or_default())
            || verb.is_some_and(|verb| parse::is_assignment(verb, word));
        let part = if is_key { Part::Key } else { Part::UnknownKey };
        match word.option() {
            Some((_, Some(_))) => {
                let value = word.span.start + raw.find('=').map_or(raw.len(), |at| at + 1);
                found.push((word.span.start..value, part));
                found.push((value..word.span.end, Part::Value));
            }
            Some((_, None)) => found.push((word.span.clone(), part)),
            None if raw.starts_with(['"', '\'']) => found.push((word.span.clone(), Part::Quoted)),
            None if is_value => found.push((word.span.clone(), Part::Value)),
            None => {}
        }
        is_value = matches!(word.option(), Some((_, None)));
    }
    found.extend(split.comment.filter(|_| !in_text).map(|at| (at..line.len() - offset, Part::Comment)));
    found.into_iter().map(|(range, part)| (offset + range.start..offset + range.end, part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(line: &str) -> Vec<(&str, Part)> {
        parts(line).into_iter().map(|(range, part)| (&line[range], part)).collect()
    }

    #[test]
    fn a_line_has_parts() {
        assert_eq!(
            seen("%train 5 lr=1e-4 # go"),
            [("train", Part::Verb), ("lr=", Part::Key), ("1e-4", Part::Value), ("# go", Part::Comment)]
        );
        assert_eq!(
            seen("load 'a b' dtyp=auto"),
            [("load", Part::Verb), ("'a b'", Part::Quoted), ("dtyp=", Part::UnknownKey), ("auto", Part::Value)]
        );
        assert_eq!(seen("trian"), [("trian", Part::UnknownVerb)]);
        assert_eq!(
            seen("lr=1e-4 bath=2"),
            [("lr=", Part::Key), ("1e-4", Part::Value), ("bath=", Part::UnknownKey), ("2", Part::Value)]
        );
        assert_eq!(seen("set --seed 7"), [("set", Part::Verb), ("--seed", Part::Key), ("7", Part::Value)]);
    }

    #[test]
    fn lines_that_are_no_commands_of_ours_have_parts_too() {
        assert_eq!(seen("!ls trian # it's"), [("!", Part::Verb)]);
        assert_eq!(seen("train?"), [("train", Part::Verb)]);
        assert_eq!(seen("?%lr"), [("lr", Part::Verb)]);
        assert_eq!(seen("trian??"), [("trian", Part::UnknownVerb)]);
        assert_eq!(
            seen("%time train lr=1"),
            [("time", Part::Verb), ("train", Part::Verb), ("lr=", Part::Key), ("1", Part::Value)]
        );
        assert_eq!(
            seen("%%time\nset lr=1 # a\n!ls\ntrian"),
            [
                ("time", Part::Verb),
                ("set", Part::Verb),
                ("lr=", Part::Key),
                ("1", Part::Value),
                ("# a", Part::Comment),
                ("!", Part::Verb),
                ("trian", Part::UnknownVerb),
            ]
        );
        assert_eq!(seen("%%time\n%%rust\nlet x = 1;\nfn"), [("time", Part::Verb), ("rust", Part::Verb)]);
    }

    #[test]
    fn a_text_has_none() {
        assert_eq!(
            seen("chat image=a.png it's x=3 # really"),
            [("chat", Part::Verb), ("image=", Part::Key), ("a.png", Part::Value)]
        );
    }
}
