//! What a session writes: adapters, and whole models.

use std::path::Path;

use tunebook_nn::adapter::Adapter;

use super::Predicted;
use super::Session;
use crate::adapters::Chosen;
use crate::adapters::Live;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::evaluate::Samples;
use crate::event::Context;
use crate::export;
use crate::export::gguf::GgufOptions;
use crate::export::modelfile::Asked;
use crate::generate::Choice;
use crate::hub::HubError;
use crate::hub::push;
use crate::hub::push::PushReport;
use crate::hub::push::Subject;
use crate::report::ExportReport;
use crate::report::PredictReport;
use crate::report::SaveReport;
use crate::system_prompt;
use crate::training::Run;
use crate::training::saving::output_dir;

impl Session {
    /// Writes the model with an adapter merged into it to a new folder; `adapter` as for [`Session::evaluate`].
    pub fn export(&self, folder: &Path, adapter: Option<&str>, cx: &Context) -> Result<ExportReport> {
        let model = self.model()?;
        let Chosen { name, adapter, .. } = self.adapters.choose(adapter, &model.net)?;
        let adapter = adapter.ok_or(Error::NoAdapter)?;
        let mut report = export::export(folder, model, (&name, &adapter), self.settings.export_size, cx)?;
        report.files.extend(self.card_of_model(folder, &name, &adapter)?);
        Ok(report)
    }

    /// Writes the card of a model with an adapter of this name merged into it, and gives the name of the file.
    fn card_of_model(&self, folder: &Path, name: &str, adapter: &Adapter) -> Result<Option<String>> {
        let untrained = Run::default();
        let run = self.adapters.run(name).unwrap_or(&untrained);
        let known = (self.data.as_deref(), self.scores(name, run.step()));
        run.card_of_model((self.model()?, adapter), known, &self.settings, folder)
    }

    /// The scores of an adapter as it is after so many steps, if they are the last that were made.
    fn scores(&self, name: &str, step: usize) -> Option<&PredictReport> {
        let last = self.predicted.as_ref().map(|Predicted { report, step }| (report, step));
        last.filter(|(report, of)| report.adapter == name && **of == step).map(|(report, _)| report)
    }

    /// Writes the model for llama.cpp and Ollama, with an adapter merged into it, or the adapter by itself; `adapter` as for
    /// [`Session::evaluate`], `base` for none. With `options.check`, llama.cpp is asked so many samples afterwards, of those
    /// that `data` holds out, or if there are none of those that it trains on.
    ///
    /// # Errors
    /// The folder is not empty; llama.cpp cannot run such a model, or is not there to be asked; there is nothing to ask it.
    pub fn export_gguf(
        &mut self,
        folder: &Path,
        adapter: Option<&str>,
        options: &GgufOptions,
        cx: &Context,
    ) -> Result<ExportReport> {
        let processor = self.processor_for(&[])?;
        let system = self.system_prompt()?.text;
        let model = self.model.as_deref().ok_or(Error::NoModel)?;
        let settings = &self.settings;
        let chosen = self.adapters.choose(adapter, &model.net)?;
        let (template, choice) =
            (system_prompt::template(settings, model), Choice::new(settings, &model.generation, 0));
        let asked = Asked { template, system, choice };
        let Some(questions) = options.check else {
            return export::gguf::export(folder, model, &chosen, options, &asked, cx);
        };
        let program = export::llama_server::find(options.llama_server.as_deref())?;
        let samples = Samples::choose(&[], Some(questions), self.data.as_deref(), (model, &processor, settings), cx)?;
        let mut report = export::gguf::export(folder, model, &chosen, options, &asked, cx)?;
        let (files, _base) = export::gguf::parts(&report, model, cx)?;
        let adapter = chosen.adapter.as_ref();
        let run = RunContext { model, adapter, processor: &processor, settings, labels: None };
        report.check = Some(export::check::check(&program, &files, &samples, &chosen, run, &mut self.features, cx)?);
        Ok(report)
    }

    /// After freeze or full tuning, writes the whole model into `output_dir`, beside what the training left there, and
    /// returns the names of the files; for a LoRA adapter it writes nothing.
    ///
    /// # Errors
    /// As [`Session::export`].
    pub fn export_trained(&self, cx: &Context) -> Result<Vec<String>> {
        let (model, (adapter, _)) = (self.model()?, self.adapters.active().ok_or(Error::NoAdapter)?);
        let name = self.adapters.active_name().filter(|_| self.adapters.is_branch_active());
        match &output_dir(&self.settings, name.map(String::as_str)) {
            Some(output) if adapter.config.is_none() => {
                let mut files = export::export_into(output, model, adapter, self.settings.export_size, cx)?;
                let name = self.adapters.active_name().map(String::as_str).unwrap_or_default();
                files.extend(self.card_of_model(output, name, adapter)?);
                Ok(files)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Says what of `subject` would be sent to a hub, and sends it if `is_confirmed`. An adapter is written to a temporary
    /// folder for that.
    ///
    /// # Errors
    /// There is no such adapter, or it is none of PEFT's; and as [`push::plan`] and [`push::send`].
    pub fn push(
        &self,
        subject: Subject,
        request: &push::Request,
        is_confirmed: bool,
        cx: &Context,
    ) -> Result<PushReport> {
        let temporary = tempfile::tempdir().map_err(|source| Error::Write { path: std::env::temp_dir(), source })?;
        let folder = match &subject {
            Subject::Folder(folder) => folder,
            Subject::Adapter(name) => {
                let (model, adapter, run) = (self.model()?, self.adapters.named(name)?, self.adapters.run(name)?);
                if adapter.config.is_none() {
                    return Err(HubError::NoPeftAdapter { name: name.clone() }.into());
                }
                let known = (self.data.as_deref(), self.scores(name, run.step()));
                run.write((model, adapter), known, &self.settings, temporary.path())?;
                temporary.path()
            }
        };
        let plan = push::plan(request, folder, &self.settings)?;
        let sent = is_confirmed.then(|| push::send(&plan, &self.settings, cx)).transpose()?;
        Ok(PushReport { subject, plan, sent })
    }

    /// The name of the adapter that is on.
    ///
    /// # Errors
    /// There is none.
    pub fn active_adapter(&self) -> Result<&str> {
        self.adapters.active_name().map(String::as_str).ok_or(Error::NoAdapter)
    }

    /// Writes the active adapter and its training log in the layout of PEFT and LLaMA-Factory.
    pub fn save(&mut self, folder: &Path) -> Result<SaveReport> {
        let model = self.model.as_deref().ok_or(Error::NoModel)?;
        let (data, name, step) = (self.data.as_deref(), self.adapters.active_name().cloned(), self.step());
        let scores = self.scores(&name.unwrap_or_default(), step).cloned();
        let Live { adapter, run, .. } = self.adapters.active_mut().ok_or(Error::NoAdapter)?;
        run.save((model, adapter), (data, scores.as_ref()), &self.settings, folder)
    }
}
