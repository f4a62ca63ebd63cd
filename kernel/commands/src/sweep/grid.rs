//! The settings that a sweep tries.

use std::fmt;

use serde::Serialize;
use tunebook_engine::Session;
use tunebook_engine::settings::Declaration;
use tunebook_engine::settings::Group;
use tunebook_engine::settings::declaration;

use crate::error::Result;

/// Settings with the values that each is to have.
pub(crate) struct Grid(Vec<(&'static Declaration, Vec<String>)>);

/// A value of each of several settings, by their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Combination(Vec<(&'static str, String)>);

impl Grid {
    /// Of settings whose values stand between commas; where values have commas themselves, between semicolons.
    ///
    /// # Errors
    /// An unknown setting.
    pub(crate) fn parse(given: &[(&'static str, String)]) -> Result<Self> {
        let values = |text: &str| -> Vec<String> {
            let comma = if text.contains(';') { ';' } else { ',' };
            text.split(comma).map(|value| value.trim().to_string()).filter(|value| !value.is_empty()).collect()
        };
        let settings = given.iter().map(|(key, text)| Ok((declaration(key)?, values(text))));
        Ok(Self(settings.collect::<Result<_>>()?))
    }

    /// Whether what is tried shapes the adapter, so that each trial needs a new one.
    pub(crate) fn makes_adapters(&self) -> bool {
        self.0.iter().any(|(setting, _)| matches!(setting.group, Group::Lora | Group::Method))
    }

    /// Every combination; the values of the last setting change fastest.
    pub(crate) fn combinations(&self) -> Vec<Combination> {
        let mut all = vec![Combination(Vec::new())];
        for (setting, values) in &self.0 {
            let with = |Combination(before): &Combination| {
                let with = |value: &String| Combination([&before[..], &[(setting.name, value.clone())]].concat());
                values.iter().map(with).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(with).collect();
        }
        all
    }
}

impl Combination {
    /// Settings with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(key, value)| (*key, value.as_str()))
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let pairs: Vec<_> = self.iter().map(|(key, value)| format!("{key}={value}")).collect();
        f.write_str(&pairs.join(" "))
    }
}

/// A name for the adapter of a trial that none has yet, such as `lr-1e-4-rank-8`.
pub(super) fn free_name(combination: &Combination, session: &Session) -> String {
    let short = |(key, value): (&str, &str)| {
        let aliases = declaration(key).map(|setting| setting.aliases).unwrap_or_default();
        let value: String =
            value.chars().map(|c| if c.is_alphanumeric() || c == '.' || c == '-' { c } else { '_' }).collect();
        format!("{}-{value}", aliases.first().unwrap_or(&key))
    };
    unused(combination.iter().map(short).collect::<Vec<_>>().join("-"), session)
}

/// The name, or where an adapter has it, `NAME-2` and so on.
pub(super) fn unused(name: String, session: &Session) -> String {
    let taken: Vec<_> = session.adapters().into_iter().map(|adapter| adapter.name).collect();
    let names = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}-{n}")));
    names.into_iter().find(|name| !taken.contains(name)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(given: &[(&'static str, &str)]) -> Grid {
        let given: Vec<_> = given.iter().map(|(key, text)| (*key, text.to_string())).collect();
        Grid::parse(&given).unwrap()
    }

    #[test]
    fn every_combination_is_tried() {
        let grid = grid(&[("learning_rate", "1e-5, 1e-4"), ("lora_rank", "8,64")]);
        let all: Vec<_> = grid.combinations().iter().map(Combination::to_string).collect();
        assert_eq!(
            all,
            [
                "learning_rate=1e-5 lora_rank=8",
                "learning_rate=1e-5 lora_rank=64",
                "learning_rate=1e-4 lora_rank=8",
                "learning_rate=1e-4 lora_rank=64"
            ]
        );
        assert!(grid.makes_adapters());
        assert_eq!(free_name(&grid.combinations()[1], &Session::default()), "lr-1e-5-rank-64");
    }

    #[test]
    fn values_with_commas_stand_between_semicolons() {
        let grid = grid(&[("lora_target", "q_proj,v_proj;all")]);
        let all: Vec<_> = grid.combinations().iter().map(Combination::to_string).collect();
        assert_eq!(all, ["lora_target=q_proj,v_proj", "lora_target=all"]);
        assert_eq!(free_name(&grid.combinations()[0], &Session::default()), "target-q_proj_v_proj");
    }
}
