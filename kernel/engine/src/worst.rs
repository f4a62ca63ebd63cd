//! The loss of every sample by itself, the worst first: what the model has learned least, and where a label is wrong.

use std::time::Instant;

use tunebook_data::Encoded;
use tunebook_data::IGNORE_INDEX;
use tunebook_nn::ops::TokenScore;

use crate::adapters::Chosen;
use crate::bad_sample::BadSamples;
use crate::chosen_data::Split;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Task;
use crate::finite;
use crate::pictures::Features;
use crate::report::SampleLoss;
use crate::report::WorstReport;
use crate::token_scores::label_scores;

/// Samples go through the model together up to so many tokens, as in a training.
const TOKENS: usize = 1024;

/// A sample and its number in its split.
pub(crate) type Numbered<'a> = (usize, &'a Encoded);

/// The `most` samples with the highest loss under `chosen`, and their loss under the base model. A sample's loss is the mean
/// of -log p over its labels, which is what a training computes of it as a micro-batch of its own.
///
/// A stop ends it with those of the samples so far. A sample that cannot be used is left out, unless `on_bad_sample` is
/// `stop`.
///
/// # Errors
/// A sample cannot be used and is not left out; the loss is no number; a stop before the first samples.
pub(crate) fn worst(
    samples: &[Numbered],
    split: Split,
    most: usize,
    chosen: &Chosen,
    run: RunContext,
    features: &mut Features,
    cx: &Context,
) -> Result<WorstReport> {
    let start = Instant::now();
    let (mut bad, mut losses, mut seen) = (BadSamples::default(), Vec::new(), 0);
    for batch in batches(samples) {
        cx.emit(Event::Progress { task: Task::Evaluating, done: seen, total: samples.len() });
        match batch_losses(batch.to_vec(), run, features, &mut bad, cx) {
            Err(Error::Cancelled) => break,
            found => losses.extend(found?),
        }
        seen += batch.len();
    }
    cx.emit(Event::Progress { task: Task::Evaluating, done: seen, total: samples.len() });
    if losses.is_empty() {
        return Err(Error::Cancelled);
    }
    if losses.iter().any(|sample| !sample.loss.is_finite()) {
        return Err(finite::why(run.model, run.adapter));
    }
    let mean = |of: &dyn Fn(&SampleLoss) -> f64| losses.iter().map(of).sum::<f64>() / losses.len() as f64;
    let (loss, base_loss) = (mean(&|sample| sample.loss), mean(&|sample| sample.base_loss));
    let looked_at = losses.len();
    losses.sort_by(|a, b| b.loss.total_cmp(&a.loss).then(a.index.cmp(&b.index)));
    losses.truncate(most);
    Ok(WorstReport {
        split,
        adapter: chosen.name.clone(),
        worst: losses,
        loss,
        base_loss,
        looked_at,
        samples: samples.len(),
        left_out: bad.left_out().to_vec(),
        elapsed: start.elapsed(),
    })
}

/// Runs of samples with at most [`TOKENS`] together, or of one.
fn batches<'a, 's>(samples: &'s [Numbered<'a>]) -> Vec<&'s [Numbered<'a>]> {
    let (mut batches, mut first, mut tokens) = (Vec::new(), 0, 0);
    for (at, (_, sample)) in samples.iter().enumerate() {
        tokens += sample.input_ids.len();
        if at > first && tokens > TOKENS {
            batches.push(&samples[first..at]);
            (first, tokens) = (at, sample.input_ids.len());
        }
    }
    batches.extend((first < samples.len()).then(|| &samples[first..]));
    batches
}

/// The losses of those samples of a batch that have labels and can be used.
fn batch_losses(
    mut batch: Vec<Numbered>,
    run: RunContext,
    features: &mut Features,
    bad: &mut BadSamples,
    cx: &Context,
) -> Result<Vec<SampleLoss>> {
    batch.retain(|(_, sample)| sample.supervised_tokens() > 0);
    while !batch.is_empty() {
        match with_and_without(&batch, run, features, cx) {
            Ok([scores, base]) => {
                bad.end_row();
                return sample_losses(&batch, &scores, &base, run);
            }
            Err(Error::BadSample(sample)) => {
                batch.retain(|(_, other)| other.origin != sample.origin);
                bad.leave_out(*sample, run.settings, cx)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Vec::new())
}

/// The scores under the adapter, and under the base model.
fn with_and_without(
    batch: &[Numbered],
    run: RunContext,
    features: &mut Features,
    cx: &Context,
) -> Result<[Vec<TokenScore>; 2]> {
    let samples: Vec<&Encoded> = batch.iter().map(|(_, sample)| *sample).collect();
    let mut scores = |adapter| label_scores(&samples, adapter, 0, run, features, cx);
    let base = scores(None)?;
    Ok(match run.adapter {
        Some(_) => [scores(run.adapter)?, base],
        None => [base.clone(), base],
    })
}

/// `scores` and `base` are of the labels of all samples, one sample after the other.
fn sample_losses(
    batch: &[Numbered],
    scores: &[TokenScore],
    base: &[TokenScore],
    run: RunContext,
) -> Result<Vec<SampleLoss>> {
    let mean = |scores: &[TokenScore]| scores.iter().map(|score| score.loss).sum::<f64>() / scores.len() as f64;
    let (mut losses, mut first) = (Vec::with_capacity(batch.len()), 0);
    for (index, sample) in batch {
        let labels = first..first + sample.supervised_tokens();
        first = labels.end;
        losses.push(SampleLoss {
            index: *index,
            origin: sample.origin.to_string(),
            labels: labels.len(),
            loss: mean(&scores[labels.clone()]),
            base_loss: mean(&base[labels]),
            expected: expected(sample, run)?,
            images: sample.images.iter().map(|image| image.path.clone()).collect(),
        });
    }
    Ok(losses)
}

/// What the sample teaches: the text of its labels.
fn expected(sample: &Encoded, run: RunContext) -> Result<String> {
    let mut pieces = run.model.tokenizer.decode_stream(true);
    let labels = sample.labels.iter().filter(|label| **label != IGNORE_INDEX);
    let text = labels.map(|&label| Ok(pieces.push(label as u32)?)).collect::<Result<String>>()?;
    Ok(text.trim().to_string())
}
