//! Which words of a text are others than before.

use similar::ChangeTag;
use similar::TextDiff;

/// The words of `after` and what stands between them, in order, each with whether `before` does not have it there.
pub fn changed_words<'a>(before: &str, after: &'a str) -> Vec<(bool, &'a str)> {
    let difference = TextDiff::from_unicode_words(before, after);
    let mut words = Vec::new();
    let mut at = 0;
    for change in difference.iter_all_changes().filter(|change| change.tag() != ChangeTag::Delete) {
        let end = at + change.value().len();
        words.push((change.tag() == ChangeTag::Insert, &after[at..end]));
        at = end;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_came_are_told_from_those_that_stayed() {
        let changed = |before: &str, after: &str| -> Vec<String> {
            let words = changed_words(before, after);
            assert_eq!(words.iter().map(|(_, word)| *word).collect::<String>(), after);
            words.into_iter().filter(|(changed, _)| *changed).map(|(_, word)| word.to_string()).collect()
        };
        assert_eq!(changed("a small yellow animal.", "a yellow Pikachu."), ["Pikachu"]);
        assert_eq!(changed("这是一只黄色的动物。", "这是一只黄色的皮卡丘。"), ["皮", "卡", "丘"]);
        assert!(changed("same", "same").is_empty() && changed("something", "").is_empty());
    }
}
