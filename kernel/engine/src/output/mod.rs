//! The output folder of a training, as LLaMA-Factory and PEFT lay it out.
//!
//! An output folder belongs to one training. A locked file in it names the process that holds it. Before the first
//! write, what another training has left there is moved to the folder `earlier`, and so are checkpoints of later steps
//! than the one that a training resumes from: choosing the latest checkpoint and deleting old ones go by step number,
//! so they must see the checkpoints of one run only.

mod csv_log;
mod earlier;
pub mod heat_map;
mod lock;
mod log;
pub mod plot;
mod png;
mod probes;
pub(crate) mod results;
mod skipped;
mod tensorboard;
mod trainer_log;
mod trainer_state;
mod undone;

use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;

use tunebook_data::Skipped;
use tunebook_files::replace_file;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::adapter::ModelShape;

use crate::checkpoint::folder;
use crate::chosen_data::ChosenData;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::finite;
use crate::model_card;
use crate::model_card::Contents;
use crate::model_card::Facts;
use crate::probes::ProbeRecord;
use crate::report::LoadReport;
use crate::report::PredictReport;
use crate::report::SaveReport;
use crate::run_state::RunState;
use crate::settings::Reporter;
use crate::settings::Settings;
use csv_log::CsvLog;
use lock::Lock;
use plot::Figure;
use tensorboard::Resumed;
use tensorboard::TensorBoard;
use tensorboard::Told;

pub use log::Entry;
pub use log::Log;
pub use png::png;

const PROBES: &str = "probes.jsonl";
const SKIPPED_SAMPLES: &str = "skipped_samples.jsonl";
const TRAINER_CSV: &str = "trainer_log.csv";
const TRAINER_LOG: &str = "trainer_log.jsonl";
const TRAINER_STATE: &str = "trainer_state.json";

/// The results of a training, as its folder shows them.
#[derive(Clone, Copy)]
pub struct Trained<'a> {
    pub run: &'a RunState,
    pub adapter: &'a Adapter,
    pub shape: &'a ModelShape,
    /// Samples per epoch.
    pub samples: usize,
    pub settings: &'a Settings,
    /// The base model.
    pub model: &'a LoadReport,
    pub data: Option<&'a ChosenData>,
    /// How near the adapter's answers come to those that were expected, where that is known.
    pub scores: Option<&'a PredictReport>,
}

/// A folder that a training is written to: a line of `trainer_log.jsonl` every `logging_steps` and for each evaluation, the
/// same in the files of `report_to`, checkpoints, and in the end the adapter, the results, the plots and the model card.
#[derive(Debug)]
pub struct OutputFolder {
    folder: PathBuf,
    base_model: String,
    log: Log,
    csv: CsvLog,
    /// None where what is written is a copy of a training that goes on elsewhere.
    tensorboard: Option<TensorBoard>,
    /// Held as long as this lives.
    _lock: Lock,
}

impl OutputFolder {
    /// Creates the folder for a new training, or uses an existing one. An earlier training in it is moved aside, which
    /// is announced. `base_model` is the model's folder or hub id.
    ///
    /// # Errors
    /// The folder holds a training or an adapter and `overwrite` is off; another process trains there; it cannot be
    /// written to.
    pub fn create(folder: &Path, overwrite: bool, base_model: &str, cx: &Context) -> Result<Self> {
        if !overwrite && let Some(found) = earlier::found(folder) {
            return Err(Error::OutputExists { path: folder.to_path_buf(), found });
        }
        let output = Self::open(folder, base_model, Log::default())?;
        output.tell_set_aside(earlier::set_aside(folder), cx)?;
        Ok(Self { tensorboard: Some(TensorBoard::default()), ..output })
    }

    /// Creates the folder to [`finish`](Self::finish) a training in, or uses an existing one, whose files of the same
    /// names are replaced.
    ///
    /// # Errors
    /// Another process trains there; it cannot be written to.
    pub fn to_save(folder: &Path, base_model: &str) -> Result<Self> {
        let output = Self::open(folder, base_model, Log::default())?;
        [TRAINER_LOG, TRAINER_CSV].iter().try_for_each(|name| delete(&folder.join(name)))?;
        Ok(output)
    }

    /// Reopens the folder of a training that was stopped after `step` and had logged `log`. Later entries of the log
    /// are removed and later checkpoints moved aside, which is announced.
    ///
    /// # Errors
    /// Another process trains there; the folder cannot be written to.
    pub fn resume(folder: &Path, base_model: &str, step: usize, log: Log, cx: &Context) -> Result<Self> {
        let mut output = Self::open(folder, base_model, log)?;
        output.tell_set_aside(earlier::set_aside_behind(folder, step), cx)?;
        output.rewrite_log()?;
        let resumed = Resumed { step, entries: output.log.entries.len() };
        Ok(Self { tensorboard: Some(TensorBoard::resume(resumed)), ..output })
    }

    fn open(folder: &Path, base_model: &str, log: Log) -> Result<Self> {
        let write_error = |source| Error::Write { path: folder.to_path_buf(), source };
        std::fs::create_dir_all(folder).map_err(write_error)?;
        // Better to hear now that nothing can be written than after hours of training.
        tempfile::tempfile_in(folder).map_err(write_error)?;
        let lock = Lock::take(folder)?;
        tunebook_files::sweep(folder);
        let (folder, base_model) = (folder.to_path_buf(), base_model.to_string());
        Ok(Self { folder, base_model, log, csv: CsvLog::default(), tensorboard: None, _lock: lock })
    }

    /// Makes the files of the log those of what the log is now.
    fn rewrite_log(&mut self) -> Result<()> {
        self.write(TRAINER_LOG, &trainer_log::lines(&self.log.entries))?;
        self.csv.rewrite(&self.folder.join(TRAINER_CSV), &self.log.entries)
    }

    fn tell_set_aside(&self, set_aside: std::io::Result<Option<PathBuf>>, cx: &Context) -> Result<()> {
        let set_aside = set_aside.map_err(|source| Error::Write { path: self.folder.clone(), source })?;
        if let Some(folder) = set_aside {
            cx.emit(Event::Note(Note::SetAside { folder }));
        }
        Ok(())
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lists skipped samples, each once; without any, there is no such file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add_skipped(&self, samples: &[Skipped]) -> Result<()> {
        let before = std::fs::read_to_string(self.folder.join(SKIPPED_SAMPLES)).unwrap_or_default();
        match skipped::lines_but(&before, samples) {
            new if new.is_empty() => Ok(()),
            new => self.write(SKIPPED_SAMPLES, (before + &new).as_bytes()),
        }
    }

    /// What has been logged.
    pub fn entries(&self) -> &Log {
        &self.log
    }

    /// Takes back what was written behind `step` and after so many evaluations: the log's entries, checkpoints, and, if
    /// they are of a later step, the results. What is not the log is set aside, together with what was before if `adds`;
    /// gives the folder with it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn take_back(
        &mut self,
        step: usize,
        evaluations: usize,
        are_results_later: bool,
        adds: bool,
    ) -> Result<Option<PathBuf>> {
        self.log = self.log.until(step, evaluations);
        self.rewrite_log()?;
        if let Some(tensorboard) = &mut self.tensorboard {
            tensorboard.take_back(step, &self.log.entries);
        }
        let aside = undone::set_aside(&self.folder, step, are_results_later, adds);
        aside.map_err(|source| Error::Write { path: self.folder.clone(), source })
    }

    /// Brings back what [`take_back`](Self::take_back) took, up to `step`, with this log and, if they were taken, the
    /// results.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn bring_back(&mut self, step: usize, log: Log, are_results_back: bool) -> Result<()> {
        self.log = log;
        self.rewrite_log()?;
        let back = undone::bring_back(&self.folder, step, are_results_back);
        back.map_err(|source| Error::Write { path: self.folder.clone(), source })
    }

    /// Logs new steps and evaluations, to all files that `report_to` asks for.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn log(&mut self, state: Trained) -> Result<()> {
        let RunState { records, evaluations, .. } = state.run;
        let new = self.log.catch_up(records, evaluations, state.settings.logging_steps);
        trainer_log::append(&self.folder.join(TRAINER_LOG), new)?;
        if state.settings.report_to.contains(&Reporter::Csv) {
            self.csv.follow(&self.folder.join(TRAINER_CSV), &self.log.entries)?;
        }
        self.tell(state, TensorBoard::follow)
    }

    /// Has TensorBoard be told of the training, if it is to be.
    fn tell(&mut self, state: Trained, tell: impl FnOnce(&mut TensorBoard, Told) -> Result<()>) -> Result<()> {
        let Self { folder, base_model, log, tensorboard, .. } = self;
        match tensorboard {
            Some(tensorboard) if state.settings.report_to.contains(&Reporter::Tensorboard) => {
                tell(tensorboard, Told { entries: &log.entries, state, output: folder, base_model })
            }
            _ => Ok(()),
        }
    }

    /// Writes the answers to probes; without any, there is no such file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn probes(&self, records: &[ProbeRecord]) -> Result<()> {
        match records {
            [] => delete(&self.folder.join(PROBES)),
            records => self.write(PROBES, &probes::lines(records)),
        }
    }

    /// Writes `checkpoint-STEP` atomically: the adapter, the trainer's state, and what `write` adds, given the log so
    /// far. Then deletes the oldest checkpoints beyond `save_total_limit`, but not that of step `best`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn checkpoint(
        &self,
        state: Trained,
        best: Option<usize>,
        write: impl FnOnce(&Path, &Log) -> Result<()>,
    ) -> Result<PathBuf> {
        let place = folder::place(&self.folder, state.run.step());
        folder::write(&place, |folder| {
            state.adapter.save(folder, state.shape, &self.base_model)?;
            let text = trainer_state::to_json(state.run, &self.log.entries, None, &self.folder, state.settings);
            let path = folder.join(TRAINER_STATE);
            replace_file(&path, text.as_bytes()).map_err(|source| Error::Write { path, source })?;
            write(folder, &self.log)
        })?;
        self.rotate(state.settings, best)?;
        Ok(place)
    }

    /// Deletes the oldest checkpoints beyond `save_total_limit`, but not that of step `best`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn rotate(&self, settings: &Settings, best: Option<usize>) -> Result<()> {
        settings.save_total_limit.map_or(Ok(()), |most| folder::rotate(&self.folder, most, best))
    }

    /// Writes the adapter and, if it has been trained, the log, the trainer's state, the results and the plots; and the model
    /// card.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn finish(&mut self, state: Trained) -> Result<SaveReport> {
        self.log(state)?;
        let files = state.adapter.save(&self.folder, state.shape, &self.base_model)?;
        let mut files: Vec<_> = files.iter().map(|file| file.to_string()).collect();
        let mut add = |names: &[String]| {
            names.iter().for_each(|name| {
                if !files.contains(name) {
                    files.push(name.clone())
                }
            })
        };
        if let Some(results) = results::train_results(&state.run.records, state.samples) {
            add(&results::save(&self.folder, "train", &results)?);
            self.tell(state, |tensorboard, told| tensorboard.finish(told, &results))?;
            let text =
                trainer_state::to_json(state.run, &self.log.entries, Some(results), &self.folder, state.settings);
            self.write(TRAINER_STATE, text.as_bytes())?;
            add(&[TRAINER_STATE.to_string()]);
        }
        let evaluation = if state.settings.load_best_model_at_end { state.run.best() } else { state.run.evaluation() };
        if let Some(record) = evaluation {
            add(&results::save(&self.folder, "eval", &results::eval_results(record))?);
        }
        let logs = [TRAINER_LOG, TRAINER_CSV].into_iter().filter(|name| self.folder.join(name).exists());
        add(&logs.map(str::to_string).collect::<Vec<_>>());
        self.probes(&state.run.probes)?;
        if !state.run.probes.is_empty() {
            add(&[PROBES.to_string()]);
        }
        for (key, points) in [("loss", self.log.losses()), ("eval_loss", self.log.eval_losses())] {
            if state.settings.plot_loss && !points.is_empty() {
                let name = format!("training_{key}.png");
                let figure = Figure::training(key, &self.folder.to_string_lossy(), points);
                self.write(&name, &figure.png()?)?;
                add(&[name]);
            }
        }
        add(&self.card(state)?.map(str::to_string).into_iter().collect::<Vec<_>>());
        Ok(SaveReport { folder: self.folder.clone(), files, not_finite: finite::of_adapter(state.adapter)? })
    }

    /// Writes the model card, unless somebody has taken it over.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn card(&self, state: Trained) -> Result<Option<&'static str>> {
        let Trained { run, adapter, settings, model, data, scores, .. } = state;
        let contents = if adapter.config.is_some() { Contents::Adapter } else { Contents::TrainedWeights };
        let facts = Facts { contents, model, adapter, run, log: &self.log.entries, data, settings, scores };
        model_card::write(&self.folder, facts)
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        replace_file(&path, contents).map_err(|source| Error::Write { path, source })
    }
}

/// Deletes a file of an earlier training, if there is one.
fn delete(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::Write { path: path.to_path_buf(), source }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
