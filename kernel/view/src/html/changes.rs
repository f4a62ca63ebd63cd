//! Words of a text that another one has not.

use tunebook_commands::changed_words;

use super::escape::escape;

/// `text` with the words marked that `other` does not have in their place.
pub(super) fn changes(other: &str, text: &str) -> String {
    changed_words(other.trim_end(), text.trim_end()).into_iter().map(|(is_new, word)| marked(is_new, word)).collect()
}

fn marked(is_new: bool, word: &str) -> String {
    if is_new && !word.trim().is_empty() { format!("<mark>{}</mark>", escape(word)) } else { escape(word) }
}
