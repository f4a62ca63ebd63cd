//! An adapter's files, and those of a checkpoint.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::Verdict;
use super::bytes;
use super::child::Started;
use super::dice::Dice;
use super::json;
use super::safetensors;
use super::verdict;
use crate::fixtures::fixture;

const ADAPTERS: [&str; 5] =
    ["train/adapter_nonzero", "train/adapter_dora", "train/adapter_additional", "brought/patterns", "brought/layers"];

pub(super) fn adapter(dice: &mut Dice, folder: &Path) -> Verdict {
    let from = fixture(dice.pick::<&str>(&ADAPTERS));
    let files = copied(&from, &folder.join("a"));
    change(dice, &files);
    let more = *dice.pick(&["", "export out\n", "save saved\n"]);
    let script = format!("load tiny\nadapter load a\nchat max_new_tokens=2 Hello\n{more}");
    verdict::of(&Started::script(folder, &script).ended())
}

pub(super) fn checkpoint(dice: &mut Dice, folder: &Path) -> Verdict {
    let files = copied(trained(), &folder.join("out"));
    change(dice, &files);
    let from = *dice.pick(&["out", "out/checkpoint-2"]);
    let script = format!("load tiny\nset memory=1 output_dir=out\nresume {from}\ntrain 1\nplot\n");
    verdict::of(&Started::script(folder, &script).ended())
}

/// What a short training has written.
fn trained() -> &'static Path {
    static FOLDER: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let make = || {
        let place = tempfile::tempdir().unwrap();
        super::provide(place.path());
        let script = "load tiny\ndata creatures dataset_dir=train max_samples=6 val_size=2\nlora rank=2\n\
            set memory=1 batch=2 accum=1 logging_steps=1 save_steps=2 eval_steps=1 eval_strategy=steps output_dir=out\n\
            train 2\n";
        let ended = Started::script(place.path(), script).ended();
        assert_eq!(ended.code, 0, "{}", ended.err);
        let out = place.path().join("out");
        assert!(out.join("checkpoint-2").is_dir(), "{}", ended.out);
        (place, out)
    };
    &FOLDER.get_or_init(make).1
}

/// Changes one of the files, by what it is.
fn change(dice: &mut Dice, files: &[PathBuf]) {
    let file = dice.pick(files);
    let before = fs::read(file).unwrap();
    let after = match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => json::mutate_file(dice, &before),
        Some("safetensors") => safetensors::mutate(dice, &before),
        Some("jsonl") => bytes::mutate_text(dice, &String::from_utf8(before).unwrap()),
        _ => bytes::mutate(dice, &before),
    };
    fs::write(file, after).unwrap();
}

/// The files of a folder and of those in it, in order, after they were copied.
fn copied(from: &Path, to: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    entries.sort();
    let mut files = Vec::new();
    for name in entries {
        match from.join(&name).is_dir() {
            true => files.extend(copied(&from.join(&name), &to.join(&name))),
            false => {
                fs::copy(from.join(&name), to.join(&name)).unwrap();
                files.push(to.join(name));
            }
        }
    }
    files
}
