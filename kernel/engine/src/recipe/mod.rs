//! LLaMA-Factory's YAML recipes: read into a session, and written from one.
//!
//! Reading gives the same training as LLaMA-Factory, or refuses a key by its name. A key is a setting, or has no
//! effect, or has no effect at some of its values; everything else is refused. The tests hold these tables against
//! every argument of the real LLaMA-Factory. What a loaded recipe says beyond settings is kept, so that it is written
//! as it was read; without a loaded recipe, what LLaMA-Factory's web page would write is written.

mod arguments;
mod document;
mod keys;
pub(crate) mod notation;
mod page;

use std::path::Path;
use std::path::PathBuf;

use serde_json::Map;
use serde_json::Value;
use serde_saphyr::UserMessageFormatter;
use tunebook_quote::REMEDY;
use tunebook_quote::in_one;
use tunebook_quote::message;
use tunebook_quote::quote;

use crate::checkpoint::folder;
use crate::error::Error;
use crate::error::Result;
use crate::lang::Localized;
use crate::lang::localized;
use crate::nearest::nearest;
use crate::settings;
use crate::settings::LONGEST_PATH;
use crate::settings::Reporter;
use crate::settings::Settings;
use keys::Effect;
use keys::REPORT_TO;
use keys::SERVICES;

pub use document::RecipeDocument;

/// A recipe that has been read.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// `model_name_or_path`
    pub model: PathBuf,
    pub settings: Settings,
    /// Given keys that have no effect, in the order of the file.
    pub without_effect: Vec<String>,
    /// Every key of the file and of the overrides, with its value.
    pub given: Map<String, Value>,
}

/// What a recipe's run starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// A training goes on from this checkpoint, or from the latest one in this folder.
    Checkpoint(&'a Path),
    /// The adapter of this folder is trained further, or evaluated.
    Adapter(&'a Path),
    /// A new adapter is trained.
    NewAdapter(settings::FinetuningType),
    /// Nothing is trained: the model itself is evaluated.
    Model,
}

/// Why a recipe is not followed.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    #[error("{path} is not a YAML recipe: {problem}")]
    Yaml { path: PathBuf, problem: String },
    #[error("`{0}` is not an override{REMEDY}write key=value, as in learning_rate=1e-4")]
    Override(String),
    #[error(
        "there is no recipe key named `{key}`{}",
        .nearest.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
    )]
    UnknownKey { key: String, nearest: Option<String> },
    #[error("`{key}: {value}` cannot be followed: {why}")]
    Refused { key: String, value: String, why: Localized },
    #[error("the recipe evaluates, but holds out no samples{REMEDY}add val_size or eval_dataset")]
    NothingToEvaluate,
    #[error(
        "`do_predict: true` generates answers, for which LLaMA-Factory also requires `predict_with_generate: true`{REMEDY}\
         add it"
    )]
    PredictsWithoutGenerating,
    #[error(
        "`do_eval: true` computes eval_loss, but `predict_with_generate: true` makes it score answers instead, which \
         is what `do_predict: true` does{REMEDY}write do_predict: true, or predict_with_generate: false"
    )]
    EvaluatesByGenerating,
    #[error("the recipe has no `{key}`, which training needs")]
    Missing { key: &'static str },
    #[error("the recipe has no `{key}`, which the export needs")]
    MissingForExport { key: &'static str },
    #[error("the recipe cannot be followed:\n{}", .0.iter().map(|problem| format!("  {}", in_one(|| problem.to_string()))).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Error>),
}

impl Recipe {
    /// The arguments of `llamafactory-cli train`: a file, which `read` reads, and overrides (`key=value`, `--key
    /// value`), or arguments without a file, as the Preview of its web page shows them.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn from_arguments(arguments: &[String], read: impl FnOnce(&Path) -> Result<String>) -> Result<Self> {
        match arguments.split_first() {
            Some((file, overrides)) if !file.starts_with("--") => {
                Self::lay_over(Path::new(file), &read(Path::new(file))?, overrides)
            }
            _ => Self::follow(arguments::read(arguments)?),
        }
    }

    /// Reads a YAML or JSON file.
    ///
    /// # Errors
    /// The file cannot be read, or has keys that are unknown (the error suggests the closest name), out of range, or of
    /// a value that would change the result and is not supported; all of them are named.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            tunebook_files::read_to_string(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        Self::lay_over(path, &text, &[])
    }

    fn lay_over(path: &Path, text: &str, overrides: &[String]) -> Result<Self> {
        let mut map: Map<String, Value> = serde_saphyr::from_str(text).map_err(|error| {
            let problem = error.without_snippet().render_with_formatter(&UserMessageFormatter);
            RecipeError::Yaml { path: path.to_path_buf(), problem: message(&problem) }
        })?;
        map.extend(arguments::read(overrides)?);
        let mut recipe = Self::follow(map)?;
        if let Some(processes) = document::world_size(text) {
            recipe.settings.set("world_size", &processes.to_string())?;
        }
        Ok(recipe)
    }

    /// The recipe for `tunebook train`, which trains, evaluates and predicts as far as the recipe says so. It gets an
    /// output folder if it names none, and resumes from the latest checkpoint there unless `overwrite_output_dir` is set.
    ///
    /// # Errors
    /// It asks for none of these, or lacks something that they need.
    pub fn for_running(mut self) -> Result<Self> {
        let trains = self.trains();
        if (trains || self.settings.eval_dataset.is_empty()) && self.settings.dataset.is_empty() {
            return Err(RecipeError::Missing { key: "dataset" }.into());
        }
        if !trains && !self.only_evaluates() {
            return Err(RecipeError::Missing { key: "do_train: true" }.into());
        }
        let generates = self.is_on("predict_with_generate");
        if self.predicts() && !generates {
            return Err(RecipeError::PredictsWithoutGenerating.into());
        }
        if generates && self.evaluates_at_end() && !self.predicts() {
            return Err(RecipeError::EvaluatesByGenerating.into());
        }
        let evaluates =
            self.settings.eval_strategy != settings::EvalStrategy::No || self.evaluates_at_end() || generates;
        if evaluates && self.settings.val_size == 0.0 && self.settings.eval_dataset.is_empty() {
            return Err(RecipeError::NothingToEvaluate.into());
        }
        let output = self.settings.output_dir.get_or_insert_with(|| PathBuf::from("trainer_output"));
        // As LLaMA-Factory does.
        if trains && self.settings.resume_from_checkpoint.is_none() && !self.settings.overwrite_output_dir {
            self.settings.resume_from_checkpoint = folder::latest(output);
        }
        Ok(self)
    }

    /// The checkpoint that it resumes from, if any: `true` means the latest in `output_dir`.
    pub fn checkpoint(&self) -> Option<&Path> {
        let from = self.settings.resume_from_checkpoint.as_deref()?;
        if from == Path::new("true") { self.settings.output_dir.as_deref() } else { Some(from) }
    }

    /// The recipe for `tunebook export`, and the folder that the merged model is written to.
    ///
    /// # Errors
    /// It names no adapter or no folder, or asks for another kind of file.
    pub fn for_export(mut self) -> Result<(Self, PathBuf)> {
        for (key, neutral, why) in keys::EXPORT {
            let value = self.given.get(*key).map(text).unwrap_or_default();
            if !is_absent(&value) && !neutral.iter().any(|neutral| is(&value, neutral)) {
                return Err(RecipeError::Refused { key: key.to_string(), value, why: *why }.into());
            }
        }
        let folder = self.given.get("export_dir").map(text).filter(|folder| !is_absent(folder));
        let folder = folder.ok_or(RecipeError::MissingForExport { key: "export_dir" })?;
        if self.settings.adapter_name_or_path.is_none() {
            return Err(RecipeError::MissingForExport { key: "adapter_name_or_path" }.into());
        }
        self.without_effect.retain(|key| key != "export_dir" && keys::EXPORT.iter().all(|(name, ..)| name != key));
        // Neither is needed, and what is merged are the weights as they are stored.
        self.settings.dataset.clear();
        self.settings.resume_from_checkpoint = None;
        self.settings.quantization_bit = None;
        Ok((self, PathBuf::from(folder)))
    }

    /// `do_train: true`
    pub fn trains(&self) -> bool {
        self.is_on("do_train")
    }

    /// Whether it asks for an evaluation after the training: `do_eval: true`.
    fn evaluates_at_end(&self) -> bool {
        self.is_on("do_eval")
    }

    /// Whether it asks for answers in the end: `do_predict: true`.
    pub fn predicts(&self) -> bool {
        self.is_on("do_predict")
    }

    /// Whether it asks for evaluation or prediction and not for training.
    fn only_evaluates(&self) -> bool {
        !self.trains() && (self.evaluates_at_end() || self.predicts())
    }

    /// Whether its training datasets are read: without a training, those to evaluate on suffice.
    pub fn reads_data(&self) -> bool {
        let has_others = self.only_evaluates() && !self.settings.eval_dataset.is_empty();
        !has_others && !self.settings.dataset.is_empty()
    }

    /// What its run starts from.
    pub fn start(&self) -> Start<'_> {
        let checkpoint = self.checkpoint().filter(|_| !self.only_evaluates());
        match (checkpoint, self.settings.adapter_name_or_path.as_deref()) {
            (Some(folder), _) => Start::Checkpoint(folder),
            (None, Some(folder)) => Start::Adapter(folder),
            (None, None) if self.only_evaluates() => Start::Model,
            (None, None) => Start::NewAdapter(self.settings.finetuning_type),
        }
    }

    /// The data sets to evaluate and predict on; none stands for what the data of the training holds out.
    pub fn data_to_evaluate(&self) -> &[String] {
        if self.reads_data() { &[] } else { &self.settings.eval_dataset }
    }

    /// Whether it asks for an evaluation at the end that the training has not made already.
    pub fn evaluates_after_training(&self) -> bool {
        let is_evaluated = self.trains() && self.settings.eval_strategy != settings::EvalStrategy::No;
        self.evaluates_at_end() && !is_evaluated
    }

    fn is_on(&self, key: &str) -> bool {
        self.given.get(key).is_some_and(|value| is(&text(value), "true"))
    }

    fn follow(given: Map<String, Value>) -> Result<Self> {
        let mut settings = defaults();
        let mut without_effect = Vec::new();
        let mut problems = Vec::new();
        for (key, value) in &given {
            match take(key, value, &mut settings) {
                Ok(true) => {}
                Ok(false) if key == REPORT_TO => {
                    let value = text(value);
                    let services = report_to(&value).map(|(_, services)| services.join(", ")).unwrap_or_default();
                    without_effect.push(format!("{key}: {services}"));
                }
                Ok(false) => without_effect.push(key.clone()),
                Err(problem) => problems.push(problem),
            }
        }
        // transformers then evaluates as often as it logs.
        if settings.eval_strategy == settings::EvalStrategy::Steps && settings.eval_steps.is_none() {
            settings.eval_steps = Some(settings.logging_steps);
        }
        // Its answers are made as its command line makes them, not as the model's own file says.
        if given.get("do_predict").is_some_and(|value| is(&text(value), "true")) {
            let absent = |key: &str| given.get(key).is_none_or(|value| is_absent(&text(value)));
            for (key, value) in keys::GENERATION.iter().filter(|(key, _)| absent(key)) {
                settings.set(key, value)?;
            }
        }
        let model = given.get("model_name_or_path").map(text).filter(|name| !is_absent(name)).map(PathBuf::from);
        if model.is_none() {
            problems.push(RecipeError::Missing { key: "model_name_or_path" }.into());
        }
        match (model, problems.pop()) {
            (Some(model), None) => Ok(Self { model, settings, without_effect, given }),
            (_, Some(only)) if problems.is_empty() => Err(only),
            (_, last) => {
                problems.extend(last);
                Err(RecipeError::Several(problems).into())
            }
        }
    }
}

/// Does what a key says; false if that is nothing.
fn take(key: &str, given: &Value, settings: &mut Settings) -> Result<bool> {
    let value = &text(given)[..];
    if key == "model_name_or_path" {
        let refused = || RecipeError::Refused {
            key: key.to_string(),
            value: quote(value),
            why: localized("the path is too long", "路径太长"),
        };
        return if value.len() <= LONGEST_PATH { Ok(true) } else { Err(refused().into()) };
    }
    if key == "adapter_name_or_path" && value.contains(',') {
        let why = localized(
            "merging several adapters is not supported yet; give only one",
            "尚不支持合并多个适配器；请只写一个",
        );
        return Err(RecipeError::Refused { key: quote(key), value: quote(value), why }.into());
    }
    // An empty text is one, and means that there is no system prompt.
    if key == "default_system" && given == "" {
        settings.set(key, "")?;
        return Ok(true);
    }
    // transformers takes a share of the steps here as well, and cuts what is no whole number.
    if key == "warmup_steps"
        && let Ok(steps) = value.parse::<f64>()
    {
        match steps > 0.0 && steps < 1.0 {
            true => settings.set("warmup_ratio", value)?,
            false => settings.set(key, &steps.trunc().to_string())?,
        }
        return Ok(true);
    }
    if key == REPORT_TO {
        let (reporters, services) = report_to(value)?;
        settings.report_to = reporters;
        return Ok(services.is_empty());
    }
    // Said of a checkpoint, it means none.
    if key == "resume_from_checkpoint" && is(value, "false") {
        return Ok(true);
    }
    if let Some(setting) = settings::declarations().iter().find(|setting| setting.name == key) {
        // The defaults of the command line hold for a key without a value.
        if !means_default(key, value) {
            settings.set(setting.name, value)?;
        }
        return Ok(true);
    }
    match keys::effect(key) {
        _ if matches!(key, "bf16" | "pure_bf16") && is(value, "true") => {
            settings.set("dtype", "bfloat16")?;
            Ok(true)
        }
        Some(Effect::None) => Ok(is_absent(value)),
        Some(Effect::Unused(off)) => Ok(is_absent(value) || is(value, off)),
        Some(Effect::NoneIf(neutral, why)) => {
            match is_absent(value) || neutral.iter().any(|neutral| is(value, neutral)) {
                true => Ok(true),
                false => Err(RecipeError::Refused { key: quote(key), value: quote(value), why }.into()),
            }
        }
        None => Err(RecipeError::UnknownKey { key: quote(key), nearest: nearest(key, every_key()) }.into()),
    }
}

/// What `report_to` means: the files that are written, and the services that would be told elsewhere. `all` of them are
/// those that are installed: the event files, to which nothing need be.
fn report_to(value: &str) -> Result<(Vec<Reporter>, Vec<&str>)> {
    let words = value.split(',').map(str::trim).filter(|word| !is_absent(word));
    let words = words.map(|word| if is(word, "all") { "tensorboard" } else { word });
    let (services, files): (Vec<_>, Vec<_>) = words.partition(|word| SERVICES.iter().any(|name| is(word, name)));
    let mut settings = Settings::default();
    settings.set(REPORT_TO, &files.join(","))?;
    Ok((settings.report_to, services))
}

/// What LLaMA-Factory's command line and transformers take for keys that are absent, where an interactive session
/// starts from other values.
fn defaults() -> Settings {
    Settings {
        per_device_train_batch_size: 8,
        gradient_accumulation_steps: 1,
        lr_scheduler_type: settings::LrSchedulerType::Linear,
        logging_steps: 500,
        save_steps: 500,
        plot_loss: false,
        eval_strategy: settings::EvalStrategy::No,
        per_device_eval_batch_size: Some(8),
        ..Settings::default()
    }
}

fn is_absent(value: &str) -> bool {
    matches!(value, "" | "null" | "None")
}

/// Whether a setting keeps its default. To `enable_thinking`, null is a value of its own.
fn means_default(key: &str, value: &str) -> bool {
    is_absent(value) && key != "enable_thinking"
}

/// A YAML value as it would be typed; a list has commas.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Whether two values are the same; numbers and the cases of letters aside.
fn is(value: &str, other: &str) -> bool {
    value.eq_ignore_ascii_case(other)
        || matches!((value.parse::<f64>(), other.parse::<f64>()), (Ok(a), Ok(b)) if a == b)
}

fn every_key() -> impl Iterator<Item = &'static str> {
    settings::names().chain(keys::names()).chain(["model_name_or_path"])
}

#[cfg(test)]
mod tests;
