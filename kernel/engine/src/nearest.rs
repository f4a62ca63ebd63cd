//! Which name a misspelt one most likely means.

/// The name nearest to `word` by Damerau-Levenshtein distance, if it is near enough to be meant; one that begins with
/// `word` is always near enough.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let most = 1 + length / 3;
    let distance = |name: &str| match !word.is_empty() && name.starts_with(&word) {
        true => 0,
        // It is no less than the difference of lengths, and takes minutes where somebody has pasted a file.
        false if name.chars().count().abs_diff(length) > most => usize::MAX,
        false => strsim::damerau_levenshtein(&word, name),
    };
    let (distance, name) = names.into_iter().map(|name| (distance(name), name)).min()?;
    (distance <= most).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let names = ["learning_rate", "lora_rank", "seed"];
        assert_eq!(nearest("learning_rte", names).as_deref(), Some("learning_rate"));
        assert_eq!(nearest("Seed", names).as_deref(), Some("seed"));
        assert_eq!(nearest("learn", names).as_deref(), Some("learning_rate"));
        assert_eq!(nearest("temperature", names), None);
        assert_eq!(nearest(&"seed".repeat(1_000_000), names), None);
    }
}
