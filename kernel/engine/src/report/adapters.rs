//! Adapters, and what they consist of.

use serde::Serialize;

/// An adapter of the session.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterReport {
    pub name: String,
    pub active: bool,
    /// Its LoRA configuration; none for copies of the model's own weights.
    pub lora: Option<LoraReport>,
    pub trainable_parameters: usize,
    pub all_parameters: usize,
    pub step: usize,
    /// The adapter that it was branched from, and at which step.
    pub parent: Option<Parent>,
    /// After loading: the first tensor that holds NaN or infinity.
    pub not_finite: Option<String>,
}

/// Where an adapter was branched off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parent {
    pub adapter: String,
    /// Optimizer steps that both have in common.
    pub step: usize,
}

/// The configuration of a LoRA adapter.
#[derive(Clone, Debug, Serialize)]
pub struct LoraReport {
    /// LoRA, rsLoRA, DoRA or PiSSA.
    pub kind: &'static str,
    pub rank: usize,
    pub alpha: f64,
    pub dropout: f64,
    /// Number of layers that it changes.
    pub modules: usize,
}

/// A trained tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorReport {
    pub name: String,
    pub shape: Vec<usize>,
    /// In row-major order.
    pub values: Vec<f32>,
}
