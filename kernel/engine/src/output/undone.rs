//! What of a training lies in its output folder and is undone: set aside, and brought back by `redo`.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use super::PROBES;
use super::SKIPPED_SAMPLES;
use super::TRAINER_CSV;
use super::TRAINER_LOG;
use super::earlier::is_result;
use super::earlier::is_sign;
use super::earlier::names;
use crate::checkpoint::folder::step_of;

/// Where it is set aside.
const UNDONE: &str = "undone";

/// Sets aside the checkpoints behind `step`, and the results if they are later ones; gives the folder if there were some.
/// What was set aside before is deleted, unless this `adds` to it.
///
/// # Errors
/// The disk refuses.
pub(super) fn set_aside(
    folder: &Path,
    step: usize,
    are_results_later: bool,
    adds: bool,
) -> io::Result<Option<PathBuf>> {
    let is_later = |name: &str| match step_of(name) {
        Some(of) => of > step,
        None => are_results_later && is_of_the_end(folder, name),
    };
    let undone = folder.join(UNDONE);
    if !adds && undone.exists() {
        tunebook_files::remove(&undone)?;
    }
    let later: Vec<_> = names(folder).into_iter().filter(|name| is_later(name)).collect();
    if later.is_empty() {
        return Ok(None);
    }
    fs::create_dir_all(&undone)?;
    later.iter().try_for_each(|name| move_to(&folder.join(name), &undone.join(name)))?;
    Ok(Some(undone))
}

/// Brings back the checkpoints up to `step`, and the results if they are to be there.
///
/// # Errors
/// The disk refuses.
pub(super) fn bring_back(folder: &Path, step: usize, are_results_back: bool) -> io::Result<()> {
    let undone = folder.join(UNDONE);
    let is_back = |name: &str| step_of(name).map_or(are_results_back, |of| of <= step);
    let back: Vec<_> = names(&undone).into_iter().filter(|name| is_back(name)).collect();
    back.iter().try_for_each(|name| move_to(&undone.join(name), &folder.join(name)))?;
    // It stays where something else is in it.
    let _ = fs::remove_dir(undone);
    Ok(())
}

/// What is written when a training ends.
fn is_of_the_end(folder: &Path, name: &str) -> bool {
    let is_of_the_way = [TRAINER_LOG, TRAINER_CSV, PROBES, SKIPPED_SAMPLES].contains(&name);
    !is_of_the_way && (is_sign(name) || is_result(folder, name))
}

fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    if to.is_dir() {
        tunebook_files::remove(to)?;
    }
    tunebook_files::rename(from, to)
}
