//! Values for some of an adapter's layers only: PEFT's `rank_pattern` and `alpha_pattern`.

use std::fmt;

use fancy_regex::Regex;

/// A value for the layers that a pattern names, pattern by pattern. The first that names a layer counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Patterns<T>(Vec<(Pattern, T)>);

/// A regular expression for the end of a layer's name, from a dot on.
#[derive(Clone)]
struct Pattern {
    text: String,
    regex: Regex,
}

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Patterns<T> {
    /// Adds a pattern behind the others.
    ///
    /// # Errors
    /// It is no regular expression: says what is wrong with it.
    pub fn push(&mut self, text: &str, value: T) -> Result<(), String> {
        let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{text})$")).map_err(|error| error.to_string())?;
        self.0.push((Pattern { text: text.to_string(), regex }, value));
        Ok(())
    }

    /// The value for a layer, by any of the names that it has had.
    pub fn get(&self, names: &[&str]) -> Option<T> {
        // An expression that takes too long to match names nothing.
        let named = |pattern: &Pattern| names.iter().any(|name| pattern.regex.is_match(name).unwrap_or(false));
        self.0.iter().find(|(pattern, _)| named(pattern)).map(|(_, value)| *value)
    }

    /// The patterns as they were written, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, T)> {
        self.0.iter().map(|(pattern, value)| (pattern.text.as_str(), *value))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_names_a_layer_counts() {
        let mut patterns = Patterns::default();
        for (text, value) in [("layers.1.self_attn.q_proj", 4), (r"layers\.[12]\..*", 1), ("q_proj|v_proj", 7)] {
            patterns.push(text, value).unwrap();
        }
        let of = |layer: &str| patterns.get(&[&format!("model.language_model.layers.{layer}")]);
        assert_eq!(of("1.self_attn.q_proj"), Some(4));
        assert_eq!(of("2.self_attn.q_proj"), Some(1));
        assert_eq!(of("0.self_attn.v_proj"), Some(7));
        assert_eq!(of("0.self_attn.o_proj"), None);
        assert_eq!(of("0.self_attn.xq_proj"), None, "a name begins after a dot");
        assert_eq!(patterns.iter().map(|(text, _)| text).last(), Some("q_proj|v_proj"));
        assert!(patterns.push("layers.(1", 2).is_err());
    }
}
