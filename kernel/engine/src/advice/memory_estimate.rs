//! What the coming steps take of the memory, and what would make it less.

use std::fmt;

use serde::Serialize;
use tunebook_data::Encoded;
use tunebook_nn::VisionLanguageModel;

use crate::error::Error;
use crate::error::Result;
use crate::memory::StepMemory;
use crate::memory::Trainable;
use crate::settings::Settings;
use crate::training::TrainInputs;
use crate::training::grouping::Grouping;
use crate::training::grouping::MicroBatchGroup;

/// Micro-batches that are looked at in advance; a longer training repeats samples that were seen.
const LOOK_AHEAD: usize = 20_000;

/// What the largest of the coming groups takes: a micro-batch, or several that go through the model together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryEstimate {
    /// Its tokens.
    pub tokens: usize,
    /// GB for the whole process if every layer is computed twice.
    pub least: f64,
    /// GB if none is.
    pub most: f64,
    /// How many layers of how many keep what they computed, so that it need not be computed again.
    pub kept: usize,
    pub layers: usize,
    /// GB that `memory` allows.
    pub limit: Option<f64>,
    /// GB that the system can give to this process, what it has included; none where the system does not tell.
    pub free: Option<f64>,
    /// GB of weights, which are in `least`. What there is no room for is read from the disk again.
    pub weights: f64,
}

/// A setting that would make the training fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Remedy {
    pub setting: &'static str,
    pub value: usize,
    /// GB that it would take then.
    pub least: f64,
}

/// Settings that would each by itself make the training fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remedies(pub Vec<Remedy>);

impl fmt::Display for Remedies {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(
                "several of them together, such as per_device_train_batch_size, cutoff_len, image_max_pixels and \
                 lora_rank",
            );
        }
        let each = |remedy: &Remedy| format!("{}={} would need {:.1} GB", remedy.setting, remedy.value, remedy.least);
        f.write_str(&self.0.iter().map(each).collect::<Vec<_>>().join(", "))
    }
}

impl MemoryEstimate {
    /// Whether somebody who knows `self` learns nothing new from `other`: numbers as they are shown are the same, but
    /// for what is free, which changes all the time.
    pub fn is_like(&self, other: &Self) -> bool {
        let shown =
            |plan: &Self| [plan.least, plan.most, plan.limit.unwrap_or(0.0)].map(|gb| (10.0 * gb).round() as i64);
        shown(self) == shown(other)
    }

    /// Whether the weights do not all fit beside what a step needs.
    pub fn rereads(&self) -> bool {
        self.free.is_some_and(|free| free < self.least)
    }
}

/// What the largest of the groups takes that make up the next `count` micro-batches.
///
/// # Errors
/// It is more than `memory` allows, or more than can be had.
pub(super) fn memory_estimate(inputs: &TrainInputs, mut groups: Grouping, count: usize) -> Result<MemoryEstimate> {
    let TrainInputs { model, adapter, data, processor, settings, .. } = inputs;
    let sizes: Vec<_> = data.train.iter().map(|pack| Size::of(pack, inputs)).collect();
    let (mut largest, mut most, mut seen) = (Vec::new(), 0, 0);
    while seen < count.min(LOOK_AHEAD) {
        let MicroBatchGroup { micro_batches, .. } = groups.advance();
        seen += micro_batches.len();
        let group: Vec<_> = micro_batches.into_iter().flatten().map(|index| sizes[index]).collect();
        let tokens = group.iter().map(|size| size.tokens).sum();
        if tokens > most {
            (largest, most) = (group, tokens);
        }
    }
    let (net, trainable) = (&model.net, Trainable::of(adapter));
    let step = memory(net, trainable, &largest);
    let fewest_pixels = processor.min_pixels;
    let what_if = WhatIf { net, trainable, is_lora: adapter.config.is_some(), sizes, largest, fewest_pixels, settings };
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    let free = step.free();
    match (settings.memory, free) {
        (Some(limit), _) if gigabytes(step.least()) > limit => {
            let remedies = what_if.remedies(|step| gigabytes(step.least()) <= limit);
            return Err(Error::Memory { limit, least: gigabytes(step.least()), remedies });
        }
        (None, Some(free)) if step.working() > free => {
            let remedies = what_if.remedies(|step| step.working() <= free);
            let [needed, free] = [step.working(), free].map(gigabytes);
            return Err(Error::FreeMemory { needed, free, remedies });
        }
        _ => {}
    }
    Ok(MemoryEstimate {
        tokens: most,
        least: gigabytes(step.least()),
        most: gigabytes(step.most()),
        kept: step.plan(settings.memory)?.saved_layers,
        layers: net.text.layers.len(),
        limit: settings.memory,
        free: free.map(gigabytes),
        weights: gigabytes(net.text.size() as u64),
    })
}

/// What a sample, or a pack of them, takes.
#[derive(Clone, Copy)]
struct Size {
    tokens: usize,
    labels: usize,
    /// Of the tokens, those of pictures.
    pictures: usize,
}

impl Size {
    fn of(pack: &[Encoded], inputs: &TrainInputs) -> Self {
        let grids = pack.iter().flat_map(|sample| sample.grids());
        Self {
            tokens: pack.iter().map(|sample| sample.input_ids.len()).sum(),
            labels: pack.iter().map(|sample| sample.supervised_tokens()).sum(),
            pictures: grids.map(|grid| inputs.processor.tokens(grid)).sum(),
        }
    }

    /// A picture is never cut through.
    fn cut_to(self, cutoff_len: usize) -> Self {
        Self { tokens: self.tokens.min(cutoff_len.max(self.pictures)), ..self }
    }

    fn with_pictures(self, share: f64) -> Self {
        let pictures = (self.pictures as f64 * share).ceil() as usize;
        Self { tokens: self.tokens - self.pictures + pictures, pictures, ..self }
    }
}

fn memory(net: &VisionLanguageModel, trainable: Trainable, sizes: &[Size]) -> StepMemory {
    let sum = |what: fn(&Size) -> usize| sizes.iter().map(what).sum();
    StepMemory::new(net, trainable, sum(|size| size.tokens), sum(|size| size.labels))
}

/// What other settings would come to.
struct WhatIf<'a> {
    net: &'a VisionLanguageModel,
    trainable: Trainable,
    is_lora: bool,
    sizes: Vec<Size>,
    /// Those of the largest group.
    largest: Vec<Size>,
    /// The image processor enlarges every picture to as many.
    fewest_pixels: usize,
    settings: &'a Settings,
}

impl WhatIf<'_> {
    /// The largest values of each setting, halved again and again, with which the step `fits`.
    fn remedies(&self, fits: impl Fn(&StepMemory) -> bool) -> Remedies {
        let Self { net, trainable, ref largest, settings, .. } = *self;
        let mut longest = self.sizes.clone();
        longest.sort_by_key(|size| std::cmp::Reverse(size.tokens));
        let batch = |batch: usize| memory(net, trainable, &longest[..batch.min(longest.len())]);
        let cutoff =
            |length| memory(net, trainable, &largest.iter().map(|size| size.cut_to(length)).collect::<Vec<_>>());
        let pixels = |pixels: usize| {
            let share = pixels as f64 / settings.image_max_pixels as f64;
            memory(net, trainable, &largest.iter().map(|size| size.with_pictures(share)).collect::<Vec<_>>())
        };
        let rank = |rank: usize| memory(net, trainable.of_rank(rank, settings.lora_rank), largest);
        /// A setting, its value, the least that helps, and what a step takes with another value.
        type Candidate<'a> = (&'static str, usize, usize, &'a dyn Fn(usize) -> StepMemory);
        let mut candidates: Vec<Candidate> = vec![
            ("per_device_train_batch_size", settings.per_device_train_batch_size, 1, &batch),
            ("cutoff_len", settings.cutoff_len, 128, &cutoff),
            ("image_max_pixels", settings.image_max_pixels, self.fewest_pixels, &pixels),
        ];
        if self.is_lora {
            candidates.push(("lora_rank", settings.lora_rank, 1, &rank));
        }
        let remedy = |(setting, value, least, memory): Candidate| {
            let halves =
                std::iter::successors(Some(value / 2), |value| Some(value / 2)).take_while(|&value| value >= least);
            let found = halves.map(|value| (value, memory(value))).find(|(_, step)| fits(step));
            found.map(|(value, step)| Remedy { setting, value, least: step.least() as f64 / 1e9 })
        };
        Remedies(candidates.into_iter().filter_map(remedy).collect())
    }
}
