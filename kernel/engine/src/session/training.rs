//! Training in a session: steps, checkpoints, snapshots, and what they leave.

use std::path::Path;
use std::path::PathBuf;

use tunebook_data::ImageError;

use super::Session;
use super::processor;
use crate::bad_sample;
use crate::checkpoint::Opened;
use crate::chosen_data::ChosenData;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::probes::Probe;
use crate::probes::ProbeRecord;
use crate::report::EvaluationRecord;
use crate::report::ResumeReport;
use crate::report::StepRecord;
use crate::report::TrainReport;
use crate::resume;
use crate::settings::Settings;
use crate::training::Run;
use crate::training::TrainInputs;
use crate::training::probes::Probes;
use crate::training_state::Snapshot;

impl Session {
    /// Has trainings answer a question before their first step and every `probe_steps`; images as for
    /// [`Session::chat`]. Asked again, it stays one probe. Returns its number, from 1 on.
    ///
    /// # Errors
    /// A model is loaded, and a picture cannot be read.
    pub fn probe(&mut self, question: &str, images: &[PathBuf]) -> Result<usize> {
        if self.model.is_some() {
            let processor = self.processor()?;
            images.iter().try_for_each(|image| processor.look(image).map(drop)).map_err(ImageError::from)?;
        }
        let probe = Probe { question: question.to_string(), images: images.to_vec() };
        if !self.probes.contains(&probe) {
            self.probes.push(probe.clone());
        }
        Ok(self.probes.iter().position(|known| *known == probe).map_or(0, |at| at + 1))
    }

    /// In the order in which they were given.
    pub fn probes(&self) -> &[Probe] {
        &self.probes
    }

    /// Drops the probe of that number, or all; what was answered stays.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn probe_drop(&mut self, number: Option<usize>) -> Result<()> {
        match number {
            None => self.probes.clear(),
            Some(number) if (1..=self.probes.len()).contains(&number) => _ = self.probes.remove(number - 1),
            Some(number) => return Err(Error::NoProbe { number, probes: self.probes.len() }),
        }
        Ok(())
    }

    /// The answers to probes during the training of the active adapter, by step.
    pub fn probe_records(&self) -> &[ProbeRecord] {
        self.adapters.active().map_or(&[], |(_, run)| run.probe_records())
    }

    /// Trains the active adapter for `steps` optimizer steps, or to the end of `num_train_epochs`.
    pub fn train(&mut self, steps: Option<usize>, cx: &Context) -> Result<TrainReport> {
        let system = self.system_prompt()?.text;
        let model = self.model.as_mut().ok_or(Error::NoModel)?;
        let data = self.data.as_ref().ok_or(Error::NoData)?;
        let processor = processor(model, &data.settings)?;
        let keys = resume::changed_since_data(&self.settings, &data.settings);
        if self.told_changed != keys && !keys.is_empty() {
            cx.emit(Event::Note(Note::FromNextData { keys: keys.clone() }));
        }
        self.told_changed = keys;
        let settings = &self.settings;
        // A step is faster, and gives their memory back, where weights lie in the file.
        model.decode_weights.clear();
        let (name, adapter, run) = self.adapters.active_mut().ok_or(Error::NoAdapter)?;
        let probes = Probes { list: &self.probes, system: &system };
        let inputs = TrainInputs { model, name, adapter, data, processor: &processor, settings, probes };
        let trained = run.train(&inputs, &mut self.features, steps, cx);
        bad_sample::list(&mut self.skipped, run.bad_samples());
        trained
    }

    /// Resumes from a checkpoint: its adapter is turned on, and the next [`Session::train`] continues with the very
    /// next micro-batch, so the rest of the training has the same bits as without the interruption. `from` is the
    /// checkpoint's folder, or an output folder, whose latest checkpoint is used; the default is `output_dir`.
    ///
    /// Settings are taken from the checkpoint, except those for which `is_meant` is true. Its datasets are read if no
    /// data is chosen.
    ///
    /// # Errors
    /// There is no checkpoint, or it is damaged; it belongs to another model or to other data, and the error says what
    /// differs.
    pub fn resume(
        &mut self,
        from: Option<&Path>,
        is_meant: &dyn Fn(&str) -> bool,
        cx: &Context,
    ) -> Result<ResumeReport> {
        let model = self.model()?;
        let folder = resume::find(from, self.settings.output_dir.as_deref())?;
        let opened = Opened::read(&folder)?;
        let fingerprint = opened.fingerprint();
        resume::check_model(&folder, &fingerprint.model, &resume::model_fingerprint(model))?;
        let resume::Resumed { mut settings, taken, differing } =
            resume::settings(fingerprint, &self.settings, is_meant, self.data.is_some())?;
        let output = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !is_meant("output_dir") {
            settings.output_dir = Some(output.to_path_buf());
        }
        let read = match &self.data {
            Some(_) => None,
            None => {
                Some(ChosenData::read(&fingerprint.data.names, model, &processor(model, &settings)?, &settings, cx)?)
            }
        };
        let data = read.as_ref().or(self.data.as_ref()).ok_or(Error::NoData)?;
        resume::check_data(
            &folder,
            &fingerprint.data,
            &data.fingerprint,
            resume::data_settings(fingerprint, &data.settings),
        )?;
        let (name, names) = (fingerprint.adapter.clone(), fingerprint.data.names.clone());
        let (adapter, run) = Run::resume(opened.load(&model.net)?, output.to_path_buf());
        let (step, micro_batches) = (run.step(), run.open_micro_batches());
        let total_steps = run.total_steps(data.train.len(), &settings);

        if self.probes.is_empty() {
            self.probes = run.probe_records().last().map(ProbeRecord::probes).unwrap_or_default();
        }
        let adapter = self.adapters.add_trained(&name, adapter, run);
        let data = read.as_ref().map(|data| data.report.clone());
        let before = std::mem::replace(&mut self.settings, settings);
        if read.is_some() {
            self.settings.dataset = names;
            self.data = read;
            self.skipped = self.data.as_ref().map(|data| data.skipped.clone()).unwrap_or_default();
            self.tie_data(&before);
        }
        Ok(ResumeReport { checkpoint: folder, adapter, step, total_steps, micro_batches, taken, differing, data })
    }

    /// Writes a checkpoint of the active adapter's training to `output_dir`, as it stands; see [`Session::resume`].
    ///
    /// # Errors
    /// There is no data, adapter or `output_dir`; the disk refuses.
    pub fn checkpoint(&mut self, cx: &Context) -> Result<PathBuf> {
        let model = self.model.as_ref().ok_or(Error::NoModel)?;
        let data = self.data.as_ref().ok_or(Error::NoData)?;
        let processor = processor(model, &data.settings)?;
        let (name, adapter, run) = self.adapters.active_mut().ok_or(Error::NoAdapter)?;
        let (processor, settings, probes) = (&processor, &self.settings, Probes::default());
        let inputs = TrainInputs { model, name, adapter, data, processor, settings, probes };
        run.checkpoint(&inputs, cx)
    }

    /// Copies the values of the active adapter and the state of its training, so that [`Session::restore`] can go back
    /// to them.
    ///
    /// # Errors
    /// No adapter is on; its device fails.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let (adapter, run) = self.adapters.active().ok_or(Error::NoAdapter)?;
        run.snapshot(adapter)
    }

    /// Restores the active adapter and its training. What follows has the bits that it would have had then, if data and
    /// settings are the same.
    ///
    /// # Errors
    /// No adapter is on; the snapshot is of one with other parameters; its device fails.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<()> {
        let (_, adapter, run) = self.adapters.active_mut().ok_or(Error::NoAdapter)?;
        run.restore(adapter, snapshot)
    }

    /// The records of all optimizer steps of the active adapter.
    pub fn history(&self) -> &[StepRecord] {
        self.adapters.active().map_or(&[], |(_, run)| run.records())
    }

    /// Number of optimizer steps of the active adapter; 0 without one.
    pub fn step(&self) -> usize {
        self.adapters.active().map_or(0, |(_, run)| run.step())
    }

    /// The records of all evaluations during the training of the active adapter.
    pub fn evaluations(&self) -> &[EvaluationRecord] {
        self.adapters.active().map_or(&[], |(_, run)| run.evaluations())
    }

    /// Writes a checkpoint of each training that is not on disk as it stands, before the process ends: that of the
    /// active adapter to `output_dir`, others to the user's [recovery](crate::recovery) folder. Returns the folders.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn keep(&mut self, cx: &Context) -> Result<Vec<PathBuf>> {
        let (Some(model), Some(data)) = (&self.model, &self.data) else { return Ok(Vec::new()) };
        let processor = processor(model, &data.settings)?;
        let elsewhere = Settings { output_dir: None, ..self.settings.clone() };
        let mut kept = Vec::new();
        for (name, adapter, run, is_active) in self.adapters.all_mut().filter(|(.., run, _)| !run.is_kept()) {
            let settings = if is_active { &self.settings } else { &elsewhere };
            let (processor, probes) = (&processor, Probes::default());
            let inputs = TrainInputs { model, name, adapter, data, processor, settings, probes };
            kept.extend(run.keep(&inputs, cx)?);
        }
        Ok(kept)
    }
}
