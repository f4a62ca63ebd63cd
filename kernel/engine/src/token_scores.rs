//! What a model says to tokens: its loss, its rank, and what it would have said instead.

use tunebook_data::DecodeStream;
use tunebook_data::Encoded;
use tunebook_data::IGNORE_INDEX;
use tunebook_data::Tokenizer;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::layers::ForwardContext;
use tunebook_nn::ops::TokenScore;

use crate::adapters::Chosen;
use crate::conversation::RunContext;
use crate::error::Result;
use crate::event::Context;
use crate::pictures::Features;
use crate::report::LabelScores;
use crate::report::LikelyToken;
use crate::report::ScoredToken;
use crate::training::collate::Collator;
use crate::training::step::score_batch;

/// How many of the likeliest tokens a sample's labels are shown with.
const LIKELIEST: usize = 5;

/// The labels of a sample under `chosen`, and after it under the base model, where that is another one. The losses are those
/// of a training with the sample as a micro-batch of its own, without dropout.
///
/// # Errors
/// [`BadSample`](crate::Error::BadSample): an image cannot be read any more. The device fails; a stop.
pub(crate) fn score_sample(
    sample: &Encoded,
    chosen: &Chosen,
    run: RunContext,
    features: &mut Features,
    cx: &Context,
) -> Result<Vec<LabelScores>> {
    let base = chosen.adapter.is_some().then(Chosen::base);
    let scores = |of: &Chosen| {
        let scores = label_scores(&[sample], of.adapter.as_ref(), LIKELIEST, run, features, cx)?;
        let labels = sample.labels.iter().enumerate().skip(1).filter(|(_, label)| **label != IGNORE_INDEX);
        let mut texts = TokenTexts::new(&run.model.tokenizer);
        let labels = labels.zip(&scores).map(|((place, &label), score)| texts.scored(place, label as u32, score));
        Ok(LabelScores { name: of.name.clone(), labels: labels.collect::<Result<_>>()? })
    };
    [Some(chosen), base.as_ref()].into_iter().flatten().map(scores).collect()
}

/// The score of each label of `samples`, which go through the model together, with its `most` likeliest tokens.
///
/// # Errors
/// As [`score_sample`].
pub(crate) fn label_scores(
    samples: &[&Encoded],
    adapter: Option<&Adapter>,
    most: usize,
    run: RunContext,
    features: &mut Features,
    cx: &Context,
) -> Result<Vec<TokenScore>> {
    let RunContext { model, processor, .. } = run;
    let (net, stop) = (&model.net, || cx.is_cancelled());
    let mut collator = Collator { net, adapter, processor, features, shares_prefixes: true, stop: &stop };
    let packed = collator.collate(&[samples.to_vec()])?;
    let scores =
        score_batch(net, packed, most, ForwardContext { stop: Some(&stop), ..model.forward_context(adapter) })?;
    net.check_unchanged()?;
    Ok(scores)
}

/// The texts of tokens that follow each other.
pub(crate) struct TokenTexts<'a> {
    tokenizer: &'a Tokenizer,
    pieces: DecodeStream<'a>,
}

impl<'a> TokenTexts<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, pieces: tokenizer.decode_stream(false) }
    }

    /// The next token with its score, for a report.
    ///
    /// # Errors
    /// The tokenizer is not byte-level.
    pub(crate) fn scored(&mut self, place: usize, id: u32, score: &TokenScore) -> Result<ScoredToken> {
        let Self { tokenizer, pieces } = self;
        let likely =
            |&(id, probability): &(u32, f64)| Ok(LikelyToken { id, text: tokenizer.token_text(id)?, probability });
        Ok(ScoredToken {
            place,
            id,
            text: tokenizer.token_text(id)?,
            piece: pieces.push(id)?,
            loss: score.loss,
            rank: score.rank,
            likeliest: score.likeliest.iter().map(likely).collect::<Result<_>>()?,
        })
    }
}
