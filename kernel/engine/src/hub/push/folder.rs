//! Which files of a folder are sent: those that `save` and `export` write, and PEFT and transformers under the same names.
//!
//! All else stays here, and is named: what a training keeps to go on (the optimizer's moments are of no use to others),
//! samples and answers out of the user's data (`generated_predictions.jsonl`, `probes.jsonl`), folders, hidden files, and
//! links that lead out of the folder.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tunebook_quote::quote_end;

use super::LocalFile;
use crate::checkpoint::TENSORS;
use crate::error::Error;
use crate::error::Result;
use crate::hub::HubError;
use crate::hub::repository_id;
use crate::hub::selection;

const NAMES: [&str; 29] = [
    "adapter_config.json",
    "added_tokens.json",
    "all_results.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "eval_results.json",
    "generation_config.json",
    "LICENSE",
    "LICENSE.md",
    "LICENSE.txt",
    "merges.txt",
    "model.safetensors.index.json",
    "Modelfile",
    "NOTICE",
    "preprocessor_config.json",
    "processor_config.json",
    "README.md",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "train_results.json",
    "trainer_log.jsonl",
    "trainer_state.json",
    "training_eval_accuracy.png",
    "training_eval_loss.png",
    "training_loss.png",
    "video_preprocessor_config.json",
    "vocab.json",
];

/// The files to send, by name, and the names of what lies beside them.
///
/// # Errors
/// The folder cannot be read, or has neither an adapter nor a model.
pub(super) fn files(folder: &Path) -> Result<(Vec<LocalFile>, Vec<String>)> {
    let failed = |source| Error::Read { path: folder.to_path_buf(), source };
    let root = folder.canonicalize().map_err(failed)?;
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(&root).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        // Where a link leads counts.
        let path = root.join(&name).canonicalize().ok().filter(|path| path.starts_with(&root) && path.is_file());
        match path.filter(|_| is_ours(&name)) {
            Some(path) => {
                let size = fs::metadata(&path).map_err(failed)?.len();
                files.push(LocalFile { name, path, size });
            }
            None => left_out.push(name),
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    left_out.sort();
    let has = |name: &str| files.iter().any(|file| file.name == name);
    let is_adapter = has("adapter_config.json") && has("adapter_model.safetensors");
    let is_gguf = files.iter().any(|file| file.name.ends_with(".gguf"));
    if is_adapter || is_gguf || selection::is_whole_model(&root) {
        return Ok((files, left_out));
    }
    Err(HubError::NothingToPush { path: folder.to_path_buf() }.into())
}

/// The base model of an adapter, if that is the path of a folder, which tells others about this machine and nothing else.
pub(super) fn local_base(files: &[LocalFile]) -> Option<String> {
    let config = files.iter().find(|file| file.name == "adapter_config.json")?;
    let config: Value = serde_json::from_slice(&tunebook_files::read(&config.path).ok()?).ok()?;
    let base = config.get("base_model_name_or_path")?.as_str()?;
    let is_name = repository_id(Path::new(base)).is_some() && !Path::new(base).exists();
    (!is_name).then(|| quote_end(base))
}

fn is_ours(name: &str) -> bool {
    let is_weights = name.ends_with(".safetensors") || name.ends_with(".gguf");
    !name.starts_with('.') && name != TENSORS && (is_weights || NAMES.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn only_what_was_written_to_be_read_is_sent() {
        let (outside, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| folder.path().join(name);
        fs::write(path("adapter_config.json"), "{}").unwrap();
        assert!(files(folder.path()).unwrap_err().to_string().contains("neither an adapter nor a model"));
        fs::write(path("weights"), "1234").unwrap();
        std::os::unix::fs::symlink("weights", path("adapter_model.safetensors")).unwrap();
        fs::write(outside.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), path("README.md")).unwrap();
        fs::create_dir(path("config.json")).unwrap();
        for name in ["optimizer.safetensors", "training_state.json", "generated_predictions.jsonl", ".env", "a.pem"] {
            fs::write(path(name), "").unwrap();
        }
        let (sent, left_out) = files(folder.path()).unwrap();
        let sent: Vec<_> = sent.iter().map(|file| (file.name.as_str(), file.size)).collect();
        assert_eq!(sent, [("adapter_config.json", 2), ("adapter_model.safetensors", 4)]);
        let expected = [
            ".env",
            "README.md",
            "a.pem",
            "config.json",
            "generated_predictions.jsonl",
            "optimizer.safetensors",
            "training_state.json",
            "weights",
        ];
        assert_eq!(left_out, expected);
    }
}
