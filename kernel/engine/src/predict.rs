//! Answers to samples, and how near they come to the answers that were expected.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;
use tunebook_data::Encoded;

use crate::adapters::Chosen;
use crate::bad_sample::BadSamples;
use crate::bad_sample::of_sample;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::evaluate::Samples;
use crate::event::Context;
use crate::event::Event;
use crate::event::Task;
use crate::generate::Choice;
use crate::generate::Prompt;
use crate::generate::generate;
use crate::metrics::Scores;
use crate::output::results;
use crate::output::results::Results;
use crate::pictures::Features;
use crate::pictures::grid_thw;
use crate::prefix::Prefix;
use crate::report::AnswerEnd;
use crate::report::PredictReport;
use crate::report::Prediction;

const PREDICTIONS: &str = "generated_predictions.jsonl";

/// Generates the last answer of every sample with the settings of `chat`, and scores it against the one that the sample
/// holds. Each prediction is heard by `on_prediction`, and with `output_dir` is a line of `generated_predictions.jsonl`,
/// as soon as it is there; in the end the mean scores are written beside it under LLaMA-Factory's names. A stop leaves
/// the predictions that are whole. A sample that cannot be used is left out, unless `on_bad_sample` is `stop`.
///
/// Texts are LLaMA-Factory's: the prompt with its special tokens and every image placeholder, the label with the line
/// feed that ends its turn.
///
/// # Errors
/// No sample can be used, or one cannot and is not left out; a file cannot be written; a stop before the first
/// prediction.
pub(crate) fn predict(
    samples: &Samples,
    chosen: &Chosen,
    run: RunContext,
    features: &mut Features,
    on_prediction: &mut dyn FnMut(&Prediction),
    cx: &Context,
) -> Result<PredictReport> {
    let settings = run.settings;
    let start = Instant::now();
    let total = samples.list.len();
    let mut file = settings.output_dir.clone().map(PredictionsFile::create).transpose()?;
    let (mut scores, mut new_tokens, mut cut) = (Vec::with_capacity(total), 0, 0);
    // Samples begin alike, with the system prompt.
    let mut prefix = Prefix::default();
    let mut bad = BadSamples::default();
    for (index, sample) in samples.list.iter().enumerate() {
        cx.emit(Event::Progress { task: Task::Predicting, done: index, total });
        let (text, tokens, end) = match answer(sample, index, &mut prefix, run, features, cx) {
            Ok((.., AnswerEnd::Interrupted)) | Err(Error::Cancelled) => break,
            Err(Error::BadSample(sample)) => {
                bad.leave_out(*sample, settings, cx)?;
                continue;
            }
            answered => answered?,
        };
        bad.end_row();
        let (prompt, label) = prompt_and_label(sample, run)?;
        let prediction = Prediction { index, total, scores: Scores::new(&text, &label), prompt, predict: text, label };
        if let Some(file) = &mut file {
            file.append(&prediction)?;
        }
        on_prediction(&prediction);
        scores.push(prediction.scores);
        new_tokens += tokens;
        cut += usize::from(end == AnswerEnd::MaxNewTokens);
    }
    if scores.is_empty() {
        let bad = bad.last().map(|last| Error::BadSample(Box::new(last.clone())));
        return Err(bad.unwrap_or(Error::Cancelled));
    }
    let left_out = bad.left_out().to_vec();
    cx.emit(Event::Progress { task: Task::Predicting, done: scores.len() + left_out.len(), total });
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

/// The text that is generated for a sample, how many tokens it has, and why it ended.
fn answer(
    sample: &Encoded,
    index: usize,
    prefix: &mut Prefix,
    run: RunContext,
    features: &mut Features,
    cx: &Context,
) -> Result<(String, usize, AnswerEnd)> {
    let RunContext { model, adapter, processor, settings } = run;
    let stop = || cx.is_cancelled();
    let pictures = sample.images.iter().map(|image| {
        let features = features.get(&model.net, adapter, processor, image, &stop);
        features.map_err(|error| of_sample(sample, error))
    });
    let prompt = Prompt {
        input_ids: sample.input_ids[..sample.answer_start].to_vec(),
        features: pictures.collect::<Result<_>>()?,
        grids: sample.images.iter().map(grid_thw).collect(),
    };
    let choice = Choice::new(settings, &model.generation, settings.seed.wrapping_add(index as u64));
    let mut tokens = Vec::new();
    let made = generate(prefix, model, adapter, &prompt, &choice, &stop, &mut |token| {
        tokens.push(token);
        Ok(())
    })?;
    Ok((model.tokenizer.decode(&tokens, true)?, tokens.len(), made.end))
}

fn prompt_and_label(sample: &Encoded, run: RunContext) -> Result<(String, String)> {
    let (prompt, label) = sample.input_ids.split_at(sample.answer_start);
    let tokenizer = &run.model.tokenizer;
    Ok((tokenizer.decode(prompt, false)?, tokenizer.decode(label, true)?))
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
