//! Which setting a name means.

use tunebook_quote::quote;

use super::DECLARATIONS;
use super::Declaration;
use crate::error::Error;
use crate::error::Result;
use crate::nearest::nearest;

/// Every setting, in the order in which `show` lists them.
pub fn declarations() -> &'static [Declaration] {
    DECLARATIONS
}

/// The setting that `key`, a name or an alias, means.
///
/// # Errors
/// No setting has this name; the nearest one is named.
pub fn declaration(key: &str) -> Result<&'static Declaration> {
    let found = DECLARATIONS.iter().find(|declaration| declaration.is_called(key));
    found.ok_or_else(|| Error::UnknownSetting { key: quote(key), nearest: nearest(key, names()) })
}

/// Every name and alias.
pub fn names() -> impl Iterator<Item = &'static str> {
    DECLARATIONS
        .iter()
        .flat_map(|declaration| std::iter::once(declaration.name).chain(declaration.aliases.iter().copied()))
}
