//! The adapters of a session: several live at once, one of them on.

use tunebook_nn::adapter::Adapter;

use crate::error::Error;
use crate::error::Result;
use crate::nearest::nearest;
use crate::report::AdapterReport;
use crate::training::Run;

/// Adapters by name, each with its own training.
#[derive(Default)]
pub struct Adapters {
    list: Vec<LiveAdapter>,
    active: Option<usize>,
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
    pub fn add(&mut self, name: Option<&str>, adapter: Adapter) -> Result<()> {
        if let Some(name) = name.filter(|name| self.position(name).is_some()) {
            return Err(Error::AdapterExists { name: name.to_string() });
        }
        let name = name.map_or_else(|| self.free_name(), str::to_string);
        self.list.push(LiveAdapter { name, adapter, run: Run::default() });
        self.active = Some(self.list.len() - 1);
        Ok(())
    }

    /// # Errors
    /// There is none of that name.
    pub fn turn_on(&mut self, name: &str) -> Result<()> {
        self.active = Some(self.find(name)?);
        Ok(())
    }

    /// # Errors
    /// None is on.
    pub fn turn_off(&mut self) -> Result<()> {
        self.active.take().map(|_| ()).ok_or(Error::NoAdapter)
    }

    /// # Errors
    /// There is none of that name.
    pub fn drop(&mut self, name: &str) -> Result<()> {
        let index = self.find(name)?;
        self.list.remove(index);
        self.active = match self.active {
            Some(active) if active == index => None,
            Some(active) if active > index => Some(active - 1),
            active => active,
        };
        Ok(())
    }

    /// The adapter that is on, and its training.
    pub fn active(&self) -> Option<(&Adapter, &Run)> {
        self.list.get(self.active?).map(|live| (&live.adapter, &live.run))
    }

    pub fn active_mut(&mut self) -> Option<(&Adapter, &mut Run)> {
        self.list.get_mut(self.active?).map(|live| (&live.adapter, &mut live.run))
    }

    /// Every training starts anew; what the adapters have learned stays.
    pub fn restart(&mut self) {
        self.list.iter_mut().for_each(|live| live.run = Run::default());
    }

    /// `base` is the number of the model's own parameters.
    pub fn reports(&self, base: usize) -> Vec<AdapterReport> {
        let report = |(index, live): (usize, &LiveAdapter)| AdapterReport {
            name: live.name.clone(),
            active: self.active == Some(index),
            rank: live.adapter.config.r,
            alpha: live.adapter.config.lora_alpha,
            dropout: live.adapter.config.lora_dropout,
            modules: live.adapter.module_count(),
            trainable_parameters: live.adapter.parameter_count(),
            all_parameters: base + live.adapter.parameter_count(),
            step: live.run.step(),
        };
        self.list.iter().enumerate().map(report).collect()
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|live| live.name == name)
    }

    fn find(&self, name: &str) -> Result<usize> {
        self.position(name).ok_or_else(|| Error::UnknownAdapter {
            name: name.to_string(),
            nearest: nearest(name, self.list.iter().map(|live| live.name.as_str())),
        })
    }

    fn free_name(&self) -> String {
        let names = std::iter::once("default".to_string()).chain((2..).map(|n| format!("default-{n}")));
        names.into_iter().find(|name| self.position(name).is_none()).unwrap_or_default()
    }
}
