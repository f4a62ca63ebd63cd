//! Checkpoints of trainings that a signal ended and that have no `output_dir`.
//!
//! A signal stops what runs as Ctrl-C does. Then each training that is not on disk as it stands gets a checkpoint, in
//! `output_dir` or else in a folder of the user's data folder, where the next session finds and names it.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::checkpoint::folder;
use crate::error::Error;
use crate::error::Result;

/// The user's folder of what earlier sessions have left.
fn recovery() -> Result<PathBuf> {
    let own = tunebook_files::own_folder(dirs::data_dir());
    Ok(own.map_err(|source| Error::Write { path: std::env::temp_dir(), source })?.join("recovery"))
}

/// A new output folder there for the training of an adapter.
///
/// # Errors
/// There is no home, and the folder for such users is somebody else's.
pub fn place(adapter: &str) -> Result<PathBuf> {
    let adapter: String = adapter.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    let seconds = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    Ok(recovery()?.join(format!("{adapter}-{seconds}-{}", std::process::id())))
}

/// The checkpoints there, the newest first. They stay until they are deleted.
pub fn checkpoints() -> Vec<PathBuf> {
    let entries = recovery().into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some((entry.metadata().and_then(|m| m.modified()).ok()?, folder::latest(&entry.path())?)))
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, checkpoint)| checkpoint).collect()
}
