//! The model card, `README.md`: what hubs show of a folder that is uploaded, in the form of those that PEFT and transformers
//! write: metadata between `---`, then what the model is, how to load it, what it was trained on and how, and what came out.
//!
//! It is English, as hubs expect. Names and texts from outside are quoted, and of paths on this machine it has the last
//! part only. A card that somebody has taken over, by removing the comment at its top, is left as it is.

mod front_matter;
mod procedure;
mod results;
mod usage;

use std::path::Path;

use tunebook_files::replace_file;
use tunebook_nn::adapter::Adapter;

use crate::chosen_data::ChosenData;
use crate::error::Error;
use crate::error::Result;
use crate::hub;
use crate::markdown::code;
use crate::markdown::escaped;
use crate::output::Entry;
use crate::report::LoadReport;
use crate::report::PredictReport;
use crate::run_state::RunState;
use crate::settings::Hub;
use crate::settings::Settings;

/// The name of the file.
pub(crate) const CARD: &str = "README.md";

/// The words of transformers' trainer, and who it was.
const MARKER: &str = "<!-- This model card has been generated automatically by tunebook. You should probably proofread and \
                      complete it, then remove this comment: a card without it is not written again. -->";

/// What a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// An adapter in PEFT's format.
    Adapter,
    /// The weights that freeze or full tuning trains, which tunebook loads.
    TrainedWeights,
    /// A whole model, with an adapter merged into it.
    Model,
}

/// What a card tells of.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) contents: Contents,
    /// The base model.
    pub(crate) model: &'a LoadReport,
    pub(crate) adapter: &'a Adapter,
    /// The training of the adapter; of one that was never trained, it is empty.
    pub(crate) run: &'a RunState,
    /// What was logged of it.
    pub(crate) log: &'a [Entry],
    pub(crate) data: Option<&'a ChosenData>,
    pub(crate) settings: &'a Settings,
    /// How near its answers come to those that were expected.
    pub(crate) scores: Option<&'a PredictReport>,
}

/// Writes the card of a folder, and gives its name; nothing where somebody has taken the card over.
///
/// # Errors
/// The disk refuses.
pub(crate) fn write(folder: &Path, facts: Facts) -> Result<Option<&'static str>> {
    let path = folder.join(CARD);
    if path.symlink_metadata().is_ok() && !is_own(&path) {
        return Ok(None);
    }
    replace_file(&path, text(folder, facts).as_bytes()).map_err(|source| Error::Write { path, source })?;
    Ok(Some(CARD))
}

/// Whether a card is one that was written here, and that nobody has taken over.
pub(crate) fn is_own(path: &Path) -> bool {
    tunebook_files::read_to_string(path).is_ok_and(|text| text.contains(MARKER))
}

fn text(folder: &Path, facts: Facts) -> String {
    let name = last_part(folder);
    let base = BaseModel::of(facts);
    let sections = [
        front_matter::text(&name, &base, facts),
        format!("{MARKER}\n\n# {}\n", escaped(&name)),
        summary(&base, facts),
        results::losses(facts),
        usage::text(&name, &base, facts),
        data(facts),
        procedure::text(facts),
        results::table(folder, facts),
        results::scores(facts),
        results::probes(facts),
        format!("### Framework versions\n\n- tunebook {}\n", env!("CARGO_PKG_VERSION")),
    ];
    let sections: Vec<_> = sections.iter().filter(|section| !section.is_empty()).map(String::as_str).collect();
    sections.join("\n")
}

/// The base model, as others can find it.
struct BaseModel {
    /// A hub's `owner/name`, or the name of the folder.
    name: String,
    is_on_hub: bool,
}

impl BaseModel {
    fn of(facts: Facts) -> Self {
        let LoadReport { name, path, .. } = facts.model;
        // A model of a hub lies in a cache.
        match Path::new(name) == path {
            true => Self { name: last_part(path), is_on_hub: false },
            false => Self { name: name.clone(), is_on_hub: true },
        }
    }

    /// Whether hubs take it for a name of theirs.
    fn is_a_name(&self) -> bool {
        let is_part = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let parts: Vec<_> = self.name.split('/').collect();
        parts.len() <= 2 && parts.into_iter().all(is_part)
    }
}

/// The name of a folder, whatever led to it.
fn last_part(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    whole.file_name().map_or_else(|| "model".to_string(), |name| name.to_string_lossy().into_owned())
}

/// What it is, in a sentence.
fn summary(base: &BaseModel, facts: Facts) -> String {
    let rank = facts.adapter.config.as_ref().map(|config| config.r);
    let what = match (facts.contents, rank) {
        (Contents::Adapter, Some(rank)) => format!("A LoRA adapter of rank {rank} for"),
        (Contents::Model, Some(rank)) => format!("A LoRA adapter of rank {rank}, merged into"),
        (Contents::Model, None) => "A fine-tuned version of".to_string(),
        (_, _) => "The trained weights of a fine-tuned version of".to_string(),
    };
    let steps = match facts.run.step() {
        0 => String::new(),
        1 => ", trained for 1 step".to_string(),
        steps => format!(", trained for {steps} steps"),
    };
    let names = facts.data.filter(|_| facts.run.step() > 0).map(|data| &data.report.names[..]).unwrap_or_default();
    let names: Vec<_> = names.iter().map(|name| code(name)).collect();
    let on = match &names[..] {
        [] => String::new(),
        [name] => format!(" on the dataset {name}"),
        names => format!(" on the datasets {}", names.join(", ")),
    };
    format!("{what} {}{steps}{on}.\n", link(base, facts.settings))
}

fn link(base: &BaseModel, settings: &Settings) -> String {
    let is_there = base.is_on_hub && hub::chosen(settings) == Hub::Huggingface;
    match is_there && base.is_a_name() {
        true => format!("[{0}](https://huggingface.co/{0})", base.name),
        false => code(&base.name),
    }
}

/// The samples.
fn data(facts: Facts) -> String {
    let Some(data) = facts.data else { return String::new() };
    let report = &data.report;
    let names = |names: &[String]| names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ");
    let mut lines = vec![format!("- Datasets: {}", names(&report.names))];
    let packs = report.packs.map(|packs| format!(", in {packs} packs")).unwrap_or_default();
    lines.push(format!("- Samples to train on: {}{packs}", report.samples));
    if report.eval_samples > 0 {
        let from = match &data.settings.eval_dataset[..] {
            [] => "held out of them".to_string(),
            eval => format!("from {}", names(eval)),
        };
        lines.push(format!("- Samples to evaluate on: {}, {from}", report.eval_samples));
    }
    let skipped: usize = report.skipped.iter().map(|kind| kind.count).sum();
    if skipped > 0 {
        lines.push(format!("- Samples left out because they cannot be used: {skipped}"));
    }
    let [tokens, images] = [report.tokens, report.picture_tokens];
    lines.push(format!("- Tokens per sample: median {}, at most {}", tokens.median, tokens.max));
    if images.count > 0 {
        lines.push(format!("- Images: {}, of {} tokens (median)", images.count, images.median));
    }
    format!("## Training and evaluation data\n\n{}\n", lines.join("\n"))
}

/// The system prompt that it was trained with and is asked with, where it is not the template's own.
fn system_prompt(facts: Facts) -> Option<String> {
    let own = facts.settings.default_system.as_ref().map(|system| system.0.clone());
    own.or_else(|| facts.data?.report.system.clone()).filter(|system| !system.is_empty())
}

#[cfg(test)]
mod tests;
