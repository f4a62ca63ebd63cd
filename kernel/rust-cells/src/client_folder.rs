//! The client crate, written out of this program to where cells can depend on it.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use tunebook_client::sources::FILES;
use tunebook_files::NewFolder;
use twox_hash::XxHash3_64;

/// Writes the crate into `own`, unless it is there, and returns its folder. Every version has one of its own, and it
/// appears whole, so that programs side by side do not disturb each other.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn write(own: &Path) -> io::Result<PathBuf> {
    let all: String = FILES.iter().flat_map(|(name, text)| [*name, *text]).collect();
    let name = format!("client-{}-{:016x}", env!("CARGO_PKG_VERSION"), XxHash3_64::oneshot(all.as_bytes()));
    let folder = own.join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(own)?;
    let new = NewFolder::beside(&folder)?;
    fs::create_dir(new.path().join("src"))?;
    for (name, text) in FILES {
        fs::write(new.path().join(name), text)?;
    }
    let replaced = new.replace(&folder);
    // Another program may have been faster.
    if replaced.is_err() && !folder.is_dir() { replaced.map(|()| folder) } else { Ok(folder) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_crate_is_written_once() {
        let sources = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/client/src")).unwrap();
        assert_eq!(sources.count() + 1, FILES.len());
        let cache = tempfile::tempdir().unwrap();
        let folder = write(cache.path()).unwrap();
        for (name, text) in FILES {
            assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), text);
        }
        fs::remove_file(folder.join("Cargo.toml")).unwrap();
        assert_eq!(write(cache.path()).unwrap(), folder);
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1);
    }
}
