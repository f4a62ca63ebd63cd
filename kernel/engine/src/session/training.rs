//! Training in a session: steps, checkpoints, snapshots, and what they leave.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use tunebook_data::ImageError;

use super::Session;
use super::processor;
use crate::adapters::Live;
use crate::bad_sample;
use crate::checkpoint::Opened;
use crate::chosen_data::ChosenData;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::model::Model;
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
use crate::training::changes::Changes;
use crate::training::changes::Followed;
use crate::training::job::TrainJob;

/// A training that runs, as its session knows it.
pub(super) struct Running {
    pub(super) adapter: String,
    step: usize,
    total_steps: usize,
    changes: Changes,
    /// What it follows, or is going to.
    told: Followed,
}

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
        let mut job = self.begin_training(steps, cx)?;
        let trained = job.train(cx);
        self.end_training(job);
        trained
    }

    /// What [`Session::train`] begins with. Until [`Session::end_training`] the session can be used: it answers with the
    /// adapter as it is after the last step, and shows what it [hears](Session::hear) of the training.
    ///
    /// # Errors
    /// There is no model, data or adapter; a training runs already; settings exclude each other, a file cannot be
    /// written, the memory does not suffice.
    pub fn begin_training(&mut self, steps: Option<usize>, cx: &Context) -> Result<TrainJob> {
        self.model()?;
        let data = self.data.as_ref().ok_or(Error::NoData)?;
        self.check_no_training()?;
        let keys = resume::changed_since_data(&self.settings, &data.settings);
        if self.told_changed != keys && !keys.is_empty() {
            cx.emit(Event::Note(Note::FromNextData { keys: keys.clone() }));
        }
        self.told_changed = keys;
        self.make_room_for_training();
        let (inputs, run) = self.train_inputs()?;
        let call = run.begin(&inputs, steps, cx)?;
        let outline = run.outline();
        let (run, changes) = (std::mem::replace(run, outline), Changes::default());
        self.running = Some(Running {
            adapter: inputs.name.clone(),
            step: run.step(),
            total_steps: call.total_steps,
            changes: changes.clone(),
            told: self.followed(),
        });
        inputs.model.set_training(true);
        self.predicted = None;
        Ok(TrainJob { inputs, run, features: self.features.shared(), call, changes })
    }

    /// A step is faster, and gives their memory back, where weights lie in the file.
    pub(super) fn make_room_for_training(&mut self) {
        if let Some(model) = self.model.as_mut().and_then(Arc::get_mut) {
            model.decode_weights.clear();
        }
    }

    /// The end of a training, whatever has ended it: the session has all of it again.
    pub fn end_training(&mut self, job: TrainJob) {
        let TrainJob { inputs, run, .. } = job;
        inputs.model.set_training(false);
        bad_sample::list(&mut self.skipped, run.bad_samples());
        if let Some(known) = self.adapters.run_mut(&inputs.name) {
            *known = run;
        }
        (self.running, self.predicted) = (None, None);
    }

    /// Takes in what the training that runs tells.
    pub fn hear(&mut self, event: &Event) {
        let Some(running) = &mut self.running else { return };
        match event {
            Event::MicroBatch { total_steps, .. } => running.total_steps = *total_steps,
            Event::Step(record) => running.step = record.step,
            _ => {}
        }
        if let Some(run) = self.adapters.run_mut(&running.adapter) {
            run.hear(event);
        }
    }

    /// Tells the training that runs what has changed: it counts from its next step on.
    pub fn pass_on_changes(&mut self) {
        let Some(running) = &self.running else { return };
        let Followed { settings, probes, dropped } = &running.told;
        if *settings != self.settings || *probes != self.probes || *dropped != self.dropped {
            let followed = self.followed();
            if let Some(running) = &mut self.running {
                running.changes.tell(followed.clone());
                running.told = followed;
            }
        }
    }

    fn followed(&self) -> Followed {
        Followed { settings: self.settings.clone(), probes: self.probes.clone(), dropped: self.dropped.clone() }
    }

    /// What cannot be changed under a training.
    ///
    /// # Errors
    /// A training runs.
    pub fn check_no_training(&self) -> Result<()> {
        match &self.running {
            None => Ok(()),
            Some(Running { adapter, step, total_steps, .. }) => {
                Err(Error::Training { adapter: adapter.clone(), step: *step, total_steps: *total_steps })
            }
        }
    }

    /// Optimizer steps of a training in all. The session does not know at which sample one stands that runs.
    pub(super) fn total_steps(&self, run: &Run, samples: usize) -> usize {
        match &self.running {
            Some(running) if self.adapters.active_name() == Some(&running.adapter) => running.total_steps,
            _ => run.total_steps(samples, &self.settings),
        }
    }

    /// What the training of the active adapter reads, and it.
    pub(super) fn train_inputs(&mut self) -> Result<(TrainInputs, &mut Run)> {
        let model = self.model.as_ref().ok_or(Error::NoModel)?;
        let data = self.data.as_ref().ok_or(Error::NoData)?;
        let live = self.adapters.active_mut().ok_or(Error::NoAdapter)?;
        let inputs = inputs(model, data, &live, &self.settings, (&self.probes, &self.dropped))?;
        Ok((TrainInputs { workers: self.workers.clone(), ..inputs }, live.run))
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
        self.check_no_training()?;
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
        let data = read.as_ref().or(self.data.as_deref()).ok_or(Error::NoData)?;
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
        self.dropped.clone_from(run.dropped());
        let adapter = self.adapters.add_trained(&name, adapter, run);
        let data = read.as_ref().map(|data| data.report.clone());
        let before = std::mem::replace(&mut self.settings, settings);
        if read.is_some() {
            self.settings.dataset = names;
            self.data = read.map(Arc::new);
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
        self.check_no_training()?;
        let (inputs, run) = self.train_inputs()?;
        run.checkpoint(&inputs, cx)
    }

    /// The records of all optimizer steps of the active adapter.
    pub fn history(&self) -> &[StepRecord] {
        self.adapters.active().map_or(&[], |(_, run)| run.records())
    }

    /// The records of all optimizer steps of the adapter of that name.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn history_of(&self, adapter: &str) -> Result<&[StepRecord]> {
        Ok(self.adapters.run(adapter)?.records())
    }

    /// The records of all evaluations during the training of the adapter of that name.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn evaluations_of(&self, adapter: &str) -> Result<&[EvaluationRecord]> {
        Ok(self.adapters.run(adapter)?.evaluations())
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
        self.check_no_training()?;
        let elsewhere = Settings { output_dir: None, ..self.settings.clone() };
        let mut kept = Vec::new();
        for live in self.adapters.all_mut().filter(|live| !live.run.is_kept()) {
            let settings = if live.is_active { &self.settings } else { &elsewhere };
            kept.extend(live.run.keep(&inputs(model, data, &live, settings, (&[], &self.dropped))?, cx)?);
        }
        Ok(kept)
    }
}

/// What the training of an adapter reads.
fn inputs(
    model: &Arc<Model>,
    data: &Arc<ChosenData>,
    live: &Live,
    settings: &Settings,
    (probes, dropped): (&[Probe], &BTreeSet<usize>),
) -> Result<TrainInputs> {
    Ok(TrainInputs {
        model: Arc::clone(model),
        name: live.name.to_string(),
        is_branch: live.is_branch,
        adapter: live.adapter.clone(),
        data: Arc::clone(data),
        processor: processor(model, &data.settings)?,
        settings: settings.clone(),
        probes: probes.to_vec(),
        dropped: dropped.clone(),
        workers: None,
    })
}
