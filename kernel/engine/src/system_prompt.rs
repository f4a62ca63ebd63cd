//! The system prompt with which samples are encoded and with which the model is asked.
//!
//! `default_system` is the system prompt of samples that have none, as in LLaMA-Factory, and of `chat` and `compare`.
//! Without it, these use the system prompt that all samples of the data share, and otherwise the template's own. A
//! conversation in which it changes is read again under the new one.

use tunebook_data::Encoded;
use tunebook_data::Row;
use tunebook_data::Skipped;
use tunebook_data::Template;

use crate::error::Result;
use crate::report::DataReport;
use crate::report::SystemPrompt;
use crate::report::SystemPromptSource;
use crate::settings::Settings;

/// The template of the settings, whose default is their `default_system`, as in LLaMA-Factory.
///
/// # Errors
/// There is no such template.
pub(crate) fn template(settings: &Settings) -> Result<Template> {
    let template = Template::by_name(&settings.template)?;
    Ok(match &settings.default_system {
        Some(system) => template.with_default_system(&system.0),
        None => template.clone(),
    })
}

/// The system prompt, with the description of tools where there are some, that all samples have which could be encoded;
/// nothing where it is the template's own.
///
/// # Errors
/// There is no such template.
pub(crate) fn shared(
    rows: &[&Row],
    encoded: &[std::result::Result<Encoded, Skipped>],
    settings: &Settings,
) -> Result<Option<String>> {
    let template = template(settings)?;
    let own = &Template::by_name(&settings.template)?.default_system;
    let used = rows.iter().zip(encoded).filter(|(_, encoded)| encoded.is_ok());
    let mut systems = used.filter_map(|(row, _)| row.as_ref().ok()).map(|sample| {
        let system = template.with_tools(&sample.system, &sample.tools).ok()?;
        Some(template.system_or_default(&system).to_string())
    });
    let first = systems.next().flatten().filter(|first| *first != **own);
    Ok(first.filter(|first| systems.all(|other| other.as_ref() == Some(first))))
}

/// What the model is asked with: `default_system`, or else what all samples of the data have, or else the template's own.
///
/// # Errors
/// There is no such template.
pub(crate) fn in_use(settings: &Settings, data: Option<&DataReport>) -> Result<SystemPrompt> {
    let own = &Template::by_name(&settings.template)?.default_system;
    let (text, source) = match (&settings.default_system, data.and_then(|data| data.system.as_ref())) {
        (Some(system), _) => (&system.0, SystemPromptSource::Setting),
        (None, Some(system)) => (system, SystemPromptSource::Data),
        _ => return Ok(SystemPrompt { text: own.to_string(), source: SystemPromptSource::Template }),
    };
    Ok(SystemPrompt { text: text.clone(), source })
}
