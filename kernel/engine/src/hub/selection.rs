//! Which files of a repository are needed.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tunebook_quote::quote;

use super::HubError;
use super::Part;
use super::Repository;
use crate::error::Result;

const INDEX: &str = "model.safetensors.index.json";
const WHOLE: &str = "model.safetensors";

/// The weights (the shards of the index, or one file), and every JSON, merges and template file beside them: what
/// transformers reads of a model, without copies of the weights in other formats.
pub(super) fn model(repository: &Repository, paths: Vec<String>) -> Result<Vec<String>> {
    let found = paths.len();
    let missing = |missing| HubError::NoModel { id: repository.id.clone(), missing, found };
    let has = |name: &str| paths.iter().any(|path| path == name);
    for name in ["config.json", "tokenizer.json"] {
        if !has(name) {
            return Err(missing(name).into());
        }
    }
    let is_sharded = has(INDEX);
    let is_weights = |path: &str| match is_sharded {
        true => path.starts_with("model-") && path.ends_with(".safetensors"),
        false => path == WHOLE,
    };
    if !paths.iter().any(|path| is_weights(path)) {
        return Err(missing("*.safetensors").into());
    }
    let is_small = |path: &str| path.ends_with(".json") || path.ends_with(".jinja") || path == "merges.txt";
    Ok(paths.into_iter().filter(|path| !path.contains('/') && (is_small(path) || is_weights(path))).collect())
}

/// Every file of a format that can be read, in the part that is meant.
pub(super) fn dataset(repository: &Repository, paths: Vec<String>, part: Part) -> Result<Vec<String>> {
    let prefix = part.folder.map(|folder| format!("{}/", folder.trim_matches('/')));
    let is_within = |path: &str| prefix.as_ref().is_none_or(|prefix| path.starts_with(prefix));
    let is_data = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        // A builder's description of the data is no data.
        name != "dataset_infos.json" && matches!(extension, "json" | "jsonl" | "csv" | "parquet")
    };
    let mut needed: Vec<_> = paths.into_iter().filter(|path| is_within(path) && is_data(path)).collect();
    for word in [part.subset, part.split].into_iter().flatten() {
        if needed.iter().any(|path| is_named(path, word)) {
            needed.retain(|path| is_named(path, word));
        }
    }
    if needed.is_empty() {
        let folder = part.folder.map(quote);
        return Err(HubError::NoData { id: repository.id.clone(), folder }.into());
    }
    needed.sort();
    Ok(needed)
}

/// Whether a folder of a path is called `word`, or its file: `train.jsonl`, `train-00000-of-00002.parquet`.
fn is_named(path: &str, word: &str) -> bool {
    path.split('/')
        .any(|part| part.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '_'])))
}

/// The files below a folder, with `/`.
pub(super) fn paths(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(prefix) = folders.pop() {
        for entry in fs::read_dir(folder.join(&prefix)).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            // A link to a folder might lead in circles; no hub's library makes one.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

/// Whether a folder of the cache has all that a model needs: a download that broke off leaves one that has not.
pub(super) fn is_whole_model(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    let shards =
        tunebook_files::read(&folder.join(INDEX)).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    let has_weights = match shards.as_ref().and_then(|index| index.get("weight_map")?.as_object()) {
        Some(map) => map.values().all(|shard| shard.as_str().is_some_and(has)),
        None => has(WHOLE),
    };
    has("config.json") && has("tokenizer.json") && has_weights
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn repository(kind: Kind) -> Repository {
        Repository { kind, id: "someone/something".to_string(), revision: "main".to_string() }
    }

    fn owned(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| path.to_string()).collect()
    }

    #[test]
    fn a_model_is_its_weights_and_what_describes_them() {
        let select = |paths: &[&str]| model(&repository(Kind::Model), owned(paths));
        let small = ["config.json", "tokenizer.json", "merges.txt", "chat_template.jinja"];
        let whole = ["model.safetensors", "pytorch_model.bin", "README.md", "onnx/config.json"];
        assert_eq!(select(&[&small[..], &whole[..]].concat()).unwrap(), [&small[..], &whole[..1]].concat());
        let shards = [INDEX, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let all = [&small[..], &shards[..], &["consolidated.safetensors", "model.safetensors"]].concat();
        assert_eq!(select(&all).unwrap(), [&small[..], &shards[..]].concat());
        let error = |paths: &[&str]| select(paths).unwrap_err().to_string();
        assert!(error(&["tokenizer.json", "model.safetensors"]).contains("has no config.json (2 files)"));
        assert!(error(&["config.json", "tokenizer.json", "pytorch_model.bin"]).contains("has no *.safetensors"));
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_are_not_followed() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("data/a.json"), "[]").unwrap();
        symlink("data/a.json", folder.path().join("b.json")).unwrap();
        ["x", "y"].iter().for_each(|name| symlink("..", folder.path().join("data").join(name)).unwrap());
        let mut found = super::paths(folder.path());
        found.sort();
        assert_eq!(found, ["b.json", "data/a.json", "data/x", "data/y"]);
    }

    #[test]
    fn a_part_of_a_data_set_can_be_meant() {
        let paths = owned(&[
            "README.md",
            "dataset_infos.json",
            "data/train-00000-of-00001.parquet",
            "data/test-00000-of-00001.parquet",
            "small/train.jsonl",
            "trained.csv",
        ]);
        let select =
            |folder, subset, split| dataset(&repository(Kind::Dataset), paths.clone(), Part { folder, subset, split });
        let train = "data/train-00000-of-00001.parquet";
        assert_eq!(select(Some("data"), None, Some("train")).unwrap(), [train]);
        assert_eq!(select(None, None, Some("train")).unwrap(), [train, "small/train.jsonl"]);
        assert_eq!(select(None, Some("small"), Some("train")).unwrap(), ["small/train.jsonl"]);
        assert_eq!(select(None, None, Some("other")).unwrap().len(), 4);
        assert!(
            select(Some("nowhere"), None, None)
                .unwrap_err()
                .to_string()
                .contains("no file that can be read as data in nowhere")
        );
    }
}
