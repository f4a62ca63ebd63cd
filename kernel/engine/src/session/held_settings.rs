//! The settings of a session: how they are changed, and what goes with a model, data or an adapter.

use serde_json::Map;
use serde_json::Value;

use super::Session;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::recipe::Recipe;
use crate::recipe::RecipeDocument;
use crate::settings::Dtype;
use crate::settings::Owner;
use crate::settings::Settings;
use crate::settings::Tied;
use crate::settings::declarations;

/// The settings as they stand, to be put back if what they are needed for fails.
#[derive(Clone)]
pub struct HeldSettings {
    pub settings: Settings,
    tied: Tied,
    given: Map<String, Value>,
}

impl Session {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Replaces the settings. What a model, a data set or an adapter was made with stays as it was made.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Sets what somebody asks for, names or aliases with their values.
    ///
    /// # Errors
    /// An unknown key or a wrong value; nothing is changed.
    pub fn change<'a>(&mut self, given: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
        let (mut settings, mut tied) = (self.settings.clone(), self.tied.clone());
        for (key, value) in given {
            settings.set(key, value)?;
            tied.untie(key);
        }
        (self.settings, self.tied) = (settings, tied);
        Ok(())
    }

    pub fn held_settings(&self) -> HeldSettings {
        HeldSettings { settings: self.settings.clone(), tied: self.tied.clone(), given: self.given.clone() }
    }

    pub fn put_back(&mut self, held: HeldSettings) {
        (self.settings, self.tied, self.given) = (held.settings, held.tied, held.given);
    }

    /// The setting `key` came with `owner`; before that it was as in `before`.
    pub fn tie(&mut self, key: &str, owner: Owner, before: &Settings) {
        self.tied.tie(key, owner, before, &self.settings);
    }

    /// Gives all settings other values, which come with the model that is loaded next; those of the data come with the
    /// data sets that they name.
    pub fn set_with_model(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        self.given.clear();
        for setting in declarations() {
            if setting.get(&before) != setting.get(&self.settings) {
                self.tie(setting.name, Owner::Model, &before);
            }
        }
        self.tie_data(&before);
    }

    /// Where the data lies and what it is evaluated on came with the data sets of the settings.
    pub fn tie_data(&mut self, before: &Settings) {
        let data = Owner::Data(self.settings.dataset.clone());
        self.tie("dataset_dir", data.clone(), before);
        self.tie("eval_dataset", data, before);
        self.tie("media_dir", Owner::DatasetDir(self.settings.dataset_dir.clone()), before);
    }

    /// The settings without those that came with something.
    pub fn settings_of_its_own(&self) -> Settings {
        let mut settings = self.settings.clone();
        self.tied.clone().take_back_all(&mut settings);
        settings
    }

    /// What a recipe says of its model, data and adapter came with these; the session had the settings `before`.
    pub fn tie_recipe(&mut self, before: &Settings) {
        self.tie("model_revision", Owner::Model, before);
        self.tie("adapter_name_or_path", Owner::Adapter, before);
        self.tie("resume_from_checkpoint", Owner::Adapter, before);
        self.tie_data(before);
    }

    /// Gives back the settings that came with the model, before another one is loaded; says which, as `key=value`.
    pub fn take_back_with_model(&mut self) -> Vec<String> {
        let mut taken = self.tied.take_back(&Owner::Model, &mut self.settings);
        taken.extend(self.tied.take_back(&Owner::Adapter, &mut self.settings));
        taken
    }

    /// The settings with which the data sets `names` are read, or those that `data` chose.
    pub(super) fn settings_for(&self, names: &[String]) -> Settings {
        let mut settings = self.settings.clone();
        if !names.is_empty() {
            self.tied.clone().take_back_for(names, &mut settings);
        }
        settings
    }

    /// Another adapter does not begin where the recipe's began.
    pub(super) fn forget_origin(&mut self) {
        self.tied.take_back(&Owner::Adapter, &mut self.settings);
    }

    /// Takes over the settings of a recipe, and keeps its other keys for [`Session::recipe`].
    pub fn follow(&mut self, recipe: &Recipe) {
        self.settings = recipe.settings.clone();
        self.given = recipe.given.clone();
    }

    /// The session as LLaMA-Factory would be told of it.
    pub fn recipe(&self) -> RecipeDocument {
        let model = self.model.as_ref().map(|model| &model.report);
        let bf16 = match self.settings.dtype {
            Dtype::Auto => model.is_none_or(|model| model.dtype == "bfloat16"),
            dtype => dtype == Dtype::Bfloat16,
        };
        // It has no template of the model's own.
        let settings = Settings { template: self.template().ok(), ..self.settings.clone() };
        let mut document = RecipeDocument::new(model.map(|model| model.name.as_str()), bf16, &settings, &self.given);
        if !self.dropped.is_empty() {
            let numbers: Vec<_> = self.dropped.iter().map(usize::to_string).collect();
            document.left_out.push(format!("data drop {}", numbers.join(",")));
        }
        document
    }
}

/// Says which settings are as they were before.
pub fn tell_taken_back(settings: Vec<String>, cx: &Context) {
    if !settings.is_empty() {
        cx.emit(Event::Note(Note::TakenBack { settings }));
    }
}
