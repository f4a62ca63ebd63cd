//! `dataset_info.json`, and records of every format and file type.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;
use serde_json::json;

use super::Verdict;
use super::bytes;
use super::child::Started;
use super::dice::Dice;
use super::json;
use super::verdict;
use crate::fixtures::fixture;

pub(super) fn dataset_info(dice: &mut Dice, folder: &Path) -> Verdict {
    let mut info: Value = serde_json::from_slice(&fs::read(fixture("train/dataset_info.json")).unwrap()).unwrap();
    info["creatures"]["num_samples"] = json!(5);
    info["creatures"]["file_sha1"] = Value::Null;
    info["others"] = json!({"hf_hub_url": "a/b", "split": "train", "columns": {"prompt": "a", "response": "b"}});
    fs::write(folder.join("train/dataset_info.json"), json::mutate(dice, &info)).unwrap();
    let names = *dice.pick(&["creatures", "creatures,pairs", "others"]);
    let script = looked_at(dice, names, "train");
    verdict::of(&Started::script(folder, &script).ended())
}

pub(super) fn records(dice: &mut Dice, folder: &Path) -> Verdict {
    let case = dice.pick(formats());
    let (file, text) = (case["file"].as_str().unwrap(), case["text"].as_str());
    let changed = match (text, file) {
        (None, file) => bytes::mutate(dice, &fs::read(fixture("encode").join(file)).unwrap()),
        (Some(text), "data.json") if !dice.once_in(4) => match serde_json::from_str(text) {
            Ok(records) => json::mutate(dice, &records),
            // As Python writes it.
            Err(_) => bytes::mutate_text(dice, text),
        },
        (Some(text), "data.jsonl") if dice.once_in(2) => {
            let lines: Vec<_> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            lines.iter().flat_map(|line| [json::mutate(dice, line), b"\n".to_vec()].concat()).collect()
        }
        (Some(text), _) => bytes::mutate_text(dice, text),
    };
    fs::write(folder.join(file), changed).unwrap();
    fs::copy(fixture("pictures/wide.png"), folder.join("wide.png")).unwrap();
    let mut entry = case["entry"].clone();
    entry["file_name"] = json!(file);
    fs::write(folder.join("dataset_info.json"), json!({"set": entry}).to_string()).unwrap();
    let script = looked_at(dice, "set", ".");
    verdict::of(&Started::script(folder, &script).ended())
}

/// Everything that reads a data set.
fn looked_at(dice: &mut Dice, names: &str, folder: &str) -> String {
    let more = if dice.once_in(8) { "predict max_samples=1 max_new_tokens=1\n" } else { "" };
    format!(
        "load tiny\nset memory=1 batch=2 accum=1\ndata {names} dataset_dir={folder}\ndata skipped\nsample 0\nsample 1\n\
         lora rank=1\ntrain 1\n{more}"
    )
}

/// Files of all formats, with their entries in `dataset_info.json`.
fn formats() -> &'static [Value] {
    static FORMATS: OnceLock<Vec<Value>> = OnceLock::new();
    FORMATS.get_or_init(|| {
        let file: Value = serde_json::from_slice(&fs::read(fixture("encode/formats.json")).unwrap()).unwrap();
        file["cases"].as_array().unwrap().clone()
    })
}
