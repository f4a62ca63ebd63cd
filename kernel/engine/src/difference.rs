//! What is not as it was when a checkpoint was written: facts, which `tunebook-commands` has the words for.

/// A setting whose value changed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[error("{key}={then} then and {now} now")]
pub struct SettingDifference {
    pub key: String,
    pub then: String,
    pub now: String,
}

/// How the loaded model differs from that of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelDifference {
    #[error("parameters {then} then and {now} now")]
    Parameters { then: usize, now: usize },
    /// How products are formed.
    #[error("products in {then} then and {now} now")]
    Dtype { then: String, now: String },
    /// The bits of the linear layers' weights, if they are quantized.
    #[error("linear layers in {} then and {} now", bits(then), bits(now))]
    Quantization { then: Option<String>, now: Option<String> },
    /// The hash of the weights.
    #[error("the hash of its weights {then} then and {now} now")]
    Weights { then: String, now: String },
}

/// How the chosen data differs from that of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataDifference {
    /// The names of the data sets.
    #[error("{} then and {} now", then.join(","), now.join(","))]
    Names { then: Vec<String>, now: Vec<String> },
    #[error("{then} then and {now} now")]
    Samples { then: SampleCounts, now: SampleCounts },
    /// One by which samples are read and encoded.
    #[error(transparent)]
    Setting(SettingDifference),
    /// Samples of these data sets are others, though all else is the same.
    #[error("the {} of {} have changed", if *held_out { "held-out samples" } else { "samples" }, names.join(","))]
    Contents { names: Vec<String>, held_out: bool },
}

/// How many samples there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{train} to train and {eval} to evaluate on")]
pub struct SampleCounts {
    pub train: usize,
    pub eval: usize,
}

/// The facts one after the other.
pub(crate) fn list<T: std::fmt::Display>(differences: &[T]) -> String {
    differences.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn bits(bits: &Option<String>) -> String {
    bits.as_ref().map_or_else(|| "no quantization".to_string(), |bits| format!("{bits} bits"))
}
