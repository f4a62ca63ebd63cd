//! How the type of a setting is read and written.

use std::path::PathBuf;

use tunebook_nn::adapter::LoraTarget;

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    Whole,
    Number,
    Text,
    /// Names between commas.
    List,
    /// Numbers between commas.
    Numbers,
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
}

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
    const KIND: Kind = Kind::Switch;

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
    const KIND: Kind = Kind::Whole;

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
    const KIND: Kind = Kind::Whole;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for i64 {
    const KIND: Kind = Kind::Whole;

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

impl Value for f64 {
    const KIND: Kind = Kind::Number;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }

    fn show(&self) -> String {
        match *self != 0.0 && self.abs() < 1e-3 {
            true => format!("{self:e}"),
            false => self.to_string(),
        }
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

impl Value for PathBuf {
    const KIND: Kind = Kind::Path;

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
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

impl Value for LoraTarget {
    const KIND: Kind = Kind::List;

    fn parse(text: &str) -> Option<Self> {
        Some(Self::parse(text))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;
    const OPTIONAL: bool = true;

    fn parse(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "" | "none" | "null" => Some(None),
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
