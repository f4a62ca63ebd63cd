//! Answers to samples, and how near they come to the answers that were expected.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::iter::Enumerate;
use std::path::PathBuf;
use std::slice::Iter;
use std::time::Duration;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;
use tunebook_data::Encoded;

use crate::adapters::Chosen;
use crate::bad_sample::BadSamples;
use crate::bad_sample::of_sample;
use crate::boxes;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::evaluate::Samples;
use crate::event::Context;
use crate::event::Event;
use crate::generate::Answer;
use crate::generate::Choice;
use crate::generate::Generated;
use crate::generate::Generator;
use crate::generate::Prompt;
use crate::generate::Request;
use crate::generate::Requests;
use crate::metrics::Scores;
use crate::output::results;
use crate::output::results::Results;
use crate::pictures::Features;
use crate::pictures::grid_thw;
use crate::prefix::Prefix;
use crate::report::AnswerEnd;
use crate::report::DrawnPicture;
use crate::report::PredictReport;
use crate::report::Prediction;
use crate::workers::Answering;
use crate::workers::SharedWorkers;

/// Between two events of the progress.
pub(crate) const PROGRESS: Duration = Duration::from_millis(200);
const PREDICTIONS: &str = "generated_predictions.jsonl";

/// Generates the last answer of every sample with the settings of `chat`, and scores it against the one that the sample
/// holds. Each prediction is heard by `on_prediction`, and with `output_dir` is a line of `generated_predictions.jsonl`,
/// as soon as it is there; in the end the mean scores are written beside it under LLaMA-Factory's names. A stop leaves
/// the predictions that are whole. A sample that cannot be used is left out, unless `on_bad_sample` is `stop`.
///
/// Texts are LLaMA-Factory's: the prompt with its special tokens and every image placeholder, the label with the line
/// feed that ends its turn.
///
/// With workers, they answer, each with the `labels` for its drafts.
///
/// # Errors
/// No sample can be used, or one cannot and is not left out; a file cannot be written; a stop before the first
/// prediction.
pub(crate) fn predict(
    samples: &Samples,
    chosen: &Chosen,
    run: RunContext,
    features: &mut Features,
    (workers, labels): (Option<&SharedWorkers>, &[&[u32]]),
    on_prediction: &mut dyn FnMut(&Prediction),
    cx: &Context,
) -> Result<PredictReport> {
    let settings = run.settings;
    let start = Instant::now();
    let total = samples.list.len();
    let mut predictions = Predictions {
        left: samples.list.iter().enumerate(),
        open: BTreeMap::new(),
        file: settings.output_dir.clone().map(PredictionsFile::create).transpose()?,
        scores: Vec::with_capacity(total),
        new_tokens: 0,
        cut: 0,
        bad: BadSamples::default(),
        run,
        samples: &samples.list,
        features,
        on_prediction,
        cx,
        told: start,
    };
    predictions.progress();
    let made = match workers.and_then(SharedWorkers::free) {
        Some(mut workers) => workers.answers(labels, run, &mut predictions, cx),
        None => Generator::new(run).run(&mut Prefix::default(), &mut predictions, &|| cx.is_cancelled()),
    };
    // What is whole is kept, however it has ended.
    predictions.tell(true)?;
    if !matches!(made, Err(Error::Cancelled)) {
        made?;
    }
    let Predictions { scores, new_tokens, cut, bad, .. } = predictions;
    if scores.is_empty() {
        let bad = bad.last().map(|last| Error::BadSample(Box::new(last.clone())));
        return Err(bad.unwrap_or(Error::Cancelled));
    }
    let left_out = bad.left_out().to_vec();
    let report = PredictReport {
        samples: samples.name.clone(),
        held_out: samples.held_out,
        adapter: chosen.name.clone(),
        scores: Scores::mean(&scores),
        done: scores.len(),
        total,
        left_out,
        new_tokens,
        cut,
        elapsed: start.elapsed(),
        folder: settings.output_dir.clone(),
    };
    if let Some(folder) = settings.output_dir.as_deref().filter(|_| report.done + report.left_out.len() == total) {
        let named = report.scores.named();
        let mut metrics: Results =
            named.iter().map(|(name, score)| (format!("predict_{name}"), json!(score))).collect();
        let done = report.done as f64;
        results::add_speed(&mut metrics, "predict", report.elapsed.as_secs_f64(), done, done);
        results::save(folder, "predict", &metrics)?;
    }
    Ok(report)
}

/// The predictions of samples, in the order of the samples whichever ends first.
struct Predictions<'a> {
    /// The samples that have not begun.
    left: Enumerate<Iter<'a, Cow<'a, Encoded>>>,
    /// Those that have begun and are not told yet.
    open: BTreeMap<usize, Open>,
    file: Option<PredictionsFile>,
    scores: Vec<Scores>,
    new_tokens: usize,
    /// How many `max_new_tokens` has truncated.
    cut: usize,
    bad: BadSamples,
    run: RunContext<'a>,
    samples: &'a [Cow<'a, Encoded>],
    features: &'a mut Features,
    on_prediction: &'a mut dyn FnMut(&Prediction),
    cx: &'a Context<'a>,
    /// When the progress was told last.
    told: Instant,
}

#[derive(Default)]
struct Open {
    tokens: Vec<u32>,
    end: Option<AnswerEnd>,
}

impl<'a> Requests<'a> for Predictions<'a> {
    fn next(&mut self) -> Result<Option<Request<'a>>> {
        loop {
            let Some((index, sample)) = self.left.next() else { return Ok(None) };
            match prompt(sample, self.run, self.features, self.cx) {
                Err(Error::BadSample(sample)) => self.bad.leave_out(*sample, self.run.settings, self.cx)?,
                prompt => {
                    let (prompt, RunContext { model, adapter, settings, .. }) = (prompt?, self.run);
                    self.bad.end_row();
                    let choice = Choice::new(settings, &model.generation, settings.seed.wrapping_add(index as u64));
                    self.open.insert(index, Open::default());
                    return Ok(Some(Request { id: index, prompt, choice, adapter, alternatives: 0 }));
                }
            }
        }
    }

    fn hear(&mut self, id: usize, generated: Generated) -> Result<()> {
        let Some(open) = self.open.get_mut(&id) else { return Ok(()) };
        match generated {
            Generated::Token(token) => {
                open.tokens.push(token);
                if self.told.elapsed() >= PROGRESS {
                    self.progress();
                }
            }
            Generated::Begin { .. } | Generated::Score(..) => {}
            Generated::End(Answer { end: AnswerEnd::Interrupted, .. }) => _ = self.open.remove(&id),
            Generated::End(Answer { end, .. }) => {
                open.end = Some(end);
                self.tell(false)?;
                self.progress();
            }
        }
        Ok(())
    }
}

/// What workers are asked.
impl Answering for Predictions<'_> {
    fn next(&mut self) -> Option<usize> {
        let (index, _) = self.left.next()?;
        self.open.insert(index, Open::default());
        Some(index)
    }

    fn sample(&self, index: usize) -> &Encoded {
        &self.samples[index]
    }

    fn hear(&mut self, index: usize, answer: Option<(Vec<u32>, AnswerEnd)>) -> Result<()> {
        let Some((tokens, end)) = answer else {
            self.open.remove(&index);
            // What is bad about it is found out here.
            return match prompt(&self.samples[index], self.run, self.features, self.cx) {
                Err(Error::BadSample(sample)) => self.bad.leave_out(*sample, self.run.settings, self.cx),
                other => other.map(drop),
            };
        };
        self.bad.end_row();
        self.open.insert(index, Open { tokens, end: Some(end) });
        self.tell(false)?;
        self.progress();
        Ok(())
    }
}

impl Predictions<'_> {
    /// Tells how far the answers have come.
    fn progress(&mut self) {
        let longest = self.run.settings.max_new_tokens as f64;
        let ended = self.open.values().filter(|open| open.end.is_some()).count();
        let (done, total) = (self.scores.len() + self.bad.left_out().len() + ended, self.samples.len());
        let on_their_way = self.open.values().filter(|open| open.end.is_none());
        let parts: f64 = on_their_way.map(|open| open.tokens.len() as f64 / longest).sum();
        self.cx.emit(Event::Predicting { done, total, part: (done as f64 + parts) / total.max(1) as f64 });
        self.told = Instant::now();
    }

    /// Tells and writes the predictions that have ended up to the first that has not, or past it.
    fn tell(&mut self, past_others: bool) -> Result<()> {
        while let Some(next) = self.open.first_entry() {
            let index = *next.key();
            let Open { tokens, end } = match next.get().end {
                None if past_others => {
                    next.remove();
                    continue;
                }
                None => break,
                Some(_) => next.remove(),
            };
            let text = self.run.model.tokenizer.decode(&tokens, true)?;
            let sample = &self.samples[index];
            let (prompt, label) = prompt_and_label(sample, self.run)?;
            let pictures = pictures(sample, &tokens, self.run)?;
            let images = sample.images.iter().map(|image| image.path.clone()).collect();
            let (total, scores) = (self.samples.len(), Scores::new(&text, &label));
            let prediction = Prediction { index, total, scores, prompt, predict: text, label, images, pictures };
            if let Some(file) = &mut self.file {
                file.append(&prediction)?;
            }
            (self.on_prediction)(&prediction);
            self.scores.push(prediction.scores);
            self.new_tokens += tokens.len();
            self.cut += usize::from(end == Some(AnswerEnd::MaxNewTokens));
        }
        Ok(())
    }
}

/// The question that a sample asks.
///
/// # Errors
/// [`Error::BadSample`]: an image cannot be read any more; a stop.
pub(crate) fn prompt(sample: &Encoded, run: RunContext, features: &mut Features, cx: &Context) -> Result<Prompt> {
    let RunContext { model, adapter, processor, .. } = run;
    let stop = || cx.is_cancelled();
    let pictures = sample.images.iter().map(|image| {
        let features = features.get(&model.net, adapter, processor, image, &stop);
        features.map_err(|error| of_sample(sample, error))
    });
    Ok(Prompt {
        input_ids: sample.input_ids[..sample.answer_start].to_vec(),
        features: pictures.collect::<Result<_>>()?,
        grids: sample.images.iter().map(grid_thw).collect(),
    })
}

fn prompt_and_label(sample: &Encoded, run: RunContext) -> Result<(String, String)> {
    let (prompt, label) = sample.input_ids.split_at(sample.answer_start);
    let tokenizer = &run.model.tokenizer;
    Ok((tokenizer.decode(prompt, false)?, tokenizer.decode(label, true)?))
}

/// The boxes of an answer and of the label, some of whose marks are special tokens.
fn pictures(sample: &Encoded, answer: &[u32], run: RunContext) -> Result<Vec<DrawnPicture>> {
    let label = &sample.input_ids[sample.answer_start..];
    let [answer, label] = [answer, label].map(|tokens| run.model.tokenizer.decode(tokens, false));
    let own = boxes::own_scale(run.model.net.family);
    Ok(boxes::pictures([&answer?, &label?], &sample.images, run.processor, own))
}

/// `generated_predictions.jsonl`, a line for each prediction.
struct PredictionsFile {
    path: PathBuf,
    file: File,
}

/// A line, with the keys of LLaMA-Factory.
#[derive(Serialize)]
struct Line<'a> {
    prompt: &'a str,
    predict: &'a str,
    label: &'a str,
}

impl PredictionsFile {
    /// Starts the file anew; makes the folder where there is none.
    fn create(folder: PathBuf) -> Result<Self> {
        let path = folder.join(PREDICTIONS);
        let file = std::fs::create_dir_all(&folder).and_then(|()| File::create(&path));
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(Error::Write { path, source }),
        }
    }

    fn append(&mut self, Prediction { prompt, predict, label, .. }: &Prediction) -> Result<()> {
        let mut line = serde_json::to_vec(&Line { prompt, predict, label })
            .map_err(|source| Error::Json { path: self.path.clone(), source })?;
        line.push(b'\n');
        // In one write, so that a reader who follows the file sees whole lines.
        self.file.write_all(&line).map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}
