//! Collating: the samples of some micro-batches, packed end to end without padding.

use std::iter;
use std::sync::Arc;

use candle_core::Tensor;
use tunebook_data::Encoded;
use tunebook_data::IGNORE_INDEX;
use tunebook_data::ImageProcessor;
use tunebook_data::ImageRef;
use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::layers::DecoderSequences;
use tunebook_nn::layers::Sequences;
use tunebook_nn::ops::Labels;
use tunebook_nn::ops::Segments;

use crate::bad_sample::of_sample;
use crate::common_prefix::common_prefix;
use crate::error::Result;
use crate::pictures::Features;
use crate::pictures::grid_thw;

/// Packs samples for a model.
pub struct Collator<'a> {
    pub net: &'a VisionLanguageModel,
    pub adapter: Option<&'a Adapter>,
    pub processor: &'a ImageProcessor,
    /// What the vision tower made of images before.
    pub features: &'a mut Features,
    /// Computes a prefix that a sample has in common with the first one only once. Not where chance gives each sample
    /// something of its own, as dropout and NEFTune do.
    pub shares_prefixes: bool,
    /// Asked before each layer of the vision tower whether to stop.
    pub stop: &'a dyn Fn() -> bool,
}

/// The samples of some micro-batches as the model reads them: their tokens end to end, without those of a prefix shared with
/// the first sample, and without those after the last label, on which no loss depends.
pub struct PackedBatch {
    pub(super) input_ids: Vec<u32>,
    pub(super) images: Images,
    pub(super) sequences: DecoderSequences,
    /// The number of tokens of each sample, all of them.
    pub(super) sample_tokens: Vec<usize>,
    /// Rows whose next token is a label, counted among the rows that the last layer computes; and that token.
    rows: Vec<u32>,
    targets: Vec<u32>,
    /// Of each, 1 / the number of labels in its micro-batch.
    weights: Vec<f32>,
}

/// The images of all samples, in the order of their placeholders.
pub(super) enum Images {
    /// As the language model reads them, each `[tokens, hidden]`.
    Features(Vec<Tensor>),
    /// As the vision tower reads them, where the adapter changes what it makes of them.
    Patches { patches: Vec<f32>, grids: Vec<[usize; 3]> },
}

impl Default for Images {
    fn default() -> Self {
        Self::Features(Vec::new())
    }
}

/// Row numbers and bounds of a batch, while it grows by a sample at a time.
struct Rows {
    /// Of the sequences in x, of their keys, and of the queries of the last layer.
    bounds: Vec<usize>,
    key_bounds: Vec<usize>,
    query_bounds: Vec<usize>,
    /// Rows of x.
    keys: Vec<u32>,
    queries: Vec<u32>,
}

impl Collator<'_> {
    /// # Errors
    /// [`BadSample`](crate::Error::BadSample): an image cannot be read any more. Placeholders and images do not match; a
    /// stop.
    pub fn collate(&mut self, micro_batches: &[Vec<&Encoded>]) -> Result<PackedBatch> {
        let samples: Vec<_> = micro_batches.iter().flatten().copied().collect();
        let (mut input_ids, mut positions, mut images) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        let mut packed = Rows::new();
        for (index, &sample) in samples.iter().enumerate() {
            let len = self.needed(sample);
            let first_label = labels(sample).next().map_or(len, |(row, _)| row);
            let shares = self.shares_prefixes && index > 0;
            let (shared, shared_images) = if shares { self.shared(sample, samples[0], first_label) } else { (0, 0) };
            let grids: Vec<_> = sample.images.iter().map(grid_thw).collect();
            rows.extend(labels(sample).map(|(row, _)| (packed.queries.len() + row - first_label) as u32));
            targets.extend(labels(sample).map(|(_, label)| label));
            input_ids.extend_from_slice(&sample.input_ids[shared..len]);
            positions.extend_from_slice(&self.net.positions(&sample.input_ids, &grids)?.thw[shared..len]);
            images.extend(sample.images[shared_images..].iter().map(|image| (sample, image)));
            packed.add(shared, first_label, len);
        }
        let count = |samples: &Vec<&Encoded>| samples.iter().map(|sample| sample.supervised_tokens()).sum();
        let counts = micro_batches.iter().map(count);
        Ok(PackedBatch {
            input_ids,
            images: self.images(&images)?,
            sequences: packed.sequences(&positions, self.net)?,
            sample_tokens: samples.iter().map(|sample| sample.input_ids.len()).collect(),
            rows,
            targets,
            weights: counts.flat_map(|count: usize| iter::repeat_n(1.0 / count as f32, count)).collect(),
        })
    }

    /// How many tokens of a sample are computed: no label and no image depends on what follows.
    fn needed(&self, sample: &Encoded) -> usize {
        let image_token_id = self.net.config.image_token_id();
        let last_row = labels(sample).next_back().map(|(row, _)| row);
        let last_image = sample.input_ids.iter().rposition(|&id| id == image_token_id);
        last_row.max(last_image).map_or(0, |last| last + 1)
    }

    /// How many tokens and images a sample shares with the first one; no more than `most` tokens.
    fn shared(&self, sample: &Encoded, first: &Encoded, most: usize) -> (usize, usize) {
        let image = |index: usize| {
            let image = sample.images.get(index)?;
            Some((self.processor.tokens(image.grid), first.images.get(index) == Some(image)))
        };
        let known = &first.input_ids[..self.needed(first)];
        common_prefix(&sample.input_ids[..most], known, self.net.config.image_token_id(), image)
    }

    fn images(&mut self, images: &[(&Encoded, &ImageRef)]) -> Result<Images> {
        let Self { net, adapter, processor, ref mut features, stop, .. } = *self;
        if adapter.is_some_and(Adapter::changes_pictures) && !images.is_empty() {
            let mut patches = Vec::new();
            for &(sample, image) in images {
                patches.extend(features.patches(processor, image).map_err(|error| of_sample(sample, error))?);
            }
            return Ok(Images::Patches { patches, grids: images.iter().map(|(_, image)| grid_thw(image)).collect() });
        }
        let of_image = |&(sample, image): &(&Encoded, _)| {
            features.get(net, adapter, processor, image, stop).map_err(|error| of_sample(sample, error))
        };
        Ok(Images::Features(images.iter().map(of_image).collect::<Result<_>>()?))
    }
}

impl Rows {
    fn new() -> Self {
        let [bounds, key_bounds, query_bounds] = [(); 3].map(|()| vec![0]);
        Self { bounds, key_bounds, query_bounds, keys: Vec::new(), queries: Vec::new() }
    }

    /// Adds a sample of `len` tokens, of which the first `shared` are the first sample's rows, and whose labels begin after
    /// row `first_label`.
    fn add(&mut self, shared: usize, first_label: usize, len: usize) {
        let start = self.bounds.last().copied().unwrap_or(0);
        let own = |row: usize| (start + row - shared) as u32;
        self.keys.extend((0..shared as u32).chain((shared..len).map(own)));
        self.queries.extend((first_label..len).map(own));
        self.bounds.push(start + len - shared);
        self.key_bounds.push(self.keys.len());
        self.query_bounds.push(self.queries.len());
    }

    fn sequences(self, positions: &[[u32; 3]], net: &VisionLanguageModel) -> Result<DecoderSequences> {
        let Self { bounds, key_bounds, query_bounds, keys, queries } = self;
        let keys = (keys.len() > positions.len()).then_some(keys);
        let queries = (queries.len() < positions.len()).then_some(queries);
        let k: Arc<[usize]> = key_bounds.into();
        let segments = |q: Vec<usize>| Segments { q: q.into(), k: k.clone(), causal: true };
        Ok(DecoderSequences {
            rotary: net.rotary(positions)?,
            all: Sequences::new(segments(bounds), None, keys.clone(), &net.device)?,
            last: Sequences::new(segments(query_bounds), queries, keys, &net.device)?,
        })
    }
}

impl PackedBatch {
    /// Tokens of all samples.
    pub fn tokens(&self) -> usize {
        self.sample_tokens.iter().sum()
    }

    /// Tokens that layers compute: a prefix that several samples share counts once, and what no label depends on not at all.
    pub fn computed_tokens(&self) -> usize {
        self.input_ids.len()
    }

    pub fn labels(&self) -> Labels<'_> {
        Labels { rows: &self.rows, targets: &self.targets, weights: &self.weights }
    }
}

/// The labels of a sample, each with the row that predicts it.
fn labels(sample: &Encoded) -> impl DoubleEndedIterator<Item = (usize, u32)> {
    let next = sample.labels.iter().enumerate().skip(1);
    next.filter(|(_, label)| **label != IGNORE_INDEX).map(|(at, &label)| (at - 1, label as u32))
}
