//! The process of a worker: the engine's, with what goes wrong put into words.

use crate::lang::Lang;
use crate::lang::Localize;

/// Computes for the session that started this process, to its end.
///
/// # Errors
/// No session has started it, or it cannot be reached.
pub fn serve_session(lang: Lang) -> Result<(), String> {
    tunebook_engine::workers::serve(&|error, lang| error.localize(lang)).map_err(|error| error.localize(lang))
}
