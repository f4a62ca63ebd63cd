//! How much memory a training step takes, and how much of it may be spent on speed.
//!
//! Activation checkpointing has two stages here. If memory is short, layers and the head first give the pages of their
//! memory-mapped weights back after each use. That is cheap to undo: the weights of a layer are mapped again in one
//! call before its next use, which is faster than page by page, and lets them be fetched ahead. If that is not enough,
//! only the last layers keep their activations from the forward to the backward pass, and the others recompute them
//! from their input.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::layers::CheckpointPlan;
use tunebook_nn::ops::head_chunk;

use crate::advice::Remedies;
use crate::cgroup;
use crate::device;
use crate::error::Error;
use crate::error::Result;
use crate::system;

/// What a step takes, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepMemory {
    /// The weights of the language model. Those of the vision tower are not needed any more where a step takes most, but stay
    /// on a device.
    weights: u64,
    /// The adapter with its gradients and, unless a device computes, the optimizer's two moments, the layers' inputs, and
    /// what one layer and a chunk of the head need while they are computed.
    needed: u64,
    /// The activations of one layer, if it saves them for the backward pass.
    a_layer: u64,
    /// The weights of one layer, if they lie in a file that is mapped.
    layer_weights: u64,
    layers: usize,
    /// What is free of the memory of a device of its own, which has the weights already.
    free_on_device: Option<u64>,
}

/// What of an adapter its memory depends on; nothing without one.
#[derive(Clone, Copy, Default)]
pub(crate) struct Trainable {
    /// The numbers that train.
    parameters: usize,
    /// The ranks of all low-rank updates, summed.
    ranks: usize,
}

impl Trainable {
    pub(crate) fn of(adapter: &Adapter) -> Self {
        Self { parameters: adapter.parameter_count(), ranks: adapter.loras().map(|lora| lora.a.dims()[0]).sum() }
    }

    /// With low-rank updates of `rank` instead of `before`.
    pub(crate) fn of_rank(self, rank: usize, before: usize) -> Self {
        let scaled = |values: usize| values * rank / before.max(1);
        Self { parameters: scaled(self.parameters), ranks: scaled(self.ranks) }
    }
}

/// The program itself with the tokenizer's tables.
const PROGRAM: u64 = 90 << 20;
/// The most tokens of several micro-batches that go through the model together. More would gain little, and a stop waits
/// for them.
const TOKENS_AT_ONCE: usize = 1024;

/// The most tokens of several micro-batches that go through the model together; 0 disables grouping, where some layers would
/// have to recompute their activations for so many. A training that has begun keeps its value of `before` as long as that
/// fits at all, because the order in which gradients are summed, and with it their bits, follows from it.
pub(crate) fn tokens_at_once(
    net: &VisionLanguageModel,
    trainable: Trainable,
    limit: Option<f64>,
    before: Option<usize>,
) -> usize {
    let memory = StepMemory::new(net, trainable, TOKENS_AT_ONCE, TOKENS_AT_ONCE);
    let plan = memory.plan(limit);
    let is_wanted = match before {
        Some(before) => before > 0 && memory.free().is_none_or(|free| limit.is_some() || memory.working() <= free),
        None => plan.as_ref().is_ok_and(|plan| plan.saved_layers == memory.layers),
    };
    if is_wanted && plan.is_ok() { TOKENS_AT_ONCE } else { 0 }
}

impl StepMemory {
    /// For a micro-batch of `tokens`, of which `labels` are learned.
    pub(crate) fn new(net: &VisionLanguageModel, trainable: Trainable, tokens: usize, labels: usize) -> Self {
        let Trainable { parameters, ranks } = trainable;
        let (text, layers) = (&net.text.config, net.text.layers.len());
        let f32s = |values: usize| (values * size_of::<f32>()) as u64;
        let of_a_layer = net.text.layers.first().map(|layer| [layer.saved_values(), layer.working_values()]);
        let [saved, beside] = of_a_layer.unwrap_or_default();
        // The h of each low-rank update is kept, too.
        let inner = tokens * (saved + ranks.div_ceil(layers.max(1)));
        let inputs = tokens * text.hidden_size * layers;
        let working = inner + tokens * beside;
        let logits = labels.min(head_chunk(text.vocab_size)) * text.vocab_size;
        let free_on_device = device::free_bytes(&net.device);
        let (copies, vision) = if free_on_device.is_some() { (2, net.vision_size()) } else { (4, 0) };
        Self {
            weights: (net.text.size() + vision) as u64,
            needed: PROGRAM + f32s(copies * parameters + inputs + working.max(logits)),
            a_layer: f32s(inner).max(1),
            layer_weights: net.text.layers.first().map_or(0, |layer| layer.releasable() as u64),
            layers,
            free_on_device,
        }
    }

    /// Bytes that can be had for [`StepMemory::working`].
    pub(crate) fn free(&self) -> Option<u64> {
        self.free_on_device.or_else(free_for_us)
    }

    /// Bytes that cannot be had again from the disk: all but the weights.
    pub(crate) fn working(&self) -> u64 {
        self.needed
    }

    /// Bytes for the whole process if every layer recomputes its activations.
    pub(crate) fn least(&self) -> u64 {
        self.weights + self.needed
    }

    /// Bytes if all layers save theirs.
    pub(crate) fn most(&self) -> u64 {
        self.least() + self.layers as u64 * self.a_layer
    }

    /// Has as many layers save their activations as fit into `limit` GB for the whole process, and evicts weights before
    /// a layer has to recompute. Without a limit, the room is half of the free memory beside the model's weights, which are
    /// all evicted, or the memory of a device of its own.
    ///
    /// # Errors
    /// The step does not fit into `limit` even if every layer recomputes.
    pub(crate) fn plan(&self, limit: Option<f64>) -> Result<CheckpointPlan> {
        let fitting = |room: u64| self.layers.min((room / self.a_layer) as usize);
        let Some(gigabytes) = limit else {
            if let Some(free) = self.free_on_device {
                // A tenth is left to what candle's own operations need in between.
                let room = (free - free / 10).saturating_sub(self.needed);
                return Ok(CheckpointPlan { saved_layers: fitting(room), evicted_layers: 0 });
            }
            // Where the system does not tell its free memory, nothing is risked.
            let room = (available_bytes().unwrap_or(0).saturating_sub(self.weights) / 2).saturating_sub(self.needed);
            return Ok(CheckpointPlan { saved_layers: fitting(room), evicted_layers: self.layers });
        };
        let least = self.least();
        let room = ((gigabytes * 1e9) as u64).checked_sub(least).ok_or_else(|| Error::Memory {
            limit: gigabytes,
            least: least as f64 / 1e9,
            remedies: Remedies::default(),
        })?;
        let missing = (self.layers as u64 * self.a_layer).saturating_sub(room);
        let evicted_layers = match self.layer_weights {
            0 => 0,
            each => self.layers.min(missing.div_ceil(each) as usize),
        };
        Ok(CheckpointPlan { saved_layers: fitting(room + evicted_layers as u64 * self.layer_weights), evicted_layers })
    }
}

/// Processes that share this machine's memory with this one, itself counted.
static SHARES: AtomicU64 = AtomicU64::new(1);

/// Leaves to others what is theirs, where so many processes like this one run on this machine.
pub(crate) fn share_with(processes: usize) {
    SHARES.store(processes.max(1) as u64, Ordering::Relaxed);
}

/// What of a host's memory is for this process.
pub(crate) fn own_part(of_host: f64) -> f64 {
    of_host / SHARES.load(Ordering::Relaxed) as f64
}

/// Memory that can be had without swapping, and without reaching the limit of a container.
pub(crate) fn available_bytes() -> Option<u64> {
    let machine = system::available_memory()?;
    let free = cgroup::available_bytes().map_or(machine, |container| container.min(machine));
    Some(free / SHARES.load(Ordering::Relaxed))
}

/// Memory that this process could have without swapping: what is free, and what it has itself beside files.
fn free_for_us() -> Option<u64> {
    Some(available_bytes()? + system::resident_beside_files().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: StepMemory = StepMemory {
        weights: 1_000_000_000,
        needed: 500_000_000,
        a_layer: 100_000_000,
        layer_weights: 0,
        layers: 8,
        free_on_device: None,
    };

    fn layers(step: StepMemory, limit: f64) -> [usize; 2] {
        let CheckpointPlan { saved_layers, evicted_layers } = step.plan(Some(limit)).unwrap();
        [saved_layers, evicted_layers]
    }

    #[test]
    fn a_limit_is_spent_on_layers_and_not_more() {
        assert_eq!(layers(STEP, 1.5), [0, 0]);
        assert_eq!(layers(STEP, 1.85), [3, 0]);
        assert_eq!(layers(STEP, 100.0), [8, 0]);
    }

    #[test]
    fn weights_are_given_back_before_layers_are_made_again() {
        let mapped = StepMemory { layer_weights: 60_000_000, ..STEP };
        assert_eq!(layers(mapped, 2.3), [8, 0]);
        assert_eq!(layers(mapped, 2.15), [8, 3]);
        assert_eq!(layers(mapped, 1.5), [4, 8]);
    }

    #[test]
    fn a_limit_that_cannot_be_kept_names_what_it_would_take() {
        let message = STEP.plan(Some(1.2)).unwrap_err().to_string();
        assert!(message.contains("memory=1.2") && message.contains("1.5 GB"), "{message}");
    }
}
