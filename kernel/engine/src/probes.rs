//! Questions that a training asks itself, and how their answers change.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::serialize;

/// A question whose answer one wants to see change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub question: String,
    /// Its pictures, in front of the text if it holds no `<image>`.
    #[serde(serialize_with = "serialize::paths")]
    pub images: Vec<PathBuf>,
}

/// The answers to all probes after a step of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// 0 is before the first one.
    pub step: usize,
    pub total_steps: usize,
    /// How long all answers took together.
    pub seconds: f64,
    pub answers: Vec<ProbeAnswer>,
}

/// The answer to one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// The probe's number at that time, from 1 on.
    pub number: usize,
    pub probe: Probe,
    pub text: String,
    /// The answer of the time before; none if there was none.
    pub before: Option<String>,
    pub new_tokens: usize,
}

/// The probes that were given, and behind them those that were answered and are not among them any more.
pub fn known<'a>(given: &'a [Probe], records: &'a [ProbeRecord]) -> Vec<&'a Probe> {
    let mut known: Vec<&Probe> = given.iter().collect();
    for answer in records.iter().flat_map(|record| &record.answers) {
        if !known.contains(&&answer.probe) {
            known.push(&answer.probe);
        }
    }
    known
}
