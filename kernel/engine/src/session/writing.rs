//! What a session writes: adapters, and whole models.

use std::path::Path;

use super::Session;
use crate::adapters::Chosen;
use crate::adapters::Live;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::export;
use crate::report::ExportReport;
use crate::report::SaveReport;
use crate::training::saving::output_dir;

impl Session {
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
        let name = self.adapters.active_name().filter(|_| self.adapters.is_branch_active());
        match &output_dir(&self.settings, name.map(String::as_str)) {
            Some(output) if adapter.config.is_none() => {
                export::export_into(output, model, adapter, self.settings.export_size, cx)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Writes the active adapter and its training log in the layout of PEFT and LLaMA-Factory.
    pub fn save(&mut self, folder: &Path) -> Result<SaveReport> {
        let model = self.model.as_deref().ok_or(Error::NoModel)?;
        let Live { adapter, run, .. } = self.adapters.active_mut().ok_or(Error::NoAdapter)?;
        let samples = self.data.as_ref().map_or(0, |data| data.train.len());
        run.save((model, adapter), samples, &self.settings, folder)
    }
}
