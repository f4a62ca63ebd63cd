//! Settings on their way to a worker.

use super::wire::SettingsMap;
use crate::error::Result;
use crate::settings::Settings;
use crate::settings::declarations;

/// Those that are not at their defaults.
pub(super) fn write(settings: &Settings) -> SettingsMap {
    let changed = declarations().iter().filter(|setting| setting.get(settings) != setting.default());
    changed.map(|setting| (setting.name.to_string(), setting.get(settings))).collect()
}

/// # Errors
/// A setting or a value that this version does not know.
pub(super) fn read(map: &SettingsMap) -> Result<Settings> {
    let mut settings = Settings::default();
    map.iter().try_for_each(|(name, value)| settings.set(name, value))?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_arrive_as_they_were() {
        let mut settings = Settings { learning_rate: 1.0 / 3.0, memory: Some(0.7), ..Settings::default() };
        settings.set("default_system", "a \"b\" #c=d").unwrap();
        settings.set("lr_scheduler_kwargs", "min_lr:1e-6").unwrap();
        assert_eq!(read(&write(&settings)).unwrap(), settings);
    }
}
