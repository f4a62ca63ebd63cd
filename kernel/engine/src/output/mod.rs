//! The output folder of a training, as LLaMA-Factory and PEFT lay it out.

pub mod plot;
pub(crate) mod results;
mod trainer_log;
mod trainer_state;

use std::path::Path;
use std::path::PathBuf;

use tunebook_nn::adapter::Adapter;
use tunebook_nn::adapter::LinearShape;
use tunebook_nn::replace_file::replace_file;

use crate::error::Error;
use crate::error::Result;
use crate::report::SaveReport;
use crate::report::StepRecord;
use crate::settings::Settings;
use plot::Figure;

const TRAINER_LOG: &str = "trainer_log.jsonl";
const TRAINER_STATE: &str = "trainer_state.json";

/// What a training has come to.
#[derive(Clone, Copy)]
pub struct TrainingState<'a> {
    /// Every optimizer step so far.
    pub records: &'a [StepRecord],
    pub adapter: &'a Adapter,
    pub linears: &'a [LinearShape],
    /// How many samples an epoch has.
    pub samples: usize,
    pub settings: &'a Settings,
}

/// A folder that a training is written to: a line of `trainer_log.jsonl` every `logging_steps`, a `checkpoint-N`
/// every `save_steps` and after the last one, and in the end the adapter, the results and the plot.
#[derive(Clone, Debug)]
pub struct OutputFolder {
    folder: PathBuf,
    base_model: String,
    /// What was logged: the last step of each window, with the mean of the window's losses.
    history: Vec<StepRecord>,
    /// How many steps the windows of `history` hold.
    logged: usize,
}

impl OutputFolder {
    /// Makes the folder, or takes one that is there. The log of an earlier training in it is deleted; its
    /// checkpoints stay. `base_model` is the model's folder or hub id.
    ///
    /// # Errors
    /// The folder holds a training or an adapter and `overwrite` is off; it cannot be written to.
    pub fn create(folder: &Path, overwrite: bool, base_model: &str) -> Result<Self> {
        if !overwrite && let Some(found) = earlier_output(folder) {
            return Err(Error::OutputExists { path: folder.to_path_buf(), found });
        }
        let write_error = |source| Error::Write { path: folder.to_path_buf(), source };
        std::fs::create_dir_all(folder).map_err(write_error)?;
        // Better to hear now that nothing can be written than after hours of training.
        tempfile::tempfile_in(folder).map_err(write_error)?;
        trainer_log::delete(&folder.join(TRAINER_LOG))?;
        Ok(Self { folder: folder.to_path_buf(), base_model: base_model.to_string(), history: Vec::new(), logged: 0 })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes what is due after an optimizer step.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn step(&mut self, state: TrainingState) -> Result<()> {
        self.log(state)?;
        let Some(last) = state.records.last() else { return Ok(()) };
        if last.step.is_multiple_of(state.settings.save_steps) || last.step == last.total_steps {
            self.checkpoint(last.step, state)?;
        }
        Ok(())
    }

    /// Writes the adapter and, where it has been trained, the log, the trainer's state, the results and the plot.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn finish(&mut self, state: TrainingState) -> Result<SaveReport> {
        self.log(state)?;
        state.adapter.save(&self.folder, state.linears, &self.base_model)?;
        let mut files = ["adapter_model.safetensors", "adapter_config.json"].map(str::to_string).to_vec();
        if let Some(results) = results::train_results(state.records, state.samples) {
            files.extend(results::save(&self.folder, "train", &results)?);
            let text = trainer_state::to_json(state.records, &self.history, Some(results), state.settings);
            self.write(TRAINER_STATE, text.as_bytes())?;
            files.push(TRAINER_STATE.to_string());
        }
        if !self.history.is_empty() {
            files.push(TRAINER_LOG.to_string());
        }
        if state.settings.plot_loss && !self.history.is_empty() {
            let points = self.history.iter().map(|entry| (entry.step as f64, entry.loss)).collect();
            let figure = Figure::training("loss", &self.folder.to_string_lossy(), points);
            self.write("training_loss.png", &figure.png()?)?;
            files.push("training_loss.png".to_string());
        }
        Ok(SaveReport { folder: self.folder.clone(), files })
    }

    /// Logs the windows of `logging_steps` that are full.
    fn log(&mut self, state: TrainingState) -> Result<()> {
        let start = self.history.len();
        for (index, record) in state.records.iter().enumerate().skip(self.logged) {
            if record.step.is_multiple_of(state.settings.logging_steps) {
                let window = &state.records[self.logged..=index];
                let loss = window.iter().map(|record| record.loss).sum::<f64>() / window.len() as f64;
                self.history.push(StepRecord { loss, ..record.clone() });
                self.logged = index + 1;
            }
        }
        trainer_log::append(&self.folder.join(TRAINER_LOG), &self.history[start..])
    }

    /// `trainer_state.json` comes last: a checkpoint that has it is whole.
    fn checkpoint(&self, step: usize, state: TrainingState) -> Result<()> {
        let name = format!("checkpoint-{step}");
        state.adapter.save(&self.folder.join(&name), state.linears, &self.base_model)?;
        let text = trainer_state::to_json(state.records, &self.history, None, state.settings);
        self.write(&format!("{name}/{TRAINER_STATE}"), text.as_bytes())
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        replace_file(&path, contents).map_err(|source| Error::Write { path, source })
    }
}

/// A file or folder by which one sees that a training or an adapter lies here.
fn earlier_output(folder: &Path) -> Option<String> {
    let names = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let ours = |name: &String| {
        [TRAINER_LOG, TRAINER_STATE, "adapter_config.json"].contains(&name.as_str()) || name.starts_with("checkpoint-")
    };
    names.filter(ours).min()
}

#[cfg(test)]
mod tests;
