//! What an earlier training has left in an output folder.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use super::PROBES;
use super::SKIPPED_SAMPLES;
use super::TRAINER_CSV;
use super::TRAINER_LOG;
use super::TRAINER_STATE;
use crate::checkpoint::folder::step_of;
use crate::model_card;
use crate::model_card::CARD;

/// Where it is set aside.
const ASIDE: &str = "earlier";
/// Where it is gathered meanwhile.
const GATHERING: &str = ".earlier";
const ADAPTER: [&str; 2] = ["adapter_config.json", "trained_weights.safetensors"];
const RESULTS: [&str; 9] = [
    "adapter_model.safetensors",
    "all_results.json",
    "eval_results.json",
    PROBES,
    SKIPPED_SAMPLES,
    TRAINER_CSV,
    "train_results.json",
    "training_eval_loss.png",
    "training_loss.png",
];

/// A file or folder by which one sees that a training or an adapter lies here.
pub(super) fn found(folder: &Path) -> Option<String> {
    names(folder).into_iter().filter(|name| is_sign(name)).min()
}

/// Sets aside all that an earlier training has left, and gives its new place; none if that is no more than a log.
/// What was set aside before is deleted.
///
/// # Errors
/// The disk refuses.
pub(super) fn set_aside(folder: &Path) -> io::Result<Option<PathBuf>> {
    let names: Vec<_> = names(folder).into_iter().filter(|name| is_sign(name) || is_result(folder, name)).collect();
    let is_of_worth = |name: &String| step_of(name).is_some() || ADAPTER.contains(&name.as_str());
    if !names.iter().any(is_of_worth) && !folder.join(GATHERING).exists() {
        names.iter().try_for_each(|name| fs::remove_file(folder.join(name)))?;
        return Ok(None);
    }
    move_aside(folder, &names).map(Some)
}

/// Sets aside the checkpoints of steps behind `step`, which a training that goes on from there makes anew.
///
/// # Errors
/// The disk refuses.
pub(super) fn set_aside_behind(folder: &Path, step: usize) -> io::Result<Option<PathBuf>> {
    let names: Vec<_> =
        names(folder).into_iter().filter(|name| step_of(name).is_some_and(|other| other > step)).collect();
    if names.is_empty() && !folder.join(GATHERING).exists() { Ok(None) } else { move_aside(folder, &names).map(Some) }
}

/// A process that dies meanwhile has left all of it in one folder or the other.
fn move_aside(folder: &Path, names: &[String]) -> io::Result<PathBuf> {
    let [aside, gathering] = [ASIDE, GATHERING].map(|name| folder.join(name));
    fs::create_dir_all(&gathering)?;
    names.iter().try_for_each(|name| tunebook_files::rename(&folder.join(name), &gathering.join(name)))?;
    if aside.exists() {
        tunebook_files::remove(&aside)?;
    }
    tunebook_files::rename(&gathering, &aside)?;
    Ok(aside)
}

pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

pub(super) fn is_sign(name: &str) -> bool {
    [TRAINER_LOG, TRAINER_STATE].contains(&name) || ADAPTER.contains(&name) || step_of(name).is_some()
}

/// A model card that somebody has taken over is theirs.
pub(super) fn is_result(folder: &Path, name: &str) -> bool {
    RESULTS.contains(&name) || (name == CARD && model_card::is_own(&folder.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(folder: &Path, names: &[&str]) {
        for name in names {
            match step_of(name) {
                Some(_) => fs::create_dir(folder.join(name)).unwrap(),
                None => fs::write(folder.join(name), "").unwrap(),
            }
        }
    }

    fn sorted(folder: &Path) -> Vec<String> {
        let mut names = names(folder);
        names.sort();
        names
    }

    #[test]
    fn a_training_is_set_aside_and_other_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &["checkpoint-10", "trainer_log.jsonl", "train_results.json", "notes.txt"]);
        let aside = set_aside(folder.path()).unwrap().unwrap();
        assert_eq!(sorted(folder.path()), ["earlier", "notes.txt"]);
        assert_eq!(sorted(&aside), ["checkpoint-10", "train_results.json", "trainer_log.jsonl"]);
        // A training that came to nothing does not take its place; a later one does.
        make(folder.path(), &["trainer_log.jsonl"]);
        assert_eq!(set_aside(folder.path()).unwrap(), None);
        assert_eq!((sorted(folder.path()).len(), sorted(&aside).len()), (2, 3));
        make(folder.path(), &["adapter_config.json"]);
        assert_eq!(set_aside(folder.path()).unwrap(), Some(aside.clone()));
        assert_eq!(sorted(&aside), ["adapter_config.json"]);
        assert_eq!(found(folder.path()), None);
    }

    #[test]
    fn checkpoints_of_a_future_that_was_left_are_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &["checkpoint-5", "checkpoint-10", "checkpoint-15", "trainer_log.jsonl"]);
        let aside = set_aside_behind(folder.path(), 5).unwrap().unwrap();
        assert_eq!(sorted(&aside), ["checkpoint-10", "checkpoint-15"]);
        assert_eq!(sorted(folder.path()), ["checkpoint-5", "earlier", "trainer_log.jsonl"]);
        assert_eq!(set_aside_behind(folder.path(), 5).unwrap(), None);
    }
}
