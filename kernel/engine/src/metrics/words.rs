//! Words and sentences of a text, as LLaMA-Factory's scores count them.

use std::sync::LazyLock;

use jieba_rs::Jieba;
use regex::Regex;

/// Read at the first use, which takes some tenths of a second.
static JIEBA: LazyLock<Jieba> = LazyLock::new(Jieba::new);

/// A run that Python's jieba looks for words in; every other character is a word of its own.
static BLOCK: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[\u{4E00}-\u{9FD5}a-zA-Z0-9+#&._%-]+|\r\n").ok());
/// A Latin word or a number in text that is not Chinese.
static LATIN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[a-zA-Z0-9]+(?:\.\d+)?%?").ok());

/// Where rouge-chinese ends a sentence: behind its punctuation, and behind the quote that follows it.
static ENDS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [r"([。！？?])([^”’])", r"(\.{6})([^”’])", r"(…{2})([^”’])", r"([。！？?][”’])([^，。！？?])"];
    patterns.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
});

/// The words of `text` in the accurate mode of Python's jieba, with its hidden Markov model for words that the
/// dictionary lacks. White space and punctuation are words too.
///
/// The crate of that name differs in two things, which are put right here: it also takes rare ideographs for Chinese,
/// and it keeps together what a dot, a hyphen or an underscore joins (`a_b-c`, `2.5.1`).
pub(super) fn cut(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (piece, is_block) in pieces(text, &BLOCK) {
        match is_block && piece != "\r\n" {
            true => JIEBA.cut(piece, true).iter().for_each(|token| push_known(&mut words, token.word)),
            false if is_block => words.push(piece.to_string()),
            false => words.extend(piece.chars().map(String::from)),
        }
    }
    words
}

/// A word of the crate's as Python has it.
fn push_known(words: &mut Vec<String>, word: &str) {
    let joined = word.is_ascii() && word.contains(['.', '-', '_']) && !JIEBA.has_word(word);
    match joined {
        true => words.extend(pieces(word, &LATIN).map(|(piece, _)| piece.to_string())),
        false => words.push(word.to_string()),
    }
}

/// The matches of `pattern` (true) and what is between them (false), in order, none of them empty.
fn pieces<'a>(text: &'a str, pattern: &'a Option<Regex>) -> impl Iterator<Item = (&'a str, bool)> {
    let matches = pattern.iter().flat_map(move |pattern| pattern.find_iter(text).map(|found| found.range()));
    let mut end = 0;
    let both = matches.chain(std::iter::once(text.len()..text.len())).flat_map(move |range| {
        let between = &text[std::mem::replace(&mut end, range.end)..range.start];
        [(between, false), (&text[range], true)]
    });
    both.filter(|(piece, _)| !piece.is_empty())
}

/// The words again, as they come out of sentences: joined by spaces, cut into sentences, and split at the spaces. White
/// space is gone by that, but a sentence of white space alone leaves an empty word.
pub(super) fn of_sentences(words: &[String]) -> Vec<String> {
    let mut text = words.join(" ");
    for end in ENDS.iter() {
        text = end.replace_all(&text, "${1}\n${2}").into_owned();
    }
    let sentences = text.trim_end().split('\n').filter(|sentence| !sentence.is_empty());
    let words = sentences.map(|sentence| sentence.split_whitespace().collect::<Vec<_>>());
    words.flat_map(|words| if words.is_empty() { vec![""] } else { words }).map(str::to_string).collect()
}
