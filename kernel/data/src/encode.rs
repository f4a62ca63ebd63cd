//! Samples to token ids and labels.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::template::{Slots, Turn};
use crate::{
    Grid, ImageProcessor, ImageRef, Origin, Sample, SkipReason, Skipped, Template, TemplateError, Tokenizer,
    TokenizerError,
};

/// The label of a position that is not learned.
pub const IGNORE_INDEX: i64 = -100;

/// Settings of LLaMA-Factory's, with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Most tokens of a sample.
    pub cutoff_len: usize,
    /// Learn the questions too.
    pub train_on_prompt: bool,
    /// Learn only the last answer; it also comes first where room is short.
    pub mask_history: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { cutoff_len: 2048, train_on_prompt: false, mask_history: false }
    }
}

/// A sample as a model learns it. Pictures are references: their pixels are made when they are needed.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    pub input_ids: Vec<u32>,
    /// As long as `input_ids`: the same id where it is learned, else [`IGNORE_INDEX`]. Not shifted.
    pub labels: Vec<i64>,
    /// The pictures whose blocks `input_ids` holds, in their order.
    pub images: Vec<ImageRef>,
    /// Whether cutoff_len left something out.
    pub truncated: bool,
    pub origin: Origin,
}

impl Encoded {
    pub fn grids(&self) -> impl Iterator<Item = Grid> + '_ {
        self.images.iter().map(|image| image.grid)
    }

    /// How many positions are learned: labels but the first position's, which nothing predicts.
    pub fn supervised_tokens(&self) -> usize {
        let labels = self.labels.iter().skip(1);
        labels.filter(|label| **label != IGNORE_INDEX).count()
    }
}

/// Everything that is needed to encode a sample.
#[derive(Debug, Clone, Copy)]
pub struct Encoder<'a> {
    pub tokenizer: &'a Tokenizer,
    pub template: &'a Template,
    pub processor: &'a ImageProcessor,
    pub options: EncodeOptions,
}

/// An encoded data set, and what was left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EncodedSet {
    pub examples: Vec<Encoded>,
    pub skipped: Vec<Skipped>,
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("encoding was interrupted")]
    Cancelled,
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl Encoder<'_> {
    /// Encodes all samples on all cores, in their order. `progress` hears the number of samples done so far,
    /// `cancelled` is asked before each sample; both are called from many threads.
    ///
    /// # Errors
    /// [`EncodeError::Cancelled`], or a tokenizer that fails. A sample that cannot be used is skipped.
    pub fn encode_all(
        &self,
        samples: &[Sample],
        progress: &(dyn Fn(usize) + Sync),
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<EncodedSet, EncodeError> {
        let done = AtomicUsize::new(0);
        let results = samples
            .par_iter()
            .map(|sample| {
                if cancelled() {
                    return Err(EncodeError::Cancelled);
                }
                let encoded = self.encode(sample)?;
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                Ok(encoded)
            })
            .collect::<Result<Vec<_>, _>>()?;

        let mut set = EncodedSet::default();
        for (sample, result) in samples.iter().zip(results) {
            match result {
                Ok(encoded) => set.examples.push(encoded),
                Err(reason) => set.skipped.push(Skipped { origin: sample.origin.clone(), reason }),
            }
        }
        Ok(set)
    }

    /// Encodes one sample; the inner error says why it cannot be used.
    ///
    /// LLaMA-Factory's `SupervisedDatasetProcessor`, with one difference: it cuts through the middle of a
    /// picture's tokens, and such a sample ends the run with `Image features and image tokens do not match`.
    /// Here a question is never parted from its pictures: where the cut would take one, the question stays
    /// whole at the expense of its answer, and where not even one token of the answer would be left, the turn is
    /// left out with everything behind it (before it, with mask_history). An answer is cut before a picture
    /// that does not fit. A sample of which nothing remains to be learned is skipped.
    ///
    /// # Errors
    /// A tokenizer that fails.
    pub fn encode(&self, sample: &Sample) -> Result<Result<Encoded, SkipReason>, EncodeError> {
        let images = sample.images.iter().map(|path| {
            self.processor
                .look(path)
                .map_err(|error| SkipReason::BadPicture { path: path.clone(), message: error.to_string() })
        });
        let images = match images.collect::<Result<Vec<_>, _>>() {
            Ok(images) => images,
            Err(reason) => return Ok(Err(reason)),
        };
        let tokens: Vec<_> = images.iter().map(|image| self.processor.tokens(image.grid)).collect();
        let turns = self.template.encode_multiturn(self.tokenizer, &sample.messages, &sample.system, &tokens);
        match turns {
            Ok(turns) => Ok(self.join(sample, turns, images)),
            Err(TemplateError::Tokenizer(error)) => Err(error.into()),
            Err(TemplateError::VisionToken { token }) => Ok(Err(SkipReason::VisionTokenInText { token })),
            Err(TemplateError::ImageCount { placeholders, images }) => {
                Ok(Err(SkipReason::ImageCount { placeholders, images }))
            }
            Err(TemplateError::Order { .. } | TemplateError::Unknown { .. }) => {
                Ok(Err(SkipReason::OddMessageCount { count: sample.messages.len() }))
            }
        }
    }

    /// Cuts the turns to cutoff_len and joins them.
    fn join(&self, sample: &Sample, turns: Vec<Turn>, images: Vec<ImageRef>) -> Result<Encoded, SkipReason> {
        let cutoff_len = self.options.cutoff_len;
        let total: usize = turns.iter().map(|turn| turn.source.ids.len() + turn.target.ids.len()).sum();
        let mut images = images.into_iter();
        let mut turns: Vec<_> = turns
            .into_iter()
            .map(|turn| {
                let count = turn.source.images.len() + turn.target.images.len();
                let images: Vec<_> = images.by_ref().take(count).collect();
                (turn, images)
            })
            .collect();
        if self.options.mask_history {
            turns.reverse();
        }

        let mut room = cutoff_len;
        let mut kept = Vec::with_capacity(turns.len());
        let needed = turns.first().map_or(0, |(turn, _)| turn.source.ids.len());
        for (mut turn, mut images) in turns {
            if room == 0 || !cut(&mut turn, room) {
                break;
            }
            room -= turn.source.ids.len() + turn.target.ids.len();
            let pictures = turn.source.images.len() + turn.target.images.len();
            let lost_one = pictures < images.len();
            images.truncate(pictures);
            kept.push((turn, images));
            if lost_one {
                break;
            }
        }
        if kept.is_empty() {
            return Err(SkipReason::CutoffTooShort { needed, cutoff_len });
        }
        let last = kept.len() - 1;
        if self.options.mask_history {
            kept.reverse();
        }

        let mut encoded = Encoded {
            input_ids: Vec::with_capacity(cutoff_len - room),
            labels: Vec::with_capacity(cutoff_len - room),
            images: Vec::new(),
            truncated: cutoff_len - room < total,
            origin: sample.origin.clone(),
        };
        for (index, (turn, images)) in kept.into_iter().enumerate() {
            let learn_target = !self.options.mask_history || index == last;
            encoded.push(turn.source, self.options.train_on_prompt);
            encoded.push(turn.target, learn_target);
            encoded.images.extend(images);
        }
        match encoded.supervised_tokens() {
            0 => Err(SkipReason::NothingToLearn { cutoff_len }),
            _ => Ok(encoded),
        }
    }
}

impl Encoded {
    fn push(&mut self, slots: Slots, learn: bool) {
        let label = |id: &u32| match learn {
            true => i64::from(*id),
            false => IGNORE_INDEX,
        };
        self.labels.extend(slots.ids.iter().map(label));
        self.input_ids.extend(slots.ids);
    }
}

/// Cuts a turn to `room` tokens; false where that leaves nothing of use.
fn cut(turn: &mut Turn, room: usize) -> bool {
    let (source, target) = (turn.source.ids.len(), turn.target.ids.len());
    let (mut keep_source, mut keep_target) = infer_seqlen(source, target, room);
    let pictures_end = turn.source.images.last().map_or(0, |block| block.end);
    if keep_source < pictures_end {
        if source >= room {
            return false;
        }
        (keep_source, keep_target) = (source, target.min(room - source));
    }
    turn.source.truncate(keep_source);
    turn.target.truncate(keep_target);
    true
}

impl Slots {
    /// Keeps the first `len` ids, or fewer where a picture's block would be cut.
    fn truncate(&mut self, len: usize) {
        let cut_block = self.images.iter().position(|block| block.end > len);
        let len = match cut_block {
            Some(index) => {
                let start = self.images[index].start;
                self.images.truncate(index);
                start.min(len)
            }
            None => len,
        };
        self.ids.truncate(len);
    }
}

/// How a turn of `source` and `target` tokens shares `cutoff` places: LLaMA-Factory's function of this name. A
/// short side keeps all it has, two long ones share in proportion.
pub fn infer_seqlen(source: usize, target: usize, cutoff: usize) -> (usize, usize) {
    let max_target = if target * 2 < cutoff {
        cutoff
    } else if source * 2 < cutoff {
        cutoff - source
    } else {
        (cutoff as f64 * (target as f64 / (source + target) as f64)) as usize
    };
    let target = max_target.min(target);
    (cutoff.saturating_sub(target).min(source), target)
}
