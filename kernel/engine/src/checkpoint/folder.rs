//! `checkpoint-STEP` folders: whole or not there, whenever the process or the machine dies.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use tunebook_files::NewFolder;

use super::STATE;
use crate::error::Error;
use crate::error::Result;

const PREFIX: &str = "checkpoint-";

/// `checkpoint-STEP` in an output folder.
pub(crate) fn place(output: &Path, step: usize) -> PathBuf {
    output.join(format!("{PREFIX}{step}"))
}

/// The step of a checkpoint folder of this name; none if it is not one.
pub(crate) fn step_of(name: &str) -> Option<usize> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Writes a folder atomically: `write` fills a temporary one beside it, which takes its place when everything has been
/// flushed to disk; see [`NewFolder::replace`].
///
/// # Errors
/// Those of `write`, or the disk refuses; nothing is left behind, and an older folder is unchanged.
pub(crate) fn write(place: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let error = |source| Error::Write { path: place.to_path_buf(), source };
    let new = NewFolder::beside(place).map_err(error)?;
    write(new.path())?;
    new.replace(place).map_err(error)
}

/// The checkpoints of an output folder, by their steps.
fn list(output: &Path) -> Vec<(usize, PathBuf)> {
    let entries = fs::read_dir(output).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let mut list: Vec<_> =
        entries.filter_map(|entry| Some((step_of(&entry.file_name().to_string_lossy())?, entry.path()))).collect();
    list.sort();
    list
}

/// The resumable checkpoint of the highest step.
pub(crate) fn latest(output: &Path) -> Option<PathBuf> {
    latest_until(output, usize::MAX)
}

/// The same, of a step up to `step`.
pub(crate) fn latest_until(output: &Path, step: usize) -> Option<PathBuf> {
    let until = list(output).into_iter().rev().skip_while(|(of, _)| *of > step);
    until.map(|(_, place)| place).find(|place| place.join(STATE).is_file())
}

/// Deletes the oldest checkpoints if there are more than `most`; never the newest, nor that of step `best`.
///
/// # Errors
/// The disk refuses.
pub(crate) fn rotate(output: &Path, most: usize, best: Option<usize>) -> Result<()> {
    let list = list(output);
    let Some((newest, _)) = list.last() else { return Ok(()) };
    let is_kept = |step: usize| step == *newest || Some(step) == best;
    let surplus = list.len().saturating_sub(most);
    list.iter().filter(|(step, _)| !is_kept(*step)).take(surplus).try_for_each(|(_, place)| {
        tunebook_files::remove(place).map_err(|source| Error::Write { path: place.clone(), source })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(folder: &Path, text: &str) -> Result<()> {
        for name in ["a", STATE] {
            fs::write(folder.join(name), text).map_err(|source| Error::Write { path: folder.into(), source })?;
        }
        Ok(())
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn make(output: &Path, steps: &[usize]) {
        steps.iter().for_each(|step| write(&place(output, *step), |folder| fill(folder, "x")).unwrap());
    }

    #[test]
    fn a_folder_is_replaced_as_a_whole_or_not_at_all() {
        let output = tempfile::tempdir().unwrap();
        let place = place(output.path(), 5);
        write(&place, |folder| fill(folder, "old")).unwrap();
        let failed = write(&place, |folder| {
            fill(folder, "half")?;
            assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "old", "while the new one is written");
            Err(Error::Cancelled)
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "old");
        write(&place, |folder| fill(folder, "new")).unwrap();
        assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "new");
        assert_eq!(names(output.path()), ["checkpoint-5"]);
    }

    #[test]
    fn the_latest_is_by_its_step_and_has_a_state() {
        let output = tempfile::tempdir().unwrap();
        assert_eq!(latest(output.path()), None);
        make(output.path(), &[9, 100, 10]);
        // A checkpoint of another program, a file, and what only begins like one.
        fs::create_dir(place(output.path(), 200)).unwrap();
        fs::create_dir(output.path().join("checkpoint-300-old")).unwrap();
        fs::write(output.path().join("checkpoint-400"), "").unwrap();
        assert_eq!(latest(output.path()), Some(place(output.path(), 100)));
        assert_eq!(latest(&output.path().join("none")), None);
    }

    #[test]
    fn the_oldest_go_but_neither_the_best_nor_the_newest() {
        let output = tempfile::tempdir().unwrap();
        make(output.path(), &[5, 10, 15, 20]);
        rotate(output.path(), 4, None).unwrap();
        assert_eq!(names(output.path()).len(), 4);
        rotate(output.path(), 3, Some(5)).unwrap();
        assert_eq!(names(output.path()), ["checkpoint-15", "checkpoint-20", "checkpoint-5"]);
        rotate(output.path(), 1, Some(5)).unwrap();
        assert_eq!(names(output.path()), ["checkpoint-20", "checkpoint-5"]);
        rotate(output.path(), 1, None).unwrap();
        assert_eq!(names(output.path()), ["checkpoint-20"]);
    }
}
