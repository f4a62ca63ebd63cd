//! Which files of a repository are needed.

use std::path::Path;

use serde_json::Value;

use super::HubError;
use super::RemoteFile;
use super::Repository;
use crate::error::Result;

const INDEX: &str = "model.safetensors.index.json";
const WHOLE: &str = "model.safetensors";

/// The weights (the shards of the index, or one file), and every JSON, merges and template file beside them: what
/// transformers reads of a model, without copies of the weights in other formats.
pub fn model(repository: &Repository, files: Vec<RemoteFile>) -> Result<Vec<RemoteFile>> {
    let found = files.len();
    let missing = |missing| HubError::NoModel { id: repository.id.clone(), missing, found };
    let has = |name: &str| files.iter().any(|file| file.path == name);
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
    if !files.iter().any(|file| is_weights(&file.path)) {
        return Err(missing("*.safetensors").into());
    }
    let is_small = |path: &str| path.ends_with(".json") || path.ends_with(".jinja") || path == "merges.txt";
    let is_needed = |path: &str| !path.contains('/') && (is_small(path) || is_weights(path));
    let mut needed: Vec<_> = files.into_iter().filter(|file| is_needed(&file.path)).collect();
    // What is wrong with a small file shows before the large ones have come.
    needed.sort_by_key(|file| file.size);
    Ok(needed)
}

/// Every file of a format that `dataset_info.json` can name, below `folder` where there is one.
pub fn dataset(repository: &Repository, files: Vec<RemoteFile>, folder: Option<&str>) -> Result<Vec<RemoteFile>> {
    let prefix = folder.map(|folder| format!("{}/", folder.trim_matches('/')));
    let is_within = |path: &str| prefix.as_ref().is_none_or(|prefix| path.starts_with(prefix));
    let is_data = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        // A builder's description of the data is no data.
        name != "dataset_infos.json" && matches!(extension, "json" | "jsonl" | "csv" | "parquet" | "arrow" | "txt")
    };
    let needed: Vec<_> = files.into_iter().filter(|file| is_within(&file.path) && is_data(&file.path)).collect();
    if needed.is_empty() {
        let folder = folder.map(str::to_string);
        return Err(HubError::NoData { id: repository.id.clone(), folder }.into());
    }
    Ok(needed)
}

/// Whether a folder of the cache has all that a model needs: a download that broke off leaves one that has not.
pub fn is_whole_model(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    let shards = std::fs::read(folder.join(INDEX)).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    let has_weights = match shards.as_ref().and_then(|index| index.get("weight_map")?.as_object()) {
        Some(map) => map.values().all(|shard| shard.as_str().is_some_and(has)),
        None => has(WHOLE),
    };
    has("config.json") && has("tokenizer.json") && has_weights
}
