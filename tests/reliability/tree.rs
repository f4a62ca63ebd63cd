//! What lies in a folder, without what depends on the clock.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::Digest;
use sha2::Sha256;

/// Parts of the names of what is measured in a training: no two runs have the same.
const MEASURED: [&str; 6] = ["elapsed", "remaining_time", "throughput", "runtime", "per_second", "seconds"];

/// The names in a folder, hidden ones too, and a hash of each file; none of a folder.
pub(super) type Tree = BTreeMap<String, Option<[u8; 32]>>;

pub(super) fn read(folder: &Path) -> Tree {
    let mut tree = Tree::new();
    add(&mut tree, folder, "");
    tree
}

fn add(tree: &mut Tree, folder: &Path, prefix: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            add(tree, &entry.path(), &format!("{name}/"));
            tree.insert(name, None);
        } else {
            tree.insert(name, Some(hash(&entry.path())));
        }
    }
}

/// Of a file as far as two runs agree about it.
pub(super) fn hash(file: &Path) -> [u8; 32] {
    let bytes = fs::read(file).unwrap_or_default();
    let text = match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => timeless(&bytes),
        Some("jsonl") => {
            bytes.split(|byte| *byte == b'\n').map(timeless).collect::<Option<Vec<_>>>().map(|l| l.join("\n"))
        }
        _ => None,
    };
    Sha256::digest(text.map_or(bytes, String::into_bytes)).into()
}

/// JSON without what is measured; none where it is no JSON.
fn timeless(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some(String::new());
    }
    let mut value = serde_json::from_slice(bytes).ok()?;
    strip(&mut value);
    Some(value.to_string())
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !MEASURED.iter().any(|part| key.contains(part)));
            map.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

/// What is there and should not be, is not there and should be, or has other contents.
pub(super) fn differences(found: &Tree, expected: &Tree) -> Vec<String> {
    let left = found.keys().filter(|name| !expected.contains_key(*name)).map(|name| format!("left over: {name}"));
    let lost = expected.keys().filter(|name| !found.contains_key(*name)).map(|name| format!("lost: {name}"));
    let other = expected.iter().filter(|(name, hash)| found.get(*name).is_some_and(|found| found != *hash));
    left.chain(lost).chain(other.map(|(name, _)| format!("other bits: {name}"))).collect()
}

/// Copies a folder with all that is in it.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}
