//! A model with an adapter merged into it, as a folder that transformers loads. As files for llama.cpp, and an adapter by
//! itself: [`gguf`].

pub(crate) mod check;
pub(crate) mod gguf;
pub(crate) mod llama_server;
pub(crate) mod modelfile;
mod tokenizer;

use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use tunebook_files::NewFolder;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::merge::Merge;

use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Task;
use crate::finite;
use crate::model::Model;
use crate::model::read_json;
use crate::report::ExportContent;
use crate::report::ExportReport;

const TIED: &str = "tie_word_embeddings";
const CONFIG: &str = "config.json";

/// The files of a model folder beside its weights, those of them that exist: configuration, tokenizer, processor,
/// licence.
const COMPANIONS: [&str; 14] = [
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "LICENSE",
];

/// Writes the model with `adapter` merged into it to `folder`, in files of at most `export_size` gigabytes; see
/// [`Merge::write`]. All is written to a temporary folder beside it, which takes its place in the end.
///
/// # Errors
/// `folder` is not empty; the adapter holds NaN or infinity; the disk has no room; a file cannot be written; an
/// interrupt. Nothing is left behind.
pub(crate) fn export(
    folder: &Path,
    model: &Model,
    (name, adapter): (&str, &Adapter),
    export_size: f64,
    cx: &Context,
) -> Result<ExportReport> {
    let start = Instant::now();
    finite::check(adapter)?;
    let merge = Merge::new(Some(adapter), &model.net);
    let files = in_new_folder(folder, merge.bytes(), |new| write(new, model, &merge, export_size, cx))?;
    Ok(ExportReport {
        folder: folder.to_path_buf(),
        files,
        content: ExportContent::Merged,
        adapter: name.to_string(),
        layers: adapter.module_count(),
        bytes: merge.bytes(),
        elapsed: start.elapsed(),
        check: None,
    })
}

/// Has `write` fill a folder beside `folder`, which takes its place in the end; gives what it gives.
///
/// # Errors
/// `folder` is not empty; the disk has no room for so many bytes; as `write`. Nothing is left behind.
fn in_new_folder<T>(folder: &Path, bytes: u64, write: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let write_error = |source| Error::Write { path: folder.to_path_buf(), source };
    if std::fs::read_dir(folder).map_or_else(|_| folder.exists(), |mut entries| entries.next().is_some()) {
        return Err(Error::ExportExists { path: folder.to_path_buf() });
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(write_error)?;
    check_space(parent, bytes)?;
    let new = NewFolder::beside(folder).map_err(write_error)?;
    let written = write(new.path())?;
    new.replace(folder).map_err(write_error)?;
    Ok(written)
}

/// The same among the other files of an output folder, as LLaMA-Factory's trainer leaves what freeze and full tuning have
/// made. Each file is moved to its place when all are written; gives their names.
///
/// # Errors
/// As [`export`].
pub(crate) fn export_into(
    output: &Path,
    model: &Model,
    adapter: &Adapter,
    export_size: f64,
    cx: &Context,
) -> Result<Vec<String>> {
    let write_error = |source| Error::Write { path: output.to_path_buf(), source };
    finite::check(adapter)?;
    let merge = Merge::new(Some(adapter), &model.net);
    check_space(output, merge.bytes())?;
    let new = NewFolder::within(output).map_err(write_error)?;
    let files = write(new.path(), model, &merge, export_size, cx)?;
    new.merge().map_err(write_error)?;
    Ok(files)
}

/// Configuration, tokenizer and so on, and the weights.
fn write(folder: &Path, model: &Model, merge: &Merge, export_size: f64, cx: &Context) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for name in COMPANIONS {
        let source = model.report.path.join(name);
        if source.is_file() {
            let path = folder.join(name);
            match name == CONFIG && model.net.config.tie_word_embeddings() && !merge.is_tied() {
                true => write_untied(&source, path)?,
                false => drop(std::fs::copy(&source, &path).map_err(|source| Error::Write { path, source })?),
            }
            files.push(name.to_string());
        }
    }
    let total = merge.tensor_count();
    let go_on = |done| {
        cx.emit(Event::Progress { task: Task::Writing, done, total });
        !cx.is_cancelled()
    };
    let weights = merge.write(folder, (export_size * 1e9) as u64, &go_on)?.ok_or(Error::Cancelled)?;
    model.net.check_unchanged()?;
    files.extend(weights);
    Ok(files)
}

/// config.json of a model whose head has become a matrix of its own: programs that go by the file alone (transformers 4
/// among them) would take the embedding otherwise.
fn write_untied(source: &Path, path: PathBuf) -> Result<()> {
    let mut config = read_json(source.to_path_buf())?;
    let text = config.get_mut("text_config").and_then(Value::as_object_mut);
    if let Some(tied) = text.and_then(|text| text.get_mut(TIED)) {
        *tied = json!(false);
    }
    config[TIED] = json!(false);
    std::fs::write(&path, format!("{config:#}\n")).map_err(|source| Error::Write { path, source })
}

/// If the system does not tell its free space, writing will fail instead.
fn check_space(folder: &Path, needed: u64) -> Result<()> {
    match fs4::available_space(folder) {
        Ok(free) if free < needed => {
            let (path, [needed, free]) = (folder.to_path_buf(), [needed, free].map(|bytes| bytes as f64 / 1e9));
            Err(Error::NoSpace { path, needed, free })
        }
        _ => Ok(()),
    }
}
