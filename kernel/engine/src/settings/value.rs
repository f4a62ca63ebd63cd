//! How the type of a setting is read and written.

use std::path::PathBuf;

use tunebook_data::Template;
use tunebook_nn::adapter::LoraTarget;

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    Integer,
    Number,
    Text,
    /// Names between commas.
    List,
    /// Numbers between commas.
    Numbers,
    Path,
    /// Values by names, as `a:1,b:2`.
    Mapping,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, between commas.
    Choices(&'static [&'static str]),
}

/// Values by names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping(pub serde_json::Map<String, serde_json::Value>);

/// A type that a setting can have.
pub trait Value: Sized {
    const KIND: Kind;
    /// `none` is a value.
    const OPTIONAL: bool = false;

    fn parse(text: &str) -> Option<Self>;

    /// As `parse` reads it.
    fn show(&self) -> String;

    /// What limits compare.
    fn number(&self) -> Option<f64> {
        None
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Bool;

    fn parse(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for usize {
    const KIND: Kind = Kind::Integer;

    /// A product such as `768*768` is a number too.
    fn parse(text: &str) -> Option<Self> {
        text.split('*').try_fold(1usize, |product, factor| product.checked_mul(factor.trim().parse().ok()?))
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn number(&self) -> Option<f64> {
        Some(*self as f64)
    }
}

impl Value for u64 {
    const KIND: Kind = Kind::Integer;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for i64 {
    const KIND: Kind = Kind::Integer;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn number(&self) -> Option<f64> {
        Some(*self as f64)
    }
}

/// A number as it is set.
pub fn shown(number: f64) -> String {
    // Beyond 2^53 not every whole number can be told from its neighbours.
    match number.abs() {
        0.0 | 1e-3..9e15 => number.to_string(),
        _ => format!("{number:e}"),
    }
}

impl Value for f64 {
    const KIND: Kind = Kind::Number;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }

    fn show(&self) -> String {
        shown(*self)
    }

    fn number(&self) -> Option<f64> {
        Some(*self)
    }
}

impl Value for String {
    const KIND: Kind = Kind::Text;

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_string())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

/// A text that may be empty; `""` is a way to write that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyText(pub String);

impl Value for AnyText {
    const KIND: Kind = Kind::Text;

    fn parse(text: &str) -> Option<Self> {
        Some(Self(if text == EMPTY { String::new() } else { text.to_string() }))
    }

    fn show(&self) -> String {
        if self.0.is_empty() { EMPTY.to_string() } else { self.0.clone() }
    }
}

/// An empty text where a value is shown.
const EMPTY: &str = "\"\"";

/// Bytes that no path of any system is longer than.
pub(crate) const LONGEST_PATH: usize = 4096;

impl Value for PathBuf {
    const KIND: Kind = Kind::Path;

    fn parse(text: &str) -> Option<Self> {
        (1..=LONGEST_PATH).contains(&text.len()).then(|| Self::from(text))
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for Vec<String> {
    const KIND: Kind = Kind::List;
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Option<Self> {
        let names = text.split(',').map(str::trim).filter(|name| !matches!(*name, "" | "none"));
        Some(names.map(str::to_string).collect())
    }

    fn show(&self) -> String {
        if self.is_empty() { "none".to_string() } else { self.join(",") }
    }
}

impl Value for Vec<f64> {
    const KIND: Kind = Kind::Numbers;

    fn parse(text: &str) -> Option<Self> {
        text.split(',').map(|number| f64::parse(number.trim())).collect()
    }

    fn show(&self) -> String {
        self.iter().map(f64::show).collect::<Vec<_>>().join(",")
    }
}

impl Mapping {
    /// `a:1,b:word`, or the same as JSON.
    pub fn parse(text: &str) -> Option<Self> {
        if text.trim_start().starts_with('{') {
            return serde_json::from_str(text).ok().map(Self);
        }
        let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| text.into());
        let pair = |pair: &str| pair.split_once(':').map(|(k, v)| (k.trim().to_string(), value(v.trim())));
        let pairs = text.split(',').map(str::trim).filter(|pair| !matches!(*pair, "" | "none" | "null"));
        pairs.map(pair).collect::<Option<_>>().map(Self)
    }
}

impl Value for Mapping {
    const KIND: Kind = Kind::Mapping;
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn show(&self) -> String {
        let value = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        let pairs: Vec<_> = self.0.iter().map(|(key, v)| format!("{key}:{}", value(v))).collect();
        if pairs.is_empty() { "none".to_string() } else { pairs.join(",") }
    }
}

impl Value for LoraTarget {
    const KIND: Kind = Kind::List;

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for &'static Template {
    const KIND: Kind = Kind::Choice(Template::NAMES);

    fn parse(text: &str) -> Option<Self> {
        Template::by_name(text)
    }

    fn show(&self) -> String {
        self.name.to_string()
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "none" | "null" => Some(None),
            // Nothing is a value only where a text may be empty.
            "" => Some(T::parse("")),
            _ => T::parse(text).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_string(), T::show)
    }

    fn number(&self) -> Option<f64> {
        self.as_ref().and_then(T::number)
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    #[test]
    fn a_text_may_be_empty_where_that_means_something() {
        let mut settings = Settings::default();
        for (value, expected) in [("", Some("")), ("\"\"", Some("")), ("none", None), ("Be brief.", Some("Be brief."))]
        {
            settings.set("system", value).unwrap();
            assert_eq!(settings.default_system.as_ref().map(|system| system.0.as_str()), expected, "{value}");
            let mut again = Settings::default();
            again.set("default_system", &settings.get("default_system").unwrap()).unwrap();
            assert_eq!(again, settings);
        }
    }
}
