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
use crate::report::Parent;
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
    parent: Option<Parent>,
}

/// An adapter, and what the session knows of it.
pub(crate) struct Live<'a> {
    pub name: &'a str,
    pub adapter: &'a Adapter,
    pub run: &'a mut Run,
    pub is_active: bool,
    pub is_branch: bool,
}

impl Adapters {
    /// Adds an adapter and turns it on. Without a name it is called `default`, or `default-2` and so on.
    ///
    /// # Errors
    /// The name that was asked for is taken.
    pub(crate) fn add(&mut self, name: Option<&str>, adapter: Adapter) -> Result<()> {
        name.map_or(Ok(()), |name| self.check_free(name))?;
        let name = name.map_or_else(|| self.free_name(), str::to_string);
        self.push(LiveAdapter { name, adapter, run: Run::default(), parent: None });
        Ok(())
    }

    /// Adds a branch of another adapter, and turns it on.
    pub(crate) fn add_branch(&mut self, name: &str, adapter: Adapter, run: Run, parent: Parent) {
        self.push(LiveAdapter { name: name.to_string(), adapter, run, parent: Some(parent) });
    }

    /// # Errors
    /// The name is taken.
    pub(crate) fn check_free(&self, name: &str) -> Result<()> {
        match self.position(name) {
            Some(_) => Err(Error::AdapterExists { name: quote(name) }),
            None => Ok(()),
        }
    }

    /// # Errors
    /// There is none of that name.
    pub(crate) fn named(&self, name: &str) -> Result<&Adapter> {
        Ok(&self.list[self.find(name)?].adapter)
    }

    fn push(&mut self, live: LiveAdapter) {
        self.list.push(live);
        self.active = Some(self.list.len() - 1);
    }

    /// The training of the adapter of that name.
    pub(crate) fn run_mut(&mut self, name: &str) -> Option<&mut Run> {
        self.list.iter_mut().find(|live| live.name == name).map(|live| &mut live.run)
    }

    /// Adds an adapter with its training, and turns it on; gives its name, which is another one if `name` is taken.
    pub(crate) fn add_trained(&mut self, name: &str, adapter: Adapter, run: Run) -> String {
        let name = if self.position(name).is_none() { name.to_string() } else { self.free_name() };
        self.push(LiveAdapter { name: name.clone(), adapter, run, parent: None });
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
        let LiveAdapter { parent, .. } = self.list.remove(index);
        // Its branches have in common with what it came from itself what it had.
        for branch in self.list.iter_mut().map(|live| &mut live.parent) {
            if let Some(of) = branch.take_if(|of| of.adapter == name) {
                *branch = parent.clone().map(|parent| Parent { step: parent.step.min(of.step), ..parent });
            }
        }
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

    /// The training of the adapter of that name.
    pub(crate) fn run(&self, name: &str) -> Result<&Run> {
        self.find(name).map(|index| &self.list[index].run)
    }

    /// Whether the adapter that is on is a branch.
    pub(crate) fn is_branch_active(&self) -> bool {
        self.active.and_then(|index| self.list.get(index)).is_some_and(|live| live.parent.is_some())
    }

    /// The adapter that is on.
    pub(crate) fn active_mut(&mut self) -> Option<Live<'_>> {
        self.all_mut().find(|live| live.is_active)
    }

    /// Every adapter.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = Live<'_>> {
        let active = self.active;
        self.list.iter_mut().enumerate().map(move |(index, live)| Live {
            name: live.name.as_str(),
            adapter: &live.adapter,
            run: &mut live.run,
            is_active: Some(index) == active,
            is_branch: live.parent.is_some(),
        })
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
            parent: live.parent.clone(),
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
