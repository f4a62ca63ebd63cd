//! Which files of a model folder hold its weights.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use tunebook_quote::quote_end;

use crate::error::Error;
use crate::error::Result;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Most of the files that are missing that a message names.
const NAMED: usize = 10;

/// `model.safetensors`, or else the shards that `model.safetensors.index.json` names, which is the order in which
/// transformers looks: an index may be left over from an earlier model. Without either, shards that are complete by their
/// own names (`model-00001-of-00002.safetensors` …).
///
/// # Errors
/// There are none, shards are missing, or the weights are in a format that is not read.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (single, index) = (folder.join(SINGLE), folder.join(INDEX));
    if single.exists() {
        return Ok(vec![single]);
    }
    if index.exists() {
        return indexed(folder, &index);
    }
    let names = file_names(folder)?;
    let shards: Vec<_> = names.iter().filter_map(|name| shard_count(name).map(|count| (name, count))).collect();
    let Some((_, count)) = shards.first() else { return Err(other_format(folder, &names)) };
    let missing: Vec<_> =
        (1..=*count).map(|number| shard_name(number, *count)).filter(|n| !names.contains(n)).take(NAMED).collect();
    match missing.is_empty() {
        true => Ok(shards.iter().map(|(name, _)| folder.join(name)).collect()),
        false => Err(Error::MissingShards { place: folder.to_path_buf(), files: missing }),
    }
}

fn indexed(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = tunebook_files::read(index).map_err(|source| Error::Read { path: index.into(), source })?;
    let parsed: Index = serde_json::from_slice(&text).map_err(|source| Error::Json { path: index.into(), source })?;
    let mut files: Vec<_> = parsed.weight_map.into_values().collect();
    files.sort();
    files.dedup();
    let missing: Vec<_> =
        files.iter().filter(|name| !folder.join(name).exists()).take(NAMED).map(|name| quote_end(name)).collect();
    match missing.is_empty() {
        true => Ok(files.into_iter().map(|name| folder.join(name)).collect()),
        false => Err(Error::MissingShards { place: index.to_path_buf(), files: missing }),
    }
}

fn shard_name(number: usize, count: usize) -> String {
    format!("model-{number:05}-of-{count:05}.safetensors")
}

/// How many shards there are, by the name of one.
fn shard_count(name: &str) -> Option<usize> {
    let (number, count) = name.strip_prefix("model-")?.strip_suffix(".safetensors")?.split_once("-of-")?;
    let (number, count) = (number.parse().ok()?, count.parse().ok()?);
    (name == shard_name(number, count)).then_some(count)
}

/// The names of a folder's files, in order.
fn file_names(folder: &Path) -> Result<Vec<String>> {
    let read_error = |source| Error::Read { path: folder.to_path_buf(), source };
    let entries = std::fs::read_dir(folder).map_err(read_error)?.collect::<std::io::Result<Vec<_>>>();
    let mut names: Vec<_> =
        entries.map_err(read_error)?.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// What to say of a folder without safetensors.
fn other_format(folder: &Path, names: &[String]) -> Error {
    let place = folder.to_path_buf();
    let ending = |ending: &str| names.iter().find(|name| name.ends_with(ending)).cloned();
    match (ending(".bin").filter(|name| name.starts_with("pytorch_model")), ending(".gguf")) {
        (Some(file), _) => Error::PickledWeights { place, file },
        (None, Some(file)) => Error::Gguf { path: folder.join(file) },
        (None, None) => Error::NoWeights { place },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a folder of these files; an index names two shards.
    fn found(files: &[&str]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            let index =
                r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
            std::fs::write(folder.path().join(name), if *name == INDEX { index } else { "" }).unwrap();
        }
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_string();
        weight_files(folder.path()).map(|paths| paths.into_iter().map(name).collect())
    }

    const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

    #[test]
    fn a_single_file_goes_before_an_index_that_was_left_over() {
        assert_eq!(found(&[SINGLE, INDEX, SHARDS[0], SHARDS[1]]).unwrap(), [SINGLE]);
        assert_eq!(found(&[INDEX, SHARDS[0], SHARDS[1], "other.safetensors"]).unwrap(), SHARDS);
    }

    #[test]
    fn shards_need_no_index_but_all_of_them() {
        assert_eq!(found(&[SHARDS[1], SHARDS[0], "training_args.bin"]).unwrap(), SHARDS);
        for files in [&[SHARDS[0]][..], &[INDEX, SHARDS[0]]] {
            let message = found(files).unwrap_err().to_string();
            assert!(message.contains(SHARDS[1]) && !message.contains(SHARDS[0]), "{message}");
        }
    }

    #[test]
    fn of_many_that_are_missing_some_are_named() {
        // By its own name one of more files than there can be.
        let message = found(&["model-00001-of-99999999999.safetensors"]).unwrap_err().to_string();
        assert!(message.contains("model-00011-of-99999999999") && message.len() < 600, "{message}");
        let index = format!(r#"{{"weight_map": {{"a": "{}"}}}}"#, "x".repeat(5000));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(INDEX), index).unwrap();
        let message = weight_files(folder.path()).unwrap_err().to_string();
        assert!(message.contains("…xxx") && message.len() < 400, "{message}");
    }

    #[test]
    fn other_formats_are_named() {
        for (files, parts) in [
            (["config.json", "pytorch_model.bin"], ["pytorch_model.bin", "save_pretrained"]),
            (["pytorch_model-00001-of-00002.bin", "x"], ["pytorch_model-00001-of-00002.bin", "save_pretrained"]),
            (["model-q4_k_m.gguf", "config.json"], ["model-q4_k_m.gguf", "quantization_bit=4"]),
            (["config.json", "training_args.bin"], ["model.safetensors", "model.safetensors.index.json"]),
        ] {
            let message = found(&files).unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }
}
