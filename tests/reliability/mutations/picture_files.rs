//! Pictures of every format that is read.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::json;

use super::Verdict;
use super::bytes;
use super::child::Started;
use super::dice::Dice;
use super::verdict;
use crate::fixtures::fixture;

/// Pictures a child.
const COUNT: usize = 8;

/// A data set of damaged pictures, and a question about one of them.
pub(super) fn pictures(dice: &mut Dice, folder: &Path) -> Verdict {
    let name = |index: usize| format!("{index}.png");
    for index in 0..COUNT {
        let before = fs::read(dice.pick(every_picture())).unwrap();
        let mut after = bytes::mutate(dice, &before);
        if dice.once_in(2) {
            correct_sums(&mut after);
        }
        fs::write(folder.join(name(index)), after).unwrap();
    }
    let record = |index| json!({"instruction": "<image>What?", "output": "This.", "images": [name(index)]});
    let records: Vec<_> = (0..COUNT).map(record).collect();
    let info = json!({"set": {"file_name": "set.json",
        "columns": {"prompt": "instruction", "response": "output", "images": "images"}}});
    fs::write(folder.join("set.json"), json!(records).to_string()).unwrap();
    fs::write(folder.join("dataset_info.json"), info.to_string()).unwrap();
    let script = "load tiny\nset memory=1 batch=8 accum=1 image_max_pixels=20000\ndata set dataset_dir=.\n\
        data skipped\n\
        lora rank=1\ntrain 1\nchat image=0.png max_new_tokens=1 What?\n";
    verdict::of(&Started::script(folder, script).ended())
}

fn every_picture() -> &'static [PathBuf] {
    static PICTURES: OnceLock<Vec<PathBuf>> = OnceLock::new();
    PICTURES.get_or_init(|| {
        let entries = ["pictures", "decode"].into_iter().flat_map(|folder| fs::read_dir(fixture(folder)).unwrap());
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension != "safetensors"));
        files.sort();
        files
    })
}

/// Writes the right checksum behind every chunk of a PNG file, without which no decoder looks at what is in it.
fn correct_sums(file: &mut [u8]) {
    if !file.starts_with(b"\x89PNG") {
        return;
    }
    let mut at = 8;
    while let Some(length) = file.get(at..at + 4).and_then(|bytes| bytes.first_chunk()) {
        let end = (at + 8).saturating_add(u32::from_be_bytes(*length) as usize);
        if end.saturating_add(4) > file.len() {
            return;
        }
        let sum = file[at + 4..end].iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
        });
        file[end..end + 4].copy_from_slice(&(!sum).to_be_bytes());
        at = end + 4;
    }
}
