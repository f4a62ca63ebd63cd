//! What an objective measures in a training step.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

/// The numbers that an objective reports of some samples, by name. `loss` is always among them: it is what training
/// minimizes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct StepMetrics(BTreeMap<String, f64>);

/// The metric that every objective has.
const LOSS: &str = "loss";

impl StepMetrics {
    pub fn of_loss(loss: f64) -> Self {
        Self(BTreeMap::from([(LOSS.to_string(), loss)]))
    }

    /// NaN in what was read from a file without it.
    pub fn loss(&self) -> f64 {
        self.get(LOSS).unwrap_or(f64::NAN)
    }

    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// By their names, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// The sums of both.
    pub fn plus(mut self, other: &Self) -> Self {
        other.0.iter().for_each(|(name, value)| *self.0.entry(name.clone()).or_default() += value);
        self
    }

    /// Each divided by `count`: what is left of a sum over so many micro-batches is their mean.
    pub fn divided_by(&self, count: usize) -> Self {
        Self(self.0.iter().map(|(name, value)| (name.clone(), value / count as f64)).collect())
    }

    /// The mean of each metric; none without any.
    pub fn mean<'a>(all: impl ExactSizeIterator<Item = &'a Self>) -> Option<Self> {
        let count = all.len();
        let mut all = all.cloned();
        let first = all.next()?;
        Some(all.fold(first, |total, next| total.plus(&next)).divided_by(count))
    }
}

/// JSON has no NaN and no infinity, and `null` in their place.
impl<'de> Deserialize<'de> for StepMetrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values: BTreeMap<String, Option<f64>> = BTreeMap::deserialize(deserializer)?;
        Ok(Self(values.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(values: &[(&str, f64)]) -> StepMetrics {
        StepMetrics(values.iter().map(|&(name, value)| (name.to_string(), value)).collect())
    }

    #[test]
    fn the_mean_is_that_of_each_metric() {
        let all = [metrics(&[("loss", 1.0), ("accuracy", 0.5)]), metrics(&[("loss", 2.0), ("accuracy", 0.0)])];
        assert_eq!(StepMetrics::mean(all.iter()), Some(metrics(&[("loss", 1.5), ("accuracy", 0.25)])));
        assert_eq!(StepMetrics::mean([].iter()), None);
    }

    #[test]
    fn what_is_no_number_comes_back_from_json() {
        let written = serde_json::to_string(&metrics(&[("loss", f64::NAN), ("accuracy", 0.1)])).unwrap();
        let read: StepMetrics = serde_json::from_str(&written).unwrap();
        assert!(read.loss().is_nan());
        assert_eq!(read.get("accuracy"), Some(0.1));
    }
}
