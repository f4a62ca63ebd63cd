//! The session: what is loaded, and the verbs that change it.

mod adapters;
mod answers;
mod held_settings;
mod training;
mod undo;
mod workers;
mod writing;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;
use tunebook_data::Encoded;
use tunebook_data::ImageProcessor;
use tunebook_data::Skipped;

use crate::adapters::Adapters;
use crate::chat_requests;
use crate::chosen_data::ChosenData;
use crate::chosen_data::Split;
use crate::conversation::Conversation;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::model::Model;
use crate::pictures::Features;
use crate::probes::Probe;
use crate::recovery;
use crate::report::DataReport;
use crate::report::LoadReport;
use crate::report::PredictReport;
use crate::report::SampleReport;
use crate::report::Status;
use crate::sample_text;
use crate::sample_text::SampleText;
use crate::settings::Settings;
use crate::settings::Tied;
use crate::system::resident_bytes;
use crate::workers::SharedWorkers;

pub use held_settings::tell_taken_back;
use training::Running;

/// One live session.
///
/// A verb that fails leaves the session as it was.
#[derive(Default)]
pub struct Session {
    settings: Settings,
    /// The settings that came with a model, data or an adapter, and their values before.
    tied: Tied,
    /// The keys of the recipe that was loaded last, with their values.
    given: Map<String, Value>,
    model: Option<Arc<Model>>,
    data: Option<Arc<ChosenData>>,
    /// Samples that the last call of [`Session::data`] skipped, even if it skipped all of them, and samples that have
    /// turned out to be unusable since.
    skipped: Vec<Skipped>,
    adapters: Adapters,
    conversation: Conversation,
    /// Of conversations that others hold.
    kept: chat_requests::Kept,
    /// The last scores, if nothing was trained since.
    predicted: Option<Predicted>,
    /// Questions that trainings ask themselves.
    probes: Vec<Probe>,
    /// Training samples that trainings leave out, by their numbers.
    dropped: BTreeSet<usize>,
    /// The system prompt that was announced last; none is the template's own, which is not announced.
    told_system: Option<String>,
    /// The template that was announced last, because it is not the model's own.
    told_template: Option<&'static str>,
    /// The changed settings of the data that were announced last.
    told_changed: Vec<String>,
    features: Features,
    /// The training that runs.
    running: Option<Running>,
    /// Who computes in place of this process.
    workers: Option<SharedWorkers>,
}

/// Scores, and after how many steps its adapter was given them.
struct Predicted {
    report: PredictReport,
    step: usize,
}

impl Session {
    /// Loads a model from a folder, or from a hub under that name (see [`crate::hub::model`]). The previous model is
    /// dropped with its data, adapters and conversation.
    pub fn load(&mut self, name: &Path, cx: &Context) -> Result<LoadReport> {
        self.check_no_training()?;
        let model = Model::open(name, &self.settings, cx)?;
        let report = model.report.clone();
        *self = Self { model: Some(Arc::new(model)), ..self.emptied() };
        Ok(report)
    }

    /// What the last call of [`Session::load`] has found; none without a model.
    pub fn load_report(&self) -> Option<&LoadReport> {
        self.model.as_ref().map(|model| &model.report)
    }

    /// Drops the model with its data, adapters and conversation; the settings stay.
    pub fn unload(&mut self) -> Result<()> {
        self.model()?;
        self.check_no_training()?;
        *self = self.emptied();
        Ok(())
    }

    /// Reads and encodes datasets that `dataset_info.json` in `settings.dataset_dir` declares. Every adapter keeps its
    /// weights, but its training starts from step 0. Settings that came with other data return to their earlier values,
    /// see [`Tied`].
    pub fn data(&mut self, names: &[String], cx: &Context) -> Result<DataReport> {
        self.tell_template(cx)?;
        self.check_no_training()?;
        let model = self.model()?;
        let (mut settings, mut tied) = (self.settings.clone(), self.tied.clone());
        let taken = tied.take_back_for(names, &mut settings);
        let read = ChosenData::read(names, model, &processor(model, &settings)?, &settings, cx);
        if let Err(Error::NoSamples { skipped, .. }) = &read {
            self.skipped.clone_from(skipped);
        }
        let data = read?;
        let report = data.report.clone();
        self.skipped.clone_from(&data.skipped);
        (self.settings, self.tied, self.data) = (settings, tied, Some(Arc::new(data)));
        tell_taken_back(taken, cx);
        self.adapters.restart();
        self.dropped.clear();
        Ok(report)
    }

    /// The samples that the last call of [`Session::data`] skipped, by dataset, file and position in it; then those
    /// that turned out to be unusable when their turn came.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// What the last call of [`Session::data`] has found; none without data.
    pub fn data_report(&self) -> Option<&DataReport> {
        self.data.as_ref().map(|data| &data.report)
    }

    /// Leaves training samples out from the next step on, by their numbers: what is left of their micro-batches is trained
    /// on, and the order of the others stays.
    ///
    /// # Errors
    /// There is no data, or no sample of that number; nothing is changed.
    pub fn data_drop(&mut self, numbers: &[usize]) -> Result<()> {
        let samples = self.data.as_ref().ok_or(Error::NoData)?.samples(Split::Train).len();
        if let Some(&index) = numbers.iter().find(|number| **number >= samples) {
            return Err(Error::NoSample { index, samples });
        }
        self.dropped.extend(numbers);
        Ok(())
    }

    /// Takes dropped samples back, or all.
    ///
    /// # Errors
    /// One was not dropped; nothing is changed.
    pub fn data_undrop(&mut self, numbers: Option<&[usize]>) -> Result<()> {
        match numbers {
            None => self.dropped.clear(),
            Some(numbers) => {
                if let Some(&number) = numbers.iter().find(|number| !self.dropped.contains(number)) {
                    return Err(Error::NotDropped { number, dropped: self.dropped.len() });
                }
                self.dropped.retain(|number| !numbers.contains(number));
            }
        }
        Ok(())
    }

    /// The numbers of the samples that are dropped.
    pub fn dropped(&self) -> &BTreeSet<usize> {
        &self.dropped
    }

    /// One encoded sample of a split, counted from 0.
    pub fn sample(&self, split: Split, index: usize) -> Result<SampleReport> {
        self.data.as_ref().ok_or(Error::NoData)?.sample(split, index, self.model()?)
    }

    /// The samples of a split as one reads them.
    ///
    /// # Errors
    /// There is no data.
    pub fn sample_texts(&self, split: Split) -> Result<Vec<SampleText>> {
        let (data, model) = (self.data.as_ref().ok_or(Error::NoData)?, self.model()?);
        let text = |(index, sample): (usize, &Encoded)| {
            Ok(SampleText {
                index,
                turns: sample_text::turns(sample, &model.tokenizer)?,
                images: sample.images.iter().map(|image| image.path.clone()).collect(),
                dropped: split == Split::Train && self.dropped.contains(&index),
            })
        };
        data.samples(split).into_iter().enumerate().map(text).collect()
    }

    pub fn status(&self) -> Status {
        let samples = self.data.as_ref().map_or(0, |data| data.train.len());
        let run = self.adapters.active().map(|(_, run)| run);
        Status {
            model: self.model.as_ref().map(|model| model.report.clone()),
            data: self.data_report().cloned(),
            adapters: self.adapters(),
            step: run.map_or(0, |run| run.step()),
            total_steps: run.map_or(0, |run| self.total_steps(run, samples)),
            last: run.and_then(|run| run.records().last().cloned()),
            turns: self.conversation.turns(),
            workers: self.workers().map_or(0, |report| report.workers.len()),
            recovered: recovery::checkpoints().into_iter().next(),
            system: self.system_prompt().ok(),
            resident_bytes: resident_bytes(),
        }
    }

    /// What is kept when the model is dropped.
    fn emptied(&mut self) -> Self {
        let (settings, given) = (std::mem::take(&mut self.settings), std::mem::take(&mut self.given));
        let (tied, probes) = (std::mem::take(&mut self.tied), std::mem::take(&mut self.probes));
        let workers = self.workers.take();
        Self { settings, given, tied, probes, workers, ..Self::default() }
    }

    fn model(&self) -> Result<&Model> {
        self.model.as_deref().ok_or(Error::NoModel)
    }
}

/// The model's image processor within the limits of the settings.
fn processor(model: &Model, settings: &Settings) -> Result<ImageProcessor> {
    Ok(model.processor.clone().with_limits(settings.image_max_pixels, settings.image_min_pixels)?)
}
