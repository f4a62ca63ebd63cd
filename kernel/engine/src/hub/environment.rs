//! What the environment says of the hubs, under the names that their own libraries read.

use std::env;
use std::path::PathBuf;

use crate::settings::Hub;

/// The hub of a session that names none, as LLaMA-Factory chooses it.
pub(super) fn hub() -> Hub {
    if is_on("USE_MODELSCOPE_HUB") { Hub::Modelscope } else { Hub::Huggingface }
}

/// The first of these variables that is set to something.
pub(super) fn first(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.trim().is_empty()))
}

pub(super) fn is_on(name: &str) -> bool {
    first(&[name]).is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "true" | "y" | "yes" | "on"))
}

/// A folder below the user's caches.
pub(super) fn cache(name: &str) -> Option<PathBuf> {
    Some(env::home_dir()?.join(".cache").join(name))
}
