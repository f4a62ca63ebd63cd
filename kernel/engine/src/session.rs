//! The session: what is loaded, and the verbs that change it.

use std::path::Path;
use std::path::PathBuf;

use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::report::AdapterReport;
use crate::report::ChatReport;
use crate::report::DataReport;
use crate::report::LoadReport;
use crate::report::SampleReport;
use crate::report::SaveReport;
use crate::report::Status;
use crate::report::StepRecord;
use crate::report::TrainReport;
use crate::settings::Settings;

/// One live session.
///
/// A verb that fails leaves the session as it was.
#[derive(Default)]
pub struct Session {
    settings: Settings,
    history: Vec<StepRecord>,
}

impl Session {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Replaces the settings; the caller has validated them.
    pub fn set(&mut self, settings: Settings) -> Result<()> {
        self.settings = settings;
        Ok(())
    }

    /// Loads a model folder; what an earlier model trained is dropped with it.
    pub fn load(&mut self, _folder: &Path, _cx: &Context) -> Result<LoadReport> {
        Err(Error::NoModel)
    }

    pub fn unload(&mut self) -> Result<()> {
        Err(Error::NoModel)
    }

    /// Reads and encodes data sets from `settings.dataset_dir`.
    pub fn data(&mut self, _names: &[String], _cx: &Context) -> Result<DataReport> {
        Err(Error::NoModel)
    }

    /// One encoded sample, counted from 0.
    pub fn sample(&self, _index: usize) -> Result<SampleReport> {
        Err(Error::NoData)
    }

    /// Makes a new LoRA adapter from the settings and turns it on; training starts anew.
    pub fn lora(&mut self, _name: Option<&str>) -> Result<AdapterReport> {
        Err(Error::NoModel)
    }

    pub fn adapters(&self) -> Vec<AdapterReport> {
        Vec::new()
    }

    /// Loads a PEFT adapter folder and turns it on.
    pub fn adapter_load(&mut self, _folder: &Path, _name: Option<&str>) -> Result<AdapterReport> {
        Err(Error::NoModel)
    }

    pub fn adapter_use(&mut self, _name: &str) -> Result<AdapterReport> {
        Err(Error::NoAdapter)
    }

    pub fn adapter_off(&mut self) -> Result<()> {
        Err(Error::NoAdapter)
    }

    pub fn adapter_drop(&mut self, _name: &str) -> Result<()> {
        Err(Error::NoAdapter)
    }

    /// `steps` optimizer steps, or to the end of `num_train_epochs`.
    pub fn train(&mut self, _steps: Option<usize>, _cx: &Context) -> Result<TrainReport> {
        Err(Error::NoModel)
    }

    /// Every optimizer step made so far with the active adapter.
    pub fn history(&self) -> &[StepRecord] {
        &self.history
    }

    /// Adds a user turn (with pictures, in front of the text where it holds no `<image>`) and streams the answer.
    pub fn chat(&mut self, _text: &str, _images: &[PathBuf], _cx: &Context) -> Result<ChatReport> {
        Err(Error::NoModel)
    }

    pub fn chat_clear(&mut self) {}

    /// Writes the active adapter and its training log, as PEFT and LLaMA-Factory lay them out.
    pub fn save(&mut self, _folder: &Path) -> Result<SaveReport> {
        Err(Error::NoAdapter)
    }

    pub fn status(&self) -> Status {
        Status::default()
    }
}
