//! The adapters of a session: made, loaded, blended, turned on and off.

use std::path::Path;

use candle_core::Var;
use tunebook_nn::adapter::Combination;
use tunebook_nn::adapter::Source;
use tunebook_quote::quote;

use super::Session;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::finite;
use crate::methods;
use crate::nearest::nearest;
use crate::report::AdapterReport;
use crate::report::TensorReport;
use crate::settings::FinetuningType;

impl Session {
    /// Creates a LoRA adapter from the settings and turns it on.
    pub fn lora(&mut self, name: Option<&str>, cx: &Context) -> Result<AdapterReport> {
        self.model()?;
        self.check_no_training()?;
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
        self.model()?;
        self.check_no_training()?;
        let adapter = methods::freeze(&self.model()?.net, &self.settings)?;
        self.adapters.add(name, adapter)?;
        self.forget_origin();
        self.settings.finetuning_type = FinetuningType::Freeze;
        self.active_report()
    }

    /// Full tuning: the same with all weights that the settings do not freeze.
    pub fn full(&mut self, name: Option<&str>) -> Result<AdapterReport> {
        self.model()?;
        self.check_no_training()?;
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

    /// Makes an adapter out of others, each by its name and with its weight, and turns it on; see
    /// [`VisionLanguageModel::blend`](tunebook_nn::VisionLanguageModel::blend).
    ///
    /// # Errors
    /// There is no adapter of a name; an adapter cannot be blended; it was cancelled.
    pub fn blend(
        &mut self,
        name: &str,
        sources: &[(String, f64)],
        combination: Combination,
        cx: &Context,
    ) -> Result<AdapterReport> {
        let net = &self.model()?.net;
        self.adapters.check_free(name)?;
        let source = |(name, weight): &(String, f64)| {
            Ok(Source { name: name.clone(), adapter: self.adapters.named(name)?, weight: *weight })
        };
        let sources = sources.iter().map(source).collect::<Result<Vec<_>>>()?;
        let adapter = net.blend(&sources, combination, self.settings.seed, &|| cx.is_cancelled())?;
        let not_finite = finite::of_adapter(&adapter)?;
        self.adapters.add(Some(name), adapter)?;
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
        match &self.running {
            Some(running) if running.adapter == name => self.check_no_training(),
            _ => self.adapters.drop(name),
        }
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

    pub(super) fn active_report(&self) -> Result<AdapterReport> {
        self.adapters().into_iter().find(|report| report.active).ok_or(Error::NoAdapter)
    }
}
