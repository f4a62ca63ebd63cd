//! The system prompt with which samples are encoded and with which the model is asked.
//!
//! `default_system` is the system prompt of samples that have none, as in LLaMA-Factory, and of `chat` and `compare`.
//! Without it, these use the system prompt that all samples of the data share, and otherwise the template's own. A
//! conversation in which it changes is read again under the new one.

use tunebook_data::Encoded;
use tunebook_data::Row;
use tunebook_data::Skipped;
use tunebook_data::Template;
use tunebook_data::Thinking;

use crate::model::Model;
use crate::report::DataReport;
use crate::report::SystemPrompt;
use crate::report::SystemPromptSource;
use crate::settings::Settings;

/// The template of the settings, or else the model's own, with their way with thoughts, and with `default_system` as its
/// default, as in LLaMA-Factory.
pub(crate) fn template(settings: &Settings, model: &Model) -> Template {
    let thinking = Thinking { enable: settings.enable_thinking, preserve: settings.preserve_thinking };
    let template = settings.template.unwrap_or(model.template).with_thinking(thinking);
    match &settings.default_system {
        Some(system) => template.with_default_system(&system.0),
        None => template,
    }
}

/// The system prompt, with the description of tools where there are some, that all samples have which could be encoded;
/// nothing where it is the template's own.
pub(crate) fn shared(
    rows: &[&Row],
    encoded: &[std::result::Result<Encoded, Skipped>],
    settings: &Settings,
    model: &Model,
) -> Option<String> {
    let template = template(settings, model);
    let own = &settings.template.unwrap_or(model.template).default_system;
    let used = rows.iter().zip(encoded).filter(|(_, encoded)| encoded.is_ok());
    let mut systems = used.filter_map(|(row, _)| row.as_ref().ok()).map(|sample| {
        let system = template.with_tools(&sample.system, &sample.tools).ok()?;
        Some(system.unwrap_or_else(|| template.default_system.to_string()))
    });
    let first = systems.next().flatten().filter(|first| *first != **own);
    first.filter(|first| systems.all(|other| other.as_ref() == Some(first)))
}

/// What the model is asked with: `default_system`, or else what all samples of the data have, or else the template's own.
pub(crate) fn in_use(settings: &Settings, template: &Template, data: Option<&DataReport>) -> SystemPrompt {
    let (text, source) = match (&settings.default_system, data.and_then(|data| data.system.as_ref())) {
        (Some(system), _) => (&system.0, SystemPromptSource::Setting),
        (None, Some(system)) => (system, SystemPromptSource::Data),
        _ => (&template.default_system.to_string(), SystemPromptSource::Template),
    };
    SystemPrompt { text: text.clone(), source }
}
