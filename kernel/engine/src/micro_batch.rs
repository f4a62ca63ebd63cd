//! Micro-batches that go through the model together: their tokens laid end to end, their losses, and the gradients of what
//! trains.

use std::iter;

use candle_core::Tensor;
use tunebook_data::Encoded;
use tunebook_data::IGNORE_INDEX;
use tunebook_data::ImageProcessor;
use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;
use tunebook_nn::layers::DropoutRun;
use tunebook_nn::layers::ForwardContext;
use tunebook_nn::layers::Sequences;
use tunebook_nn::ops::Labels;
use tunebook_nn::ops::Segments;
use tunebook_nn::ops::linear_cross_entropy;
use tunebook_nn::ops::linear_cross_entropy_with_gradient;

use crate::bad_sample::of_sample;
use crate::common_prefix::common_prefix;
use crate::error::Result;
pub use crate::memory::LayerMemory;
use crate::neftune::add_noise;
use crate::pictures::Features;
use crate::pictures::grid_thw;

/// The samples of some micro-batches, packed without padding, without the tokens that one shares with the first, and
/// without those that nothing learned depends on.
pub struct MicroBatches {
    input_ids: Vec<u32>,
    pictures: Pictures,
    positions: Vec<[u32; 3]>,
    sequences: LayerSequences,
    /// The tokens of each sample.
    tokens: Vec<usize>,
    /// Rows whose next token is learned, counted among those that the last layer makes, and that token.
    rows: Vec<u32>,
    targets: Vec<u32>,
    /// Of each, 1 / the number of those of its micro-batch.
    weights: Vec<f32>,
}

/// The samples as a layer sees them.
struct LayerSequences {
    /// Where all rows are made.
    all: Sequences,
    /// In the last layer, which makes the rows of each sample from the first whose next token is learned on.
    last: Sequences,
}

impl LayerSequences {
    /// Those of one of so many layers.
    fn of(&self, layer: usize, layers: usize) -> &Sequences {
        if layer + 1 == layers { &self.last } else { &self.all }
    }
}

/// The pictures of all samples, in the order of their placeholders.
enum Pictures {
    /// As the language model reads them.
    Features(Vec<Tensor>),
    /// As the vision tower does, where the adapter changes what it makes of them.
    Patches { patches: Vec<f32>, grids: Vec<[usize; 3]> },
}

/// The part of the time that the way forward takes: one product of three.
const FORWARD: f64 = 1.0 / 3.0;

/// How micro-batches are trained on.
#[derive(Clone, Copy)]
pub struct Manner {
    /// What dropout masks and noise are drawn from.
    pub dropout: DropoutRun,
    /// The strength of the noise on the embeddings; 0 is none.
    pub neftune_noise_alpha: f64,
    /// What becomes of the layers' memory.
    pub layers: LayerMemory,
}

impl MicroBatches {
    /// With `share`, tokens with which a sample begins as the first one does are made once: not to be done where chance
    /// gives each sample something of its own, as dropout does. `stop` is asked before each layer of the
    /// vision tower.
    ///
    /// # Errors
    /// [`BadSample`](crate::Error::BadSample): a picture cannot be read any more. Placeholders and pictures do not fit
    /// together; a stop.
    pub fn new(
        net: &VisionLanguageModel,
        adapter: Option<&Adapter>,
        processor: &ImageProcessor,
        features: &mut Features,
        micro_batches: &[Vec<&Encoded>],
        share: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self> {
        let samples: Vec<_> = micro_batches.iter().flatten().copied().collect();
        let (mut input_ids, mut positions, mut images) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bounds, mut key_bounds, mut last_bounds) = (vec![0], vec![0], vec![0]);
        // Rows of x.
        let (mut keys, mut queries) = (Vec::new(), Vec::new());
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        let image_token_id = net.config.image_token_id();
        // How many of its tokens: what comes after the last prediction is seen by none.
        let needed = |sample: &Encoded| {
            let last_learned = learned(sample).next_back().map(|(row, _)| row);
            let last_of_pictures = sample.input_ids.iter().rposition(|&id| id == image_token_id);
            last_learned.max(last_of_pictures).map_or(0, |last| last + 1)
        };
        let common = |sample: &Encoded, limit: usize| {
            let picture = |index: usize| {
                let image = sample.images.get(index)?;
                Some((processor.tokens(image.grid), samples[0].images.get(index) == Some(image)))
            };
            let known = &samples[0].input_ids[..needed(samples[0])];
            common_prefix(&sample.input_ids[..limit], known, image_token_id, picture)
        };
        for (index, sample) in samples.iter().enumerate() {
            let len = needed(sample);
            let first = learned(sample).next().map_or(len, |(row, _)| row);
            let shares = share && index > 0;
            let (shared, shared_images) = if shares { common(sample, first) } else { (0, 0) };
            let grids: Vec<_> = sample.images.iter().map(grid_thw).collect();
            let start = positions.len();
            // The row of x that is one of its own.
            let place = |row: usize| (start + row - shared) as u32;
            keys.extend((0..shared as u32).chain((shared..len).map(place)));
            queries.extend((first..len).map(place));
            for (row, label) in learned(sample) {
                rows.push((last_bounds[index] + row - first) as u32);
                targets.push(label);
            }
            input_ids.extend_from_slice(&sample.input_ids[shared..len]);
            positions.extend_from_slice(&net.positions(&sample.input_ids, &grids)?.thw[shared..len]);
            images.extend(sample.images[shared_images..].iter().map(|image| (sample, image)));
            bounds.push(positions.len());
            key_bounds.push(keys.len());
            last_bounds.push(queries.len());
        }
        let pictures = if adapter.is_some_and(Adapter::changes_pictures) && !images.is_empty() {
            let mut patches = Vec::new();
            for &(sample, image) in &images {
                patches.extend(features.patches(processor, image).map_err(|error| of_sample(sample, error))?);
            }
            Pictures::Patches { patches, grids: images.into_iter().map(|(_, image)| grid_thw(image)).collect() }
        } else {
            let features = images.into_iter().map(|(sample, image)| {
                let features = features.get(net, adapter, processor, image, stop);
                features.map_err(|error| of_sample(sample, error))
            });
            Pictures::Features(features.collect::<Result<_>>()?)
        };
        let mut weights = Vec::with_capacity(rows.len());
        for samples in micro_batches {
            let labels = samples.iter().map(|sample| sample.supervised_tokens()).sum();
            weights.extend(iter::repeat_n(1.0 / labels as f32, labels));
        }
        let made = positions.len();
        let tokens = samples.iter().map(|sample| sample.input_ids.len()).collect();
        let keys = (keys.len() > made).then_some(keys);
        let queries = (queries.len() < made).then_some(queries);
        let key_bounds: std::sync::Arc<[usize]> = key_bounds.into();
        let segments = |q: Vec<usize>| Segments { q: q.into(), k: key_bounds.clone(), causal: true };
        let sequences = LayerSequences {
            all: Sequences::new(segments(bounds), None, keys.clone(), &net.device)?,
            last: Sequences::new(segments(last_bounds), queries, keys, &net.device)?,
        };
        Ok(Self { input_ids, pictures, positions, sequences, tokens, rows, targets, weights })
    }

    /// Those of all samples.
    pub fn tokens(&self) -> usize {
        self.tokens.iter().sum()
    }

    /// The rows that layers make: a token that several samples begin with is one, and one that no learned token sees is none.
    pub fn made(&self) -> usize {
        self.positions.len()
    }

    /// Tokens that are learned.
    pub fn labels(&self) -> usize {
        self.rows.len()
    }

    /// The mean cross-entropy over the labelled tokens of each micro-batch, summed over them, without dropout and gradients.
    /// `stop` is asked before each layer.
    ///
    /// # Errors
    /// Whatever candle reports; a stop.
    pub fn loss(self, net: &VisionLanguageModel, adapter: Option<&Adapter>, stop: &dyn Fn() -> bool) -> Result<f64> {
        if self.rows.is_empty() {
            return Ok(0.0);
        }
        let Self { input_ids, pictures, positions, sequences, rows, targets, weights, .. } = self;
        let rotary = net.rotary(&positions)?;
        let ctx = ForwardContext { adapter, dropout: None, stop: Some(stop) };
        let features = match pictures {
            Pictures::Features(features) => features,
            Pictures::Patches { patches, grids } => vec![net.vision.forward(patches, &grids, ctx)?],
        };
        let x = net.embed(&input_ids, &features, ctx)?;
        let mut x = Tensor::from_vec(x, (positions.len(), net.text.config.hidden_size), &net.device)?;
        let layers = &net.text.layers;
        for (i, layer) in layers.iter().enumerate() {
            ctx.check_cancelled()?;
            x = layer.output(&mut layer.activations(&x, &rotary, sequences.of(i, layers.len()), ctx)?, ctx)?;
        }
        let labels = Labels { rows: &rows, targets: &targets, weights: &weights };
        Ok(linear_cross_entropy(&net.text.norm(&x, ctx)?, net.text.lm_head(ctx), labels, net.precision)?)
    }

    /// The mean cross-entropy over the labelled tokens of each micro-batch, summed over them; its gradients are added to `gradients`.
    ///
    /// The forward pass keeps each layer's input, and the inner values of the last layers, as many as `manner` says; the
    /// backward pass goes through the layers in reverse and makes the inner values of the others again. It ends at the
    /// lowest layer that trains. Before each layer `look_up` hears which part of the way is done, from 0 to 1.
    ///
    /// Gives none where the last hidden states are not all finite, so that the loss would not be, either; nothing is added
    /// to `gradients` then.
    ///
    /// # Errors
    /// Whatever candle reports, or `look_up`, to be stopped; `gradients` then hold a part of the sums.
    pub fn backward(
        self,
        net: &VisionLanguageModel,
        adapter: &Adapter,
        manner: Manner,
        gradients: &mut Gradients,
        look_up: &dyn Fn(f64) -> Result<()>,
    ) -> Result<Option<f64>> {
        if self.rows.is_empty() {
            return Ok(Some(0.0));
        }
        let Self { input_ids, pictures, positions, sequences, tokens, rows, targets, weights } = self;
        let rotary = net.rotary(&positions)?;
        let ctx = ForwardContext { adapter: Some(adapter), dropout: Some(manner.dropout), stop: None };
        let (features, vision_backward) = match pictures {
            Pictures::Features(features) => (features, None),
            Pictures::Patches { patches, grids } => {
                let (features, backward) = net.vision.forward_saving(patches, &grids, ctx)?;
                (vec![features], Some(backward))
            }
        };
        let is_text = |id: &u32| *id != net.config.image_token_id();
        let mut x = net.embed(&input_ids, &features, ctx)?;
        if manner.neftune_noise_alpha > 0.0 {
            let text: Vec<bool> = input_ids.iter().map(is_text).collect();
            add_noise(&mut x, &text, (&sequences.all.segments.q, &tokens), manner.neftune_noise_alpha, manner.dropout);
        }

        let layers = &net.text.layers;
        let first_kept = layers.len().saturating_sub(manner.layers.kept);
        let lowest = match vision_backward.is_some() || net.text.embedding_trains(ctx) {
            true => 0,
            false => layers.iter().position(|layer| layer.trains(ctx)).unwrap_or(layers.len()),
        };
        let mut x = Tensor::from_vec(x, (positions.len(), net.text.config.hidden_size), &net.device)?;
        let mut passed = Vec::with_capacity(layers.len());
        for (i, layer) in layers.iter().enumerate() {
            look_up(FORWARD * i as f64 / layers.len() as f64)?;
            if i < manner.layers.released {
                layer.map();
            }
            let mut inner = layer.activations(&x, &rotary, sequences.of(i, layers.len()), ctx)?;
            let y = layer.output(&mut inner, ctx)?;
            if i < manner.layers.released {
                layer.release();
            }
            if i >= lowest {
                let inner = (i >= first_kept).then_some(inner);
                passed.push((i, x, inner));
            }
            x = y;
        }

        let labels = Labels { rows: &rows, targets: &targets, weights: &weights };
        let normed = net.text.norm(&x, ctx)?;
        // NaN and infinity go through to the sum.
        if !normed.sum_all()?.to_scalar::<f32>()?.is_finite() {
            return Ok(None);
        }
        if manner.layers.released > 0 {
            net.text.map_head();
        }
        let head = net.text.lm_head(ctx);
        let head_sum = net.text.trained_head(ctx).map(|head| gradients.sum(head)).transpose()?;
        let (loss, dnormed) =
            linear_cross_entropy_with_gradient(&normed, head, labels, net.precision, head_sum.as_ref())?;
        if manner.layers.released > 0 {
            net.text.release_head();
        }
        let mut dx = net.text.norm_backward(&x, &dnormed, ctx, gradients)?;

        let there = passed.len() as f64;
        for (back, (i, x, inner)) in passed.into_iter().rev().enumerate() {
            look_up(FORWARD + (1.0 - FORWARD) * back as f64 / there)?;
            let (layer, sequences) = (&layers[i], sequences.of(i, layers.len()));
            if i < manner.layers.released {
                layer.map();
            }
            let again = || layer.activations(&x, &rotary, sequences, ctx);
            let inner = inner.map_or_else(again, Ok)?;
            dx = layer.backward(&x, &inner, &dx, (&rotary, sequences), ctx, gradients)?;
            if i < manner.layers.released {
                layer.release();
            }
        }
        let ids: Vec<Option<u32>> = input_ids.iter().map(|id| Some(*id).filter(is_text)).collect();
        net.text.embed_backward(&ids, &dx, ctx, gradients)?;
        if let Some(vision_backward) = vision_backward {
            let rows: Vec<u32> = (0u32..).zip(&input_ids).filter(|(_, id)| !is_text(id)).map(|(row, _)| row).collect();
            let dfeatures = dx.index_select(&Tensor::new(rows, &net.device)?, 0)?;
            vision_backward(&dfeatures, gradients)?;
        }
        Ok(Some(loss))
    }
}

/// The rows of a sample whose next token is learned, and that token.
fn learned(sample: &Encoded) -> impl DoubleEndedIterator<Item = (usize, u32)> {
    let next = sample.labels.iter().enumerate().skip(1);
    next.filter(|(_, label)| **label != IGNORE_INDEX).map(|(at, &label)| (at - 1, label as u32))
}
