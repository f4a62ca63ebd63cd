//! How much memory a training step takes, and how much of it may be spent on speed.

use tunebook_nn::ops::head_chunk;
use tunebook_nn::qwen2_5_vl::Qwen2_5Vl;

use crate::advice::Remedies;
use crate::error::Error;
use crate::error::Result;

/// What a step takes, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct StepMemory {
    /// The weights of the language model. Those of the vision tower are not needed any more where a step takes most.
    weights: u64,
    /// The adapter with its gradients and the optimizer's two moments, the layers' inputs, and what one layer and a
    /// chunk of the head need while they are computed.
    needed: u64,
    /// The inner values of one layer, if they are kept from the forward to the backward pass.
    a_layer: u64,
    layers: usize,
}

/// The program itself with the tokenizer's tables.
const PROGRAM: u64 = 90 << 20;

impl StepMemory {
    /// For a micro-batch of `tokens`, of which `labels` are learned, and an adapter of `trainable` parameters.
    pub fn new(net: &Qwen2_5Vl, trainable: usize, tokens: usize, labels: usize) -> Self {
        let text = &net.config.text;
        let f32s = |values: usize| (values * size_of::<f32>()) as u64;
        let kv = text.num_key_value_heads * text.head_dim();
        let inner = tokens * (3 * text.hidden_size + 2 * kv + 2 * text.intermediate_size);
        let inputs = tokens * text.hidden_size * text.num_hidden_layers;
        // The layer at hand: its inner values, four gradients of the feed-forward width, ten of the hidden width.
        let working = inner + tokens * (4 * text.intermediate_size + 10 * text.hidden_size);
        let logits = labels.min(head_chunk(text.vocab_size)) * text.vocab_size;
        Self {
            weights: net.text.size() as u64,
            needed: PROGRAM + f32s(4 * trainable + inputs + working.max(logits)),
            a_layer: f32s(inner).max(1),
            layers: text.num_hidden_layers,
        }
    }

    /// Bytes that cannot be had again from the disk: all but the weights.
    pub fn working(&self) -> u64 {
        self.needed
    }

    /// Bytes for the whole process if no layer keeps its inner values.
    pub fn least(&self) -> u64 {
        self.weights + self.needed
    }

    /// Bytes if all do.
    pub fn most(&self) -> u64 {
        self.least() + self.layers as u64 * self.a_layer
    }

    /// How many of the last layers keep their inner values; the others make them again in the backward pass, which
    /// costs up to a third of the step. As many as fit into `limit` GB for the whole process, or, without a limit,
    /// into half of what is free beside the model's weights.
    ///
    /// # Errors
    /// The step does not fit into `limit` even if no layer keeps anything.
    pub fn kept_layers(&self, limit: Option<f64>) -> Result<usize> {
        let room = match limit {
            Some(gigabytes) => {
                let limit = (gigabytes * 1e9) as u64;
                let least = self.least();
                limit.checked_sub(least).ok_or_else(|| Error::Memory {
                    limit: gigabytes,
                    least: least as f64 / 1e9,
                    remedies: Remedies::default(),
                })?
            }
            // Where the system does not tell its free memory, nothing is risked.
            None => (available_bytes().unwrap_or(0).saturating_sub(self.weights) / 2).saturating_sub(self.needed),
        };
        Ok(self.layers.min((room / self.a_layer) as usize))
    }
}

/// Memory that can be had without swapping.
pub fn available_bytes() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// Resident memory of this process.
pub fn resident_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// Memory that this process could have without swapping: what is free, and what it has itself beside files.
pub fn free_for_us() -> Option<u64> {
    Some(available_bytes()? + kilobytes("/proc/self/status", "RssAnon:").unwrap_or(0))
}

/// What of this process lies in the swap file.
pub fn swapped_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmSwap:")
}

/// What this process has read from the disk so far, mapped files included.
pub fn read_bytes() -> Option<u64> {
    number("/proc/self/io", "read_bytes:")
}

/// A line such as `VmRSS:  1234 kB` of a file of Linux's, in bytes.
fn kilobytes(file: &str, key: &str) -> Option<u64> {
    number(file, key).map(|kilobytes| kilobytes * 1024)
}

fn number(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: StepMemory =
        StepMemory { weights: 1_000_000_000, needed: 500_000_000, a_layer: 100_000_000, layers: 8 };

    #[test]
    fn a_limit_is_spent_on_layers_and_not_more() {
        assert_eq!(STEP.kept_layers(Some(1.5)).unwrap(), 0);
        assert_eq!(STEP.kept_layers(Some(1.85)).unwrap(), 3);
        assert_eq!(STEP.kept_layers(Some(100.0)).unwrap(), 8);
    }

    #[test]
    fn a_limit_that_cannot_be_kept_names_what_it_would_take() {
        let message = STEP.kept_layers(Some(1.2)).unwrap_err().to_string();
        assert!(message.contains("memory=1.2") && message.contains("1.5 GB"), "{message}");
    }
}
