//! What of a training is written to the disk: the output folder, checkpoints, the list of bad samples.

use std::path::Path;
use std::path::PathBuf;

use tunebook_nn::adapter::Adapter;

use super::Run;
use super::TrainInputs;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::Fingerprint;
use crate::checkpoint::folder;
use crate::chosen_data::ChosenData;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::model::Model;
use crate::model_card;
use crate::model_card::Contents;
use crate::model_card::Facts;
use crate::output::Log;
use crate::output::OutputFolder;
use crate::output::Trained;
use crate::recovery;
use crate::report::PredictReport;
use crate::report::SaveReport;
use crate::resume;
use crate::run_state::RunState;
use crate::settings::SaveStrategy;
use crate::settings::Settings;

impl Run {
    /// Writes the adapter and the log of its training into `folder`, with its model card.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save(
        &mut self,
        (model, adapter): (&Model, &Adapter),
        (data, scores): (Option<&ChosenData>, Option<&PredictReport>),
        settings: &Settings,
        folder: &Path,
    ) -> Result<SaveReport> {
        let report = self.write((model, adapter), (data, scores), settings, folder)?;
        self.kept = self.state.run.micro_batches;
        Ok(report)
    }

    /// The same for a folder that does not stay.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write(
        &self,
        (model, adapter): (&Model, &Adapter),
        (data, scores): (Option<&ChosenData>, Option<&PredictReport>),
        settings: &Settings,
        folder: &Path,
    ) -> Result<SaveReport> {
        let (shape, samples) = (&model.net.shape, data.map_or(0, |data| data.train.len()));
        let (run, model) = (&self.state.run, &model.report);
        let state = Trained { run, adapter, shape, samples, settings, model, data, scores };
        OutputFolder::to_save(folder, &model.name)?.finish(state)
    }

    /// Writes the card of a model that the adapter was merged into to its folder, and gives its name.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn card_of_model(
        &self,
        (model, adapter): (&Model, &Adapter),
        (data, scores): (Option<&ChosenData>, Option<&PredictReport>),
        settings: &Settings,
        folder: &Path,
    ) -> Result<Option<String>> {
        let (run, model) = (&self.state.run, &model.report);
        let mut log = Log::default();
        log.catch_up(&run.records, &run.evaluations, settings.logging_steps);
        let facts = Facts { contents: Contents::Model, model, adapter, run, log: &log.entries, data, settings, scores };
        Ok(model_card::write(folder, facts)?.map(str::to_string))
    }

    /// Adds scores to the card of a training that has ended.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn tell_scores(&self, inputs: &TrainInputs, scores: &PredictReport) -> Result<()> {
        match &self.output {
            Some(output) if self.finished == Some(self.step()) => {
                output.card(Trained { scores: Some(scores), ..state(&self.state.run, inputs) }).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Whether nothing would be lost if the process ended now.
    pub fn is_kept(&self) -> bool {
        self.kept == self.state.run.micro_batches
    }

    /// Writes a checkpoint before the process ends: to the output folder, or where that cannot be used, to the
    /// user's [`recovery`] folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn keep(&mut self, inputs: &TrainInputs, cx: &Context) -> Result<Option<PathBuf>> {
        if self.open_output(inputs, cx).is_err() || self.output.is_none() {
            self.output =
                Some(OutputFolder::create(&recovery::place(&inputs.name)?, false, &inputs.model.report.name, cx)?);
        }
        self.write_checkpoint(inputs)
    }

    /// Writes a checkpoint of where the training stands to `output_dir`.
    ///
    /// # Errors
    /// There is no `output_dir`, or it holds another training; a file cannot be written.
    pub fn checkpoint(&mut self, inputs: &TrainInputs, cx: &Context) -> Result<PathBuf> {
        self.open_output(inputs, cx)?;
        if let Some(output) = &mut self.output {
            output.log(state(&self.state.run, inputs))?;
        }
        self.write_checkpoint(inputs)?.ok_or(Error::NoOutputDir)
    }

    /// Keeps a training that ends with `error` in a checkpoint, if it can go on.
    pub(super) fn failed(&mut self, error: Error, inputs: &TrainInputs, cx: &Context) -> Error {
        let goes_on = matches!(
            error,
            Error::BadSample(_)
                | Error::BadSamplesInARow { .. }
                | Error::NotFinite { .. }
                | Error::Model(tunebook_nn::Error::WeightsChanged { .. })
        );
        if goes_on && inputs.settings.save_strategy != SaveStrategy::No {
            // What is wrong is told by the first error.
            if let Ok(Some(checkpoint)) = self.write_checkpoint(inputs) {
                cx.emit(Event::Note(Note::Kept { checkpoint }));
            }
        }
        error
    }

    /// Takes the folder that `output_dir` names, where it is not the one in use.
    pub(super) fn open_output(&mut self, inputs: &TrainInputs, cx: &Context) -> Result<()> {
        let TrainInputs { model, settings, data, .. } = inputs;
        let folder = inputs.output_dir();
        if self.output.as_ref().map(OutputFolder::folder) == folder.as_deref() {
            return Ok(());
        }
        let Some(folder) = &folder else {
            self.output = None;
            return Ok(());
        };
        let name = &model.report.name;
        let output = match &self.resumed {
            Some((output, log)) if is_same_folder(output, folder) => {
                let output = OutputFolder::resume(folder, name, self.step(), log.clone(), cx)?;
                // The process may have died before it came to this.
                output.rotate(settings, self.best_to_keep(settings))?;
                output
            }
            _ => OutputFolder::create(folder, settings.overwrite_output_dir, name, cx)?,
        };
        output.add_skipped(&data.skipped)?;
        output.probes(&self.state.run.probes)?;
        self.output = Some(output);
        self.resumed = None;
        Ok(())
    }

    /// Adds those that were met to the list in the output folder.
    pub(super) fn list_bad_samples(&self) -> Result<()> {
        self.output.as_ref().map_or(Ok(()), |output| output.add_skipped(self.bad_samples.known()))
    }

    pub(super) fn log(&mut self, inputs: &TrainInputs) -> Result<()> {
        self.output.as_mut().map_or(Ok(()), |output| output.log(state(&self.state.run, inputs)))
    }

    /// Gives its folder; none without `output_dir`.
    pub(super) fn write_checkpoint(&mut self, inputs: &TrainInputs) -> Result<Option<PathBuf>> {
        let Some(output) = &self.output else { return Ok(None) };
        let TrainInputs { model, name, adapter, data, settings, .. } = inputs;
        let write = |folder: &Path, log: &Log| {
            if settings.save_only_model {
                return Ok(());
            }
            let fingerprint = Fingerprint {
                model: resume::model_fingerprint(model),
                data: data.fingerprint.clone(),
                adapter: name.clone(),
                settings: resume::settings_to_keep(settings, &data.settings),
            };
            Checkpoint::write(folder, fingerprint, adapter, &self.state, log)
        };
        let place = output.checkpoint(state(&self.state.run, inputs), self.best_to_keep(settings), write)?;
        self.kept = self.state.run.micro_batches;
        Ok(Some(place))
    }

    /// The step of the best checkpoint, where somebody is going to ask for it.
    pub(super) fn best_to_keep(&self, settings: &Settings) -> Option<usize> {
        let asks_for_best = settings.load_best_model_at_end
            || settings.early_stopping_steps.is_some()
            || settings.save_strategy == SaveStrategy::Best;
        self.state.run.best().map(|best| best.step).filter(|_| asks_for_best)
    }

    /// The checkpoint of a step, if there is one.
    pub(super) fn place(&self, step: usize) -> Option<PathBuf> {
        self.output.as_ref().map(|output| folder::place(output.folder(), step)).filter(|place| place.is_dir())
    }
}

/// The folder that the training of an adapter is written to; a branch, given by its name, has one of its own in that of
/// the settings.
pub(crate) fn output_dir(settings: &Settings, branch: Option<&str>) -> Option<PathBuf> {
    let output = settings.output_dir.as_ref()?;
    let plain = |name: &str| -> String {
        name.chars().map(|c| if c.is_alphanumeric() || "-_.=".contains(c) { c } else { '_' }).collect()
    };
    Some(branch.map_or_else(|| output.clone(), |name| output.join(plain(name))))
}

pub(super) fn state<'a>(run: &'a RunState, inputs: &'a TrainInputs) -> Trained<'a> {
    let TrainInputs { model, adapter, data, settings, .. } = inputs;
    let (shape, samples) = (&model.net.shape, data.train.len());
    Trained { run, adapter, shape, samples, settings, model: &model.report, data: Some(data), scores: None }
}

fn is_same_folder(a: &Path, b: &Path) -> bool {
    let [a, b] = [a, b].map(|path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf()));
    a == b
}
