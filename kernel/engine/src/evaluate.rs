//! The loss on samples that are not trained on.

use std::borrow::Cow;
use std::time::Instant;

use serde_json::json;
use tunebook_data::Encoded;
use tunebook_data::ImageProcessor;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::layers::ForwardContext;

use crate::adapters::Chosen;
use crate::bad_sample::BadSamples;
use crate::chosen_data::ChosenData;
use crate::chosen_data::read_samples;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::event::Task;
use crate::finite;
use crate::instead::explained;
use crate::model::Model;
use crate::output::results;
use crate::output::results::Results;
use crate::pictures::Features;
use crate::report::EvaluateReport;
use crate::settings::Settings;
use crate::training::collate::Collator;
use crate::training::objective::CrossEntropy;
use crate::training::step::evaluate_batch;
use crate::workers::BatchLoss;
use crate::workers::SharedWorkers;

/// Samples to evaluate on.
pub(crate) struct Samples<'a> {
    /// The names of their datasets.
    pub name: String,
    /// Whether they are the samples that `data` holds out.
    pub held_out: bool,
    pub list: Vec<Cow<'a, Encoded>>,
}

impl<'a> Samples<'a> {
    /// The samples of the datasets `names`; without names, those that `data` holds out, or if it holds none out, the
    /// training samples, which is announced. At most `most` (of each dataset, if they are named).
    ///
    /// # Errors
    /// No names and no data; a data set that cannot be read, or of which no sample can be used; an interrupt.
    pub(crate) fn choose(
        names: &[String],
        most: Option<usize>,
        data: Option<&'a ChosenData>,
        (model, processor, settings): (&Model, &ImageProcessor, &Settings),
        cx: &Context,
    ) -> Result<Self> {
        let mut samples = match names {
            [] => Self::held_out(data.ok_or(Error::NoData)?, cx),
            names => {
                let settings = Settings { max_samples: most.or(settings.max_samples), ..settings.clone() };
                Self::read(names, model, processor, &settings, cx)?
            }
        };
        if names.is_empty() {
            samples.list.truncate(most.unwrap_or(usize::MAX));
        }
        Ok(samples)
    }

    fn read(
        names: &[String],
        model: &Model,
        processor: &ImageProcessor,
        settings: &Settings,
        cx: &Context,
    ) -> Result<Self> {
        let (samples, skipped) = read_samples(names, model, processor, settings, cx)?;
        let names = names.join(",");
        if samples.is_empty() {
            return Err(explained(Error::NoSamples { names, skipped }));
        }
        if let Some(first) = skipped.first() {
            let (names, first) = (names.clone(), Some(Box::new(first.clone())));
            cx.emit(Event::Note(Note::CannotBeUsed { names, count: skipped.len(), first }));
        }
        Ok(Self { name: names, held_out: false, list: samples.into_iter().map(Cow::Owned).collect() })
    }

    fn held_out(data: &'a ChosenData, cx: &Context) -> Self {
        let names = data.report.names.join(",");
        if !data.eval.is_empty() {
            let list = data.eval.iter().map(Cow::Borrowed).collect();
            return Self { name: names, held_out: true, list };
        }
        cx.emit(Event::Note(Note::NothingHeldOut { names: names.clone() }));
        Self { name: names, held_out: false, list: data.train.iter().flatten().map(Cow::Borrowed).collect() }
    }
}

/// Samples of a batch where the user sets no other number, as LLaMA-Factory's page has it.
pub(crate) const BATCH: usize = 2;

/// The mean loss and the perplexity, as transformers' `Trainer.evaluate` computes `eval_loss` for a vision-language
/// model: the mean cross-entropy over the labelled tokens of each batch of `per_device_eval_batch_size` samples, and of
/// these means the mean, in which a last batch of fewer samples counts as much as the others. The perplexity is
/// `exp(eval_loss)`.
///
/// With `output_dir`, the metrics are written there under LLaMA-Factory's names. A stop ends it after the batch at hand
/// with the loss so far, and nothing is written. A sample that cannot be used is left out of its batch, unless
/// `on_bad_sample` is `stop`.
///
/// # Errors
/// No sample can be used, or one cannot and is not left out; a file cannot be written; the loss is no number; a stop before
/// the first batch.
pub(crate) fn evaluate(
    samples: &Samples,
    chosen: &Chosen,
    run: RunContext,
    features: &mut Features,
    workers: Option<&SharedWorkers>,
    cx: &Context,
) -> Result<EvaluateReport> {
    let start = Instant::now();
    let settings = run.settings;
    let list: Vec<&Encoded> = samples.list.iter().map(Cow::as_ref).collect();
    let mut bad = BadSamples::default();
    let MeanLoss { loss, done, batches, is_stopped } = mean_loss(&list, run, features, workers, &mut bad, cx)?;
    if done == 0 {
        return Err(Error::Cancelled);
    }
    if !loss.is_finite() {
        return Err(finite::why(run.model, run.adapter));
    }
    let mut report = EvaluateReport {
        samples: samples.name.clone(),
        held_out: samples.held_out,
        adapter: chosen.name.clone(),
        loss,
        perplexity: loss.exp(),
        done,
        total: list.len(),
        left_out: bad.left_out().to_vec(),
        elapsed: start.elapsed(),
        folder: None,
    };
    if let Some(folder) = settings.output_dir.as_deref().filter(|_| !is_stopped) {
        let mut metrics = Results::from([
            ("epoch".to_string(), json!(chosen.epoch)),
            ("eval_loss".to_string(), json!(loss)),
            ("eval_perplexity".to_string(), json!(report.perplexity)),
        ]);
        results::add_speed(&mut metrics, "eval", report.elapsed.as_secs_f64(), done as f64, batches as f64);
        results::save(folder, "eval", &metrics)?;
        report.folder = Some(folder.to_path_buf());
    }
    Ok(report)
}

/// The loss on some samples.
pub(crate) struct MeanLoss {
    /// The mean over batches of their mean cross-entropies; NaN without any.
    pub loss: f64,
    /// Samples that it is of.
    pub done: usize,
    pub batches: usize,
    /// Whether samples are left that were not looked at.
    pub is_stopped: bool,
}

/// See [`evaluate`]. Bad samples are added to `bad`.
///
/// # Errors
/// As [`evaluate`], but for a stop.
pub(crate) fn mean_loss(
    samples: &[&Encoded],
    run: RunContext,
    features: &mut Features,
    workers: Option<&SharedWorkers>,
    bad: &mut BadSamples,
    cx: &Context,
) -> Result<MeanLoss> {
    let batches = samples.chunks(run.settings.per_device_eval_batch_size.unwrap_or(BATCH));
    let batches: Vec<_> = batches.map(<[_]>::to_vec).collect();
    let mut sums = Sums { sum: 0.0, done: 0, batches: 0, seen: 0 };
    let progress = |seen| cx.emit(Event::Progress { task: Task::Evaluating, done: seen, total: samples.len() });
    progress(0);
    let computed = match workers.and_then(SharedWorkers::free) {
        Some(mut workers) => workers.losses(
            &batches,
            run,
            &mut |at, loss| {
                let batch = &batches[at];
                let loss = match loss {
                    BatchLoss::Loss(loss) => {
                        bad.end_row();
                        Some((loss, batch.len()))
                    }
                    // What is bad about it is found out here.
                    BatchLoss::BadSample => batch_loss(batch.clone(), run, features, bad, cx)?,
                };
                sums.add(loss, batch.len());
                progress(sums.seen);
                Ok(())
            },
            cx,
        ),
        None => batches.iter().try_for_each(|batch| {
            sums.add(batch_loss(batch.clone(), run, features, bad, cx)?, batch.len());
            progress(sums.seen);
            Ok(())
        }),
    };
    if !matches!(computed, Err(Error::Cancelled)) {
        computed?;
    }
    let Sums { sum, done, batches, seen } = sums;
    if let (0, 1.., Some(last)) = (batches, seen, bad.last()) {
        return Err(Error::BadSample(Box::new(last.clone())));
    }
    Ok(MeanLoss { loss: sum / batches as f64, done, batches, is_stopped: seen < samples.len() })
}

/// What the batches so far came to.
struct Sums {
    sum: f64,
    done: usize,
    batches: usize,
    /// Samples, bad ones included.
    seen: usize,
}

impl Sums {
    /// A batch of `samples`, with its loss and how many samples that is of.
    fn add(&mut self, loss: Option<(f64, usize)>, samples: usize) {
        if let Some((loss, done)) = loss {
            self.sum += loss;
            self.done += done;
            self.batches += 1;
        }
        self.seen += samples;
    }
}

/// The mean cross-entropy of the samples of a batch that can be used, and how many those are; none if none can.
fn batch_loss(
    mut batch: Vec<&Encoded>,
    run: RunContext,
    features: &mut Features,
    bad: &mut BadSamples,
    cx: &Context,
) -> Result<Option<(f64, usize)>> {
    while !batch.is_empty() {
        match loss_of(&batch, (run.model, run.adapter, run.processor), features, &|| cx.is_cancelled()) {
            Ok(loss) => {
                bad.end_row();
                return Ok(Some((loss, batch.len())));
            }
            Err(Error::BadSample(sample)) => {
                batch.retain(|other| other.origin != sample.origin);
                bad.leave_out(*sample, run.settings, cx)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The mean cross-entropy of the samples of a batch.
///
/// # Errors
/// [`Error::BadSample`]: an image cannot be read any more; the device fails; a stop.
pub(crate) fn loss_of(
    batch: &Vec<&Encoded>,
    (model, adapter, processor): (&Model, Option<&Adapter>, &ImageProcessor),
    features: &mut Features,
    stop: &dyn Fn() -> bool,
) -> Result<f64> {
    let net = &model.net;
    let mut collator = Collator { net, adapter, processor, features, shares_prefixes: true, stop };
    let packed = collator.collate(std::slice::from_ref(batch))?;
    let ctx = ForwardContext { stop: Some(stop), ..model.forward_context(adapter) };
    let loss = evaluate_batch(net, &CrossEntropy, packed, ctx)?.loss();
    net.check_unchanged()?;
    Ok(loss)
}
