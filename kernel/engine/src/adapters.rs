//! The adapters of a session: several live at once, one of them on.

use std::path::Path;

use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::adapter::InitLoraWeights;
use tunebook_nn::adapter::LoraConfig;
use tunebook_quote::quote;

use crate::error::Error;
use crate::error::Result;
use crate::nearest::nearest;
use crate::report::AdapterReport;
use crate::report::LoraReport;
use crate::training::Run;

/// Adapters by name, each with its own training.
#[derive(Default)]
pub(crate) struct Adapters {
    list: Vec<LiveAdapter>,
    active: Option<usize>,
}

/// The adapter that one call of a verb uses.
pub(crate) struct Chosen {
    /// `base` where it is none.
    pub name: String,
    pub adapter: Option<Adapter>,
    /// Epochs that it was trained for in this session.
    pub epoch: f64,
}

/// The name of the model without an adapter.
const BASE: &str = "base";

impl Chosen {
    pub(crate) fn base() -> Self {
        Self { name: BASE.to_string(), adapter: None, epoch: 0.0 }
    }
}

struct LiveAdapter {
    name: String,
    adapter: Adapter,
    run: Run,
}

impl Adapters {
    /// Adds an adapter and turns it on. Without a name it is called `default`, or `default-2` and so on.
    ///
    /// # Errors
    /// The name that was asked for is taken.
    pub(crate) fn add(&mut self, name: Option<&str>, adapter: Adapter) -> Result<()> {
        if let Some(name) = name.filter(|name| self.position(name).is_some()) {
            return Err(Error::AdapterExists { name: quote(name) });
        }
        let name = name.map_or_else(|| self.free_name(), str::to_string);
        self.list.push(LiveAdapter { name, adapter, run: Run::default() });
        self.active = Some(self.list.len() - 1);
        Ok(())
    }

    /// The training of the adapter of that name.
    pub(crate) fn run_mut(&mut self, name: &str) -> Option<&mut Run> {
        self.list.iter_mut().find(|live| live.name == name).map(|live| &mut live.run)
    }

    /// Adds an adapter with its training, and turns it on; gives its name, which is another one if `name` is taken.
    pub(crate) fn add_trained(&mut self, name: &str, adapter: Adapter, run: Run) -> String {
        let name = if self.position(name).is_none() { name.to_string() } else { self.free_name() };
        self.list.push(LiveAdapter { name: name.clone(), adapter, run });
        self.active = Some(self.list.len() - 1);
        name
    }

    /// # Errors
    /// There is none of that name.
    pub(crate) fn turn_on(&mut self, name: &str) -> Result<()> {
        self.active = Some(self.find(name)?);
        Ok(())
    }

    /// # Errors
    /// None is on.
    pub(crate) fn turn_off(&mut self) -> Result<()> {
        self.active.take().map(|_| ()).ok_or(Error::NoAdapter)
    }

    /// # Errors
    /// There is none of that name.
    pub(crate) fn drop(&mut self, name: &str) -> Result<()> {
        let index = self.find(name)?;
        self.list.remove(index);
        self.active = match self.active {
            Some(active) if active == index => None,
            Some(active) if active > index => Some(active - 1),
            active => active,
        };
        Ok(())
    }

    /// What `choice` means: the name of a live adapter, `base` for none, or a folder; without it, the adapter that is
    /// on, or none.
    ///
    /// # Errors
    /// There is no such adapter, or as [`VisionLanguageModel::load_adapter`].
    pub(crate) fn choose(&self, choice: Option<&str>, net: &VisionLanguageModel) -> Result<Chosen> {
        let live = match choice {
            None => self.active,
            Some(name) => self.position(name),
        };
        match (live, choice) {
            (Some(index), _) => Ok(self.list[index].chosen()),
            (None, None | Some(BASE)) => Ok(Chosen::base()),
            (None, Some(folder)) if Path::new(folder).is_dir() => {
                let adapter = net.load_adapter(Path::new(folder))?;
                Ok(Chosen { name: folder.to_string(), adapter: Some(adapter), epoch: 0.0 })
            }
            (None, Some(name)) => Err(self.unknown(name)),
        }
    }

    /// Every live adapter.
    pub(crate) fn all(&self) -> impl Iterator<Item = Chosen> {
        self.list.iter().map(LiveAdapter::chosen)
    }

    /// The adapter that is on, and its training.
    pub(crate) fn active(&self) -> Option<(&Adapter, &Run)> {
        self.list.get(self.active?).map(|live| (&live.adapter, &live.run))
    }

    pub(crate) fn active_name(&self) -> Option<&String> {
        self.list.get(self.active?).map(|live| &live.name)
    }

    /// The name of the adapter that is on, it, and its training.
    pub(crate) fn active_mut(&mut self) -> Option<(&str, &Adapter, &mut Run)> {
        self.list.get_mut(self.active?).map(|live| (live.name.as_str(), &live.adapter, &mut live.run))
    }

    /// The name of every adapter, it, its training, and whether it is on.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = (&str, &Adapter, &mut Run, bool)> {
        let active = self.active;
        let live = self.list.iter_mut().enumerate();
        live.map(move |(index, live)| (live.name.as_str(), &live.adapter, &mut live.run, Some(index) == active))
    }

    /// Resets every training; the adapters keep their weights.
    pub(crate) fn restart(&mut self) {
        self.list.iter_mut().for_each(|live| live.run = Run::default());
    }

    /// `base` is the number of the model's own parameters.
    pub(crate) fn reports(&self, base: usize) -> Vec<AdapterReport> {
        let report = |(index, live): (usize, &LiveAdapter)| AdapterReport {
            name: live.name.clone(),
            active: self.active == Some(index),
            lora: live.adapter.config.as_ref().map(|config| LoraReport {
                kind: kind(config),
                rank: config.r,
                alpha: config.lora_alpha,
                dropout: config.lora_dropout,
                modules: live.adapter.module_count(),
            }),
            trainable_parameters: live.adapter.parameter_count(),
            all_parameters: base + live.adapter.config.as_ref().map_or(0, |_| live.adapter.parameter_count()),
            step: live.run.step(),
            not_finite: None,
        };
        self.list.iter().enumerate().map(report).collect()
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|live| live.name == name)
    }

    fn find(&self, name: &str) -> Result<usize> {
        self.position(name).ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> Error {
        let nearest = nearest(name, self.list.iter().map(|live| live.name.as_str()));
        Error::UnknownAdapter { name: quote(name), nearest }
    }

    fn free_name(&self) -> String {
        let names = std::iter::once("default".to_string()).chain((2..).map(|n| format!("default-{n}")));
        names.into_iter().find(|name| self.position(name).is_none()).unwrap_or_default()
    }
}

fn kind(config: &LoraConfig) -> &'static str {
    match config {
        LoraConfig { use_dora: true, .. } => "DoRA",
        LoraConfig { init_lora_weights: InitLoraWeights::Pissa { .. }, .. } => "PiSSA",
        LoraConfig { use_rslora: true, .. } => "rsLoRA",
        _ => "LoRA",
    }
}

impl LiveAdapter {
    /// The adapter shares its numbers with the live one.
    fn chosen(&self) -> Chosen {
        let epoch = self.run.records().last().map_or(0.0, |record| record.epoch);
        Chosen { name: self.name.clone(), adapter: Some(self.adapter.clone()), epoch }
    }
}
