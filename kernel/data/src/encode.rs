//! Samples to token ids and labels.
//!
//! Nothing is cached. Encoding 10,000 samples with an image each takes 1.4 s of CPU time (640 × 480 PNG files, of which
//! only headers and ends are read), and 10 million tokens of text take 5 s. A cache would still have to look at the
//! images, which is the larger part.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::cutoff::cut;
use crate::template::{Slots, Turn};
use crate::{
    Grid, ImageProcessor, ImageRef, Origin, Row, Sample, SkipReason, Skipped, Template, TemplateError, Tokenizer,
    TokenizerError,
};

/// The label of a position that has no loss.
pub const IGNORE_INDEX: i64 = -100;

/// LLaMA-Factory's settings for encoding, with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Maximum number of tokens of a sample.
    pub cutoff_len: usize,
    /// Train on the questions too.
    pub train_on_prompt: bool,
    /// Train only on the last answer, which then also has priority when the sample is truncated.
    pub mask_history: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { cutoff_len: 2048, train_on_prompt: false, mask_history: false }
    }
}

/// A sample as the model is trained on it. Images are references; their pixels are computed when they are needed.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    pub input_ids: Vec<u32>,
    /// As long as `input_ids`: the same id if the position is a label, else [`IGNORE_INDEX`]. Not shifted.
    pub labels: Vec<i64>,
    /// The images whose blocks `input_ids` holds, in order.
    pub images: Vec<ImageRef>,
    /// Where the last answer begins in `input_ids`: what is before is its prompt.
    pub answer_start: usize,
    /// Whether `cutoff_len` truncated the sample.
    pub truncated: bool,
    pub origin: Origin,
}

impl Encoded {
    pub fn grids(&self) -> impl Iterator<Item = Grid> + '_ {
        self.images.iter().map(|image| image.grid)
    }

    /// Number of labels, without the first position, which nothing predicts.
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

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("encoding was interrupted")]
    Cancelled,
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl Encoder<'_> {
    /// Encodes all rows on all cores, in order. `progress` is called with the number of finished rows, `cancelled`
    /// before each row; both from many threads.
    ///
    /// # Errors
    /// [`EncodeError::Cancelled`], or a tokenizer that fails. A sample that cannot be used is skipped.
    pub fn encode_all(
        &self,
        rows: &[&Row],
        progress: &(dyn Fn(usize) + Sync),
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Vec<Result<Encoded, Skipped>>, EncodeError> {
        let done = AtomicUsize::new(0);
        let encode = |row: &&Row| {
            if cancelled() {
                return Err(EncodeError::Cancelled);
            }
            let encoded = match row {
                Ok(sample) => self.encode(sample)?.map_err(|reason| Skipped { origin: sample.origin.clone(), reason }),
                Err(skipped) => Err(skipped.clone()),
            };
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            Ok(encoded)
        };
        rows.par_iter().map(encode).collect()
    }

    /// Encodes one sample; the inner error is the reason to skip it.
    ///
    /// This is LLaMA-Factory's `SupervisedDatasetProcessor` with one difference: that one truncates in the middle of an
    /// image's tokens, which ends its run with `Image features and image tokens do not match`. Here a question keeps
    /// its images: if truncation would remove one, the question stays whole at the expense of its answer; if not even
    /// one token of the answer would be left, the turn is dropped with everything after it (before it, with
    /// `mask_history`). An answer is truncated before an image that does not fit. A sample without a label left is
    /// skipped.
    ///
    /// # Errors
    /// A tokenizer that fails.
    pub fn encode(&self, sample: &Sample) -> Result<Result<Encoded, SkipReason>, EncodeError> {
        let images = match sample.images.iter().map(|path| self.processor.look(path)).collect::<Result<Vec<_>, _>>() {
            Ok(images) => images,
            Err(error) => return Ok(Err(SkipReason::BadPicture(error))),
        };
        let tokens: Vec<_> = images.iter().map(|image| self.processor.tokens(image.grid)).collect();
        let Self { tokenizer, template, options, .. } = *self;
        let turns = template.with_tools(&sample.system, &sample.tools).and_then(|system| {
            template.encode_multiturn(tokenizer, &sample.messages, system.as_deref(), &tokens, options.mask_history)
        });
        match turns {
            Ok(turns) => Ok(self.join(sample, turns, images)),
            Err(TemplateError::Tokenizer(error)) => Err(error.into()),
            Err(TemplateError::VisionToken { token }) => Ok(Err(SkipReason::VisionTokenInText { token })),
            Err(TemplateError::ImageCount { placeholders, images }) => {
                Ok(Err(SkipReason::ImageCount { placeholders, images, why: None }))
            }
            Err(TemplateError::Tools { source }) => Ok(Err(SkipReason::BadTools { message: source.to_string() })),
            Err(TemplateError::FunctionCall { index, source }) => {
                Ok(Err(SkipReason::BadFunctionCall { turn: index, message: source.to_string() }))
            }
            Err(TemplateError::Order { .. }) => Ok(Err(SkipReason::OddMessageCount { count: sample.messages.len() })),
        }
    }

    /// Truncates the turns to `cutoff_len` and joins them.
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
            answer_start: 0,
            truncated: cutoff_len - room < total,
            origin: sample.origin.clone(),
        };
        for (index, (turn, images)) in kept.into_iter().enumerate() {
            let learn_target = !self.options.mask_history || index == last;
            encoded.push(turn.source, self.options.train_on_prompt);
            encoded.answer_start = encoded.input_ids.len();
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

#[cfg(test)]
mod tests;
