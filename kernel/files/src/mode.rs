//! Who may read what is made here, on systems whose files say so.

use tempfile::Builder;

/// What is made gets the permissions `mode`, as far as the umask allows.
#[cfg(unix)]
pub(crate) fn set(builder: &mut Builder<'_, '_>, mode: u32) {
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
}

/// It gets those of the folder that it is in.
#[cfg(not(unix))]
pub(crate) fn set(_: &mut Builder<'_, '_>, _: u32) {}
