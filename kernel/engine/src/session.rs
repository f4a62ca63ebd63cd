//! The session: what is loaded, and the verbs that change it.

mod held_settings;

use std::path::Path;
use std::path::PathBuf;

use candle_core::Var;
use serde_json::Map;
use serde_json::Value;
use tunebook_data::ImageError;
use tunebook_data::ImageProcessor;
use tunebook_data::Skipped;
use tunebook_data::Template;
use tunebook_quote::quote;

use crate::adapters::Adapters;
use crate::adapters::Chosen;
use crate::bad_sample;
use crate::checkpoint::Opened;
use crate::chosen_data::ChosenData;
use crate::chosen_data::Split;
use crate::compare;
use crate::conversation::Conversation;
use crate::conversation::Question;
use crate::conversation::RunContext;
use crate::device;
use crate::error::Error;
use crate::error::Result;
use crate::evaluate;
use crate::evaluate::Samples;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::export;
use crate::finite;
use crate::hub;
use crate::memory::resident_bytes;
use crate::methods;
use crate::model::Model;
use crate::nearest::nearest;
use crate::pictures::Features;
use crate::predict;
use crate::probes::Probe;
use crate::probes::ProbeRecord;
use crate::recovery;
use crate::report::AdapterReport;
use crate::report::ChatReport;
use crate::report::CompareReport;
use crate::report::ComparedAnswer;
use crate::report::DataReport;
use crate::report::EvaluateReport;
use crate::report::EvaluationRecord;
use crate::report::ExportReport;
use crate::report::LoadReport;
use crate::report::PredictReport;
use crate::report::Prediction;
use crate::report::ResumeReport;
use crate::report::SampleReport;
use crate::report::SaveReport;
use crate::report::Status;
use crate::report::StepRecord;
use crate::report::SystemPrompt;
use crate::report::SystemPromptSource;
use crate::report::TensorReport;
use crate::report::TrainReport;
use crate::resume;
use crate::settings::FinetuningType;
use crate::settings::Settings;
use crate::settings::Tied;
use crate::system_prompt;
use crate::training::Run;
use crate::training::TrainInputs;
use crate::training::probes::Probes;
use crate::training_state::Snapshot;

pub use held_settings::tell_taken_back;

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
    model: Option<Model>,
    data: Option<ChosenData>,
    /// Samples that the last call of [`Session::data`] skipped, even if it skipped all of them, and samples that have
    /// turned out to be unusable since.
    skipped: Vec<Skipped>,
    adapters: Adapters,
    conversation: Conversation,
    /// Questions that trainings ask themselves.
    probes: Vec<Probe>,
    /// The system prompt that was announced last; none is the template's own, which is not announced.
    told_system: Option<String>,
    /// The template that was announced last, because it is not the model's own.
    told_template: Option<&'static str>,
    /// The changed settings of the data that were announced last.
    told_changed: Vec<String>,
    features: Features,
}

impl Session {
    /// Loads a model from a folder, or from a hub under that name (see [`hub::model`]). The previous model is dropped
    /// with its data, adapters and conversation.
    pub fn load(&mut self, name: &Path, cx: &Context) -> Result<LoadReport> {
        let folder = hub::model(name, &self.settings, cx)?;
        let mut model = Model::load(&folder, self.settings.dtype, device::open(self.settings.device)?)?;
        model.report.name = name.display().to_string();
        if let Some(bit) = self.settings.quantization_bit {
            model.quantize(bit, cx)?;
        }
        model.upload(cx)?;
        let report = model.report.clone();
        *self = Self { model: Some(model), ..self.emptied() };
        Ok(report)
    }

    /// Drops the model with its data, adapters and conversation; the settings stay.
    pub fn unload(&mut self) -> Result<()> {
        self.model()?;
        *self = self.emptied();
        Ok(())
    }

    /// Reads and encodes datasets that `dataset_info.json` in `settings.dataset_dir` declares. Every adapter keeps its
    /// weights, but its training starts from step 0. Settings that came with other data return to their earlier values,
    /// see [`Tied`].
    pub fn data(&mut self, names: &[String], cx: &Context) -> Result<DataReport> {
        self.tell_template(cx)?;
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
        (self.settings, self.tied, self.data) = (settings, tied, Some(data));
        tell_taken_back(taken, cx);
        self.adapters.restart();
        Ok(report)
    }

    /// The samples that the last call of [`Session::data`] skipped, by dataset, file and position in it; then those
    /// that turned out to be unusable when their turn came.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// One encoded sample of a split, counted from 0.
    pub fn sample(&self, split: Split, index: usize) -> Result<SampleReport> {
        self.data.as_ref().ok_or(Error::NoData)?.sample(split, index, self.model()?)
    }

    /// Creates a LoRA adapter from the settings and turns it on.
    pub fn lora(&mut self, name: Option<&str>, cx: &Context) -> Result<AdapterReport> {
        let settings = &self.settings;
        let stop = || cx.is_cancelled();
        let adapter = self.model()?.net.lora(methods::lora_config(settings), settings.seed, &stop)?;
        self.adapters.add(name, adapter)?;
        self.forget_origin();
        self.settings.finetuning_type = FinetuningType::Lora;
        self.active_report()
    }

    /// Freeze tuning: creates an adapter that holds float32 copies of some of the model's own layers, chosen by the
    /// settings, and turns it on. The copies are trained and replace the frozen weights; the model itself does not
    /// change.
    pub fn freeze(&mut self, name: Option<&str>) -> Result<AdapterReport> {
        let adapter = methods::freeze(&self.model()?.net, &self.settings)?;
        self.adapters.add(name, adapter)?;
        self.forget_origin();
        self.settings.finetuning_type = FinetuningType::Freeze;
        self.active_report()
    }

    /// Full tuning: the same with all weights that the settings do not freeze.
    pub fn full(&mut self, name: Option<&str>) -> Result<AdapterReport> {
        let adapter = methods::full(&self.model()?.net, &self.settings)?;
        self.adapters.add(name, adapter)?;
        self.forget_origin();
        self.settings.finetuning_type = FinetuningType::Full;
        self.active_report()
    }

    /// Every adapter of the session, in order of creation.
    pub fn adapters(&self) -> Vec<AdapterReport> {
        let base = self.model.as_ref().map_or(0, |model| model.net.parameters);
        self.adapters.reports(base)
    }

    /// Loads a PEFT adapter folder and turns it on; without a name it is called like the folder.
    pub fn adapter_load(&mut self, folder: &Path, name: Option<&str>) -> Result<AdapterReport> {
        let adapter = self.model()?.net.load_adapter(folder)?;
        let own = folder.file_name().map(|n| n.to_string_lossy().into_owned());
        let not_finite = finite::of_adapter(&adapter)?;
        self.adapters.add(name.or(own.as_deref()), adapter)?;
        self.forget_origin();
        Ok(AdapterReport { not_finite, ..self.active_report()? })
    }

    pub fn adapter_use(&mut self, name: &str) -> Result<AdapterReport> {
        self.adapters.turn_on(name)?;
        self.active_report()
    }

    /// Turns the adapter off, so that the base model answers; the adapters stay loaded.
    pub fn adapter_off(&mut self) -> Result<()> {
        self.adapters.turn_off()
    }

    pub fn adapter_drop(&mut self, name: &str) -> Result<()> {
        self.adapters.drop(name)
    }

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

    /// The trained tensors of the active adapter, by their names in PEFT's files without `base_model.model.`: all of
    /// them, or the one of that name.
    pub fn tensors(&self, name: Option<&str>) -> Result<Vec<TensorReport>> {
        let (adapter, _) = self.adapters.active().ok_or(Error::NoAdapter)?;
        let vars = adapter.vars();
        if let Some(name) = name.filter(|name| vars.iter().all(|(known, _)| known != name)) {
            let nearest = nearest(name, vars.iter().map(|(known, _)| known.as_str()));
            return Err(Error::NoTensor { name: quote(name), nearest });
        }
        let wanted = vars.into_iter().filter(|(known, _)| name.is_none_or(|name| known == name));
        let report = |(name, var): (String, Var)| {
            let values = var.flatten_all()?.to_vec1()?;
            Ok(TensorReport { name, shape: var.dims().to_vec(), values })
        };
        wanted.map(report).collect()
    }

    /// The records of all evaluations during the training of the active adapter.
    pub fn evaluations(&self) -> &[EvaluationRecord] {
        self.adapters.active().map_or(&[], |(_, run)| run.evaluations())
    }

    /// Adds a user turn (with images, in front of the text if it holds no `<image>`) and streams the answer. The system
    /// prompt is [`Session::system_prompt`]; a change of it is announced.
    pub fn chat(&mut self, text: &str, images: &[PathBuf], cx: &Context) -> Result<ChatReport> {
        let answers = self.ask(text, images, 1, cx)?;
        answers.into_iter().next().map(|answer| answer.report).ok_or(Error::Cancelled)
    }

    /// The same with `n` answers, each with its own seed. They are named by their numbers from 1 on; the first is that of
    /// [`Session::chat`], and with it the conversation goes on.
    pub fn chat_n(&mut self, text: &str, images: &[PathBuf], n: usize, cx: &Context) -> Result<CompareReport> {
        let answers = self.ask(text, images, n, cx)?;
        Ok(CompareReport { question: text.to_string(), images: images.to_vec(), answers, asked: n })
    }

    fn ask(&mut self, text: &str, images: &[PathBuf], n: usize, cx: &Context) -> Result<Vec<ComparedAnswer>> {
        let processor = self.processor()?;
        self.tell_template(cx)?;
        let system = self.tell_system_prompt(cx)?;
        let model = self.model.as_ref().ok_or(Error::NoModel)?;
        let adapter = self.adapters.active().map(|(adapter, _)| adapter);
        let labels = self.data.as_ref().map(ChosenData::labels);
        let run = RunContext { model, adapter, processor: &processor, settings: &self.settings, labels };
        let question = Question { system: &system, text, images };
        self.conversation.ask(question, n, run, &mut self.features, cx)
    }

    /// The chat template: the one of the settings, or else the model's own.
    ///
    /// # Errors
    /// Neither is there.
    pub fn template(&self) -> Result<&'static Template> {
        let own = self.model.as_ref().map(|model| model.template);
        self.settings.template.or(own).ok_or(Error::NoModel)
    }

    /// The system prompt of `chat` and `compare`: `default_system`, or else the one that all samples of the data share,
    /// or else the template's own.
    ///
    /// # Errors
    /// There is no template: no model is loaded.
    pub fn system_prompt(&self) -> Result<SystemPrompt> {
        let data = self.data.as_ref().map(|data| &data.report);
        Ok(system_prompt::in_use(&self.settings, self.template()?, data))
    }

    /// Forgets the conversation.
    pub fn chat_clear(&mut self) {
        self.conversation.clear();
    }

    /// The loss on the datasets `names`, or on the samples that are held out of the chosen ones; on at most the first
    /// `most` samples. `adapter` is the name of a live adapter, a folder, or `base`; the default is the one that is on.
    pub fn evaluate(
        &mut self,
        names: &[String],
        most: Option<usize>,
        adapter: Option<&str>,
        cx: &Context,
    ) -> Result<EvaluateReport> {
        let processor = self.processor_for(names)?;
        self.tell_template(cx)?;
        let model = self.model.as_ref().ok_or(Error::NoModel)?;
        let settings = &self.settings_for(names);
        let chosen = self.adapters.choose(adapter, &model.net)?;
        let samples = Samples::choose(names, most, self.data.as_ref(), (model, &processor, settings), cx)?;
        let (adapter, labels) = (chosen.adapter.as_ref(), None);
        let run = RunContext { model, adapter, processor: &processor, settings, labels };
        let report = evaluate::evaluate(&samples, &chosen, run, &mut self.features, cx)?;
        bad_sample::list(&mut self.skipped, &report.left_out);
        Ok(report)
    }

    /// Generates an answer to every sample and scores it. Samples and adapter are chosen as in [`Session::evaluate`].
    /// `on_prediction` is called with each prediction.
    pub fn predict(
        &mut self,
        names: &[String],
        most: Option<usize>,
        adapter: Option<&str>,
        on_prediction: &mut dyn FnMut(&Prediction),
        cx: &Context,
    ) -> Result<PredictReport> {
        let processor = self.processor_for(names)?;
        self.tell_template(cx)?;
        let model = self.model.as_ref().ok_or(Error::NoModel)?;
        let settings = &self.settings_for(names);
        let chosen = self.adapters.choose(adapter, &model.net)?;
        let samples = Samples::choose(names, most, self.data.as_ref(), (model, &processor, settings), cx)?;
        let (adapter, labels) = (chosen.adapter.as_ref(), self.data.as_ref().map(ChosenData::labels));
        let run = RunContext { model, adapter, processor: &processor, settings, labels };
        let report = predict::predict(&samples, &chosen, run, &mut self.features, on_prediction, cx)?;
        bad_sample::list(&mut self.skipped, &report.left_out);
        Ok(report)
    }

    /// Asks the base model and `adapters` (names or folders; all live ones if empty) the same question. The
    /// conversation is not changed.
    pub fn compare(
        &mut self,
        text: &str,
        images: &[PathBuf],
        adapters: &[String],
        cx: &Context,
    ) -> Result<CompareReport> {
        let processor = self.processor()?;
        let model = self.model.as_ref().ok_or(Error::NoModel)?;
        let named = adapters.iter().map(|name| self.adapters.choose(Some(name), &model.net));
        let mut chosen = named.collect::<Result<Vec<_>>>()?;
        if adapters.is_empty() {
            chosen.extend(self.adapters.all());
        }
        if chosen.is_empty() {
            return Err(Error::NothingToCompare);
        }
        chosen.insert(0, Chosen::base());
        self.tell_template(cx)?;
        let system = self.tell_system_prompt(cx)?;
        let model = self.model.as_ref().ok_or(Error::NoModel)?;
        let labels = self.data.as_ref().map(ChosenData::labels);
        let run = RunContext { model, adapter: None, processor: &processor, settings: &self.settings, labels };
        let question = Question { system: &system, text, images };
        compare::compare(question, &chosen, run, &mut self.features, cx)
    }

    /// Writes the model with an adapter merged into it to a new folder; `adapter` as for [`Session::evaluate`].
    pub fn export(&self, folder: &Path, adapter: Option<&str>, cx: &Context) -> Result<ExportReport> {
        let model = self.model()?;
        let Chosen { name, adapter, .. } = self.adapters.choose(adapter, &model.net)?;
        let adapter = adapter.ok_or(Error::NoAdapter)?;
        export::export(folder, model, (&name, &adapter), self.settings.export_size, cx)
    }

    /// After freeze or full tuning, writes the whole model into `output_dir`, beside what the training left there, and
    /// returns the names of the files; for a LoRA adapter it writes nothing.
    ///
    /// # Errors
    /// As [`Session::export`].
    pub fn export_trained(&self, cx: &Context) -> Result<Vec<String>> {
        let (model, (adapter, _)) = (self.model()?, self.adapters.active().ok_or(Error::NoAdapter)?);
        match &self.settings.output_dir {
            Some(output) if adapter.config.is_none() => {
                export::export_into(output, model, adapter, self.settings.export_size, cx)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Writes the active adapter and its training log in the layout of PEFT and LLaMA-Factory.
    pub fn save(&mut self, folder: &Path) -> Result<SaveReport> {
        let model = self.model.as_ref().ok_or(Error::NoModel)?;
        let (_, adapter, run) = self.adapters.active_mut().ok_or(Error::NoAdapter)?;
        let samples = self.data.as_ref().map_or(0, |data| data.train.len());
        run.save((model, adapter), samples, &self.settings, folder)
    }

    /// Writes a checkpoint of each training that is not on disk as it stands, before the process ends: that of the
    /// active adapter to `output_dir`, others to the user's [`recovery`] folder. Returns the folders.
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

    pub fn status(&self) -> Status {
        let samples = self.data.as_ref().map_or(0, |data| data.train.len());
        let run = self.adapters.active().map(|(_, run)| run);
        Status {
            model: self.model.as_ref().map(|model| model.report.clone()),
            data: self.data.as_ref().map(|data| data.report.clone()),
            adapters: self.adapters(),
            step: run.map_or(0, |run| run.step()),
            total_steps: run.map_or(0, |run| run.total_steps(samples, &self.settings)),
            last: run.and_then(|run| run.records().last().cloned()),
            turns: self.conversation.turns(),
            recovered: recovery::checkpoints().into_iter().next(),
            system: self.system_prompt().ok(),
            resident_bytes: resident_bytes(),
        }
    }

    /// The system prompt in use; announces it if it is not the one of the last time.
    fn tell_system_prompt(&mut self, cx: &Context) -> Result<String> {
        let prompt = self.system_prompt()?;
        let new = (prompt.source != SystemPromptSource::Template).then(|| prompt.text.clone());
        if new != self.told_system {
            cx.emit(Event::Note(Note::SystemPrompt(prompt.clone())));
            self.told_system = new;
        }
        Ok(prompt.text)
    }

    /// Announces a template that is not the model's own, if it is not the one of the last time.
    fn tell_template(&mut self, cx: &Context) -> Result<()> {
        let own = self.model()?.template.name;
        let other = self.settings.template.map(|template| template.name).filter(|name| *name != own);
        if let Some(template) = other.filter(|_| other != self.told_template) {
            cx.emit(Event::Note(Note::OtherTemplate { template, own }));
        }
        self.told_template = other;
        Ok(())
    }

    /// What is kept when the model is dropped.
    fn emptied(&mut self) -> Self {
        let (settings, given) = (std::mem::take(&mut self.settings), std::mem::take(&mut self.given));
        let (tied, probes) = (std::mem::take(&mut self.tied), std::mem::take(&mut self.probes));
        Self { settings, given, tied, probes, ..Self::default() }
    }

    fn model(&self) -> Result<&Model> {
        self.model.as_ref().ok_or(Error::NoModel)
    }

    /// The image processor for other datasets, or for the chosen data, which keeps the pixel limits that it was read
    /// with.
    fn processor_for(&self, names: &[String]) -> Result<ImageProcessor> {
        match (names, &self.data) {
            ([], Some(data)) => processor(self.model()?, &data.settings),
            _ => self.processor(),
        }
    }

    fn processor(&self) -> Result<ImageProcessor> {
        processor(self.model()?, &self.settings)
    }

    fn active_report(&self) -> Result<AdapterReport> {
        self.adapters().into_iter().find(|report| report.active).ok_or(Error::NoAdapter)
    }
}

/// The model's image processor within the limits of the settings.
fn processor(model: &Model, settings: &Settings) -> Result<ImageProcessor> {
    Ok(model.processor.clone().with_limits(settings.image_max_pixels, settings.image_min_pixels)?)
}
