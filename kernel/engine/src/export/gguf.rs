//! A model, or an adapter by itself, as the files that llama.cpp and Ollama read.

use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use tunebook_files::NewFolder;
use tunebook_gguf::Metadata;
use tunebook_gguf::Value;
use tunebook_nn::gguf::FileType;
use tunebook_nn::gguf::GgufFile;
use tunebook_nn::gguf::adapter;
use tunebook_nn::gguf::text_model;
use tunebook_nn::gguf::vision_tower;
use tunebook_nn::merge::Merge;

use super::in_new_folder;
use super::modelfile;
use super::modelfile::Asked;
use super::tokenizer;
use crate::adapters::Chosen;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Task;
use crate::finite;
use crate::generate::Choice;
use crate::generate::Sampling;
use crate::model::Model;
use crate::report::ExportContent;
use crate::report::ExportReport;

/// How a model is written for llama.cpp.
#[derive(Clone, Debug, Default)]
pub struct GgufOptions {
    /// Without it, 16 bits as in the checkpoint, and 32 for an adapter.
    pub file_type: Option<FileType>,
    /// Writes the adapter by itself.
    pub adapter_only: bool,
    /// How many samples llama.cpp is asked afterwards.
    pub check: Option<usize>,
    /// llama.cpp's `llama-server`; without it, the one on PATH.
    pub llama_server: Option<PathBuf>,
}

/// Where the parts of a model are.
pub(crate) struct GgufFiles {
    pub model: PathBuf,
    pub mmproj: PathBuf,
    pub lora: Option<PathBuf>,
}

const MODELFILE: &str = "Modelfile";
const LICENSE: &str = "LICENSE";

/// Writes the model with the chosen adapter merged in, or that adapter by itself, to `folder`. Names are those that
/// llama.cpp's converters give: `NAME-TYPE.gguf`, `mmproj-NAME-TYPE.gguf` and `NAME-TYPE-LoRA.gguf`.
///
/// # Errors
/// `folder` is not empty; llama.cpp cannot run the model; the adapter holds NaN or infinity; the disk has no room; a file
/// cannot be written; an interrupt. Nothing is left behind.
pub(crate) fn export(
    folder: &Path,
    model: &Model,
    chosen: &Chosen,
    options: &GgufOptions,
    asked: &Asked,
    cx: &Context,
) -> Result<ExportReport> {
    let start = Instant::now();
    let adapter = chosen.adapter.as_ref();
    adapter.map(finite::check).transpose()?;
    let name = name(folder);
    let merged = adapter.filter(|_| !options.adapter_only);
    let merge = Merge::new(merged, &model.net);
    let files = match (options.adapter_only, adapter) {
        (true, None) => return Err(Error::NoAdapter),
        (true, Some(lora)) => {
            let file_type = options.file_type.unwrap_or(FileType::F32);
            let general = vec![("general.name".to_string(), Value::String(name.clone()))];
            let file = self::adapter(&merge, lora, file_type, general)?;
            vec![(format!("{name}-{}-LoRA.gguf", file_type.name()), file)]
        }
        (false, _) => whole_model(&merge, model, &name, options.file_type, &asked.choice)?,
    };
    let modelfile = match options.adapter_only {
        true => modelfile::of_adapter(&files[0].0),
        false => modelfile::of_model(&files[0].0, &files[1].0, merged.map(|_| chosen.name.as_str()), asked),
    };
    let bytes = files.iter().map(|(_, file)| file.bytes()).sum();
    let names = in_new_folder(folder, bytes, |new| {
        write(new, &files, cx)?;
        model.net.check_unchanged()?;
        let path = new.join(MODELFILE);
        std::fs::write(&path, &modelfile).map_err(|source| Error::Write { path, source })?;
        let mut names: Vec<String> =
            files.iter().map(|(name, _)| name.clone()).chain([MODELFILE.to_string()]).collect();
        let (license, path) = (model.report.path.join(LICENSE), new.join(LICENSE));
        if license.is_file() {
            std::fs::copy(&license, &path).map_err(|source| Error::Write { path, source })?;
            names.push(LICENSE.to_string());
        }
        Ok(names)
    })?;
    Ok(ExportReport {
        folder: folder.to_path_buf(),
        files: names,
        content: match (adapter, options.adapter_only) {
            (None, _) => ExportContent::Base,
            (_, true) => ExportContent::Adapter,
            (_, false) => ExportContent::Merged,
        },
        adapter: chosen.name.clone(),
        layers: adapter.map_or(0, |adapter| adapter.module_count()),
        bytes,
        elapsed: start.elapsed(),
        check: None,
    })
}

/// What of a report's files llama.cpp is started with. For an adapter by itself, the model without it is written beside
/// `report.folder` for as long as the second answer lives.
///
/// # Errors
/// As [`export`].
pub(crate) fn parts(report: &ExportReport, model: &Model, cx: &Context) -> Result<(GgufFiles, Option<NewFolder>)> {
    let at = |index: usize| report.folder.join(&report.files[index]);
    if report.content != ExportContent::Adapter {
        return Ok((GgufFiles { model: at(0), mmproj: at(1), lora: None }, None));
    }
    let base =
        NewFolder::beside(&report.folder).map_err(|source| Error::Write { path: report.folder.clone(), source })?;
    let merge = Merge::new(None, &model.net);
    let greedy = Choice { sampling: None, ..Choice::new(&Default::default(), &model.generation, 0) };
    let files = whole_model(&merge, model, "base", None, &greedy)?;
    write(base.path(), &files, cx)?;
    let [model, mmproj] = [0, 1].map(|index: usize| base.path().join(&files[index].0));
    Ok((GgufFiles { model, mmproj, lora: Some(at(0)) }, Some(base)))
}

/// The language model and the vision tower, with their names.
fn whole_model<'a>(
    merge: &'a Merge<'a>,
    model: &Model,
    name: &str,
    file_type: Option<FileType>,
    choice: &Choice,
) -> Result<Vec<(String, GgufFile<'a>)>> {
    let own = FileType::of_checkpoint(model.net.stored_dtype);
    let file_type = file_type.unwrap_or(own);
    // As llama.cpp's converters do: with so few bits, a tower sees little.
    let of_vision = if file_type.is_four_bit() { own } else { file_type };
    let named = ("general.name".to_string(), Value::String(name.to_string()));
    let general = [named.clone()].into_iter().chain(sampling(choice)).collect();
    let text = text_model(merge, file_type, general, tokenizer::metadata(model)?)?;
    let vision = vision_tower(merge, of_vision, vec![named], pictures(model))?;
    Ok(vec![
        (format!("{name}-{}.gguf", file_type.name()), text),
        (format!("mmproj-{name}-{}.gguf", of_vision.name()), vision),
    ])
}

fn write(folder: &Path, files: &[(String, GgufFile)], cx: &Context) -> Result<()> {
    let total = files.iter().map(|(_, file)| file.tensor_count()).sum();
    let mut before = 0;
    for (name, file) in files {
        let go_on = |done| {
            cx.emit(Event::Progress { task: Task::Writing, done: before + done, total });
            !cx.is_cancelled()
        };
        if !file.write(&folder.join(name), &go_on)? {
            return Err(Error::Cancelled);
        }
        before += file.tensor_count();
    }
    Ok(())
}

/// What the files are called after: the folder.
fn name(folder: &Path) -> String {
    let name = std::path::absolute(folder).ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| "model".to_string())
}

/// How answers are chosen, which llama.cpp takes for its defaults.
fn sampling(choice: &Choice) -> Metadata {
    let mut keys = match choice.sampling {
        Some(Sampling { temperature, top_k, top_p }) => vec![
            ("top_k", Value::I32(top_k as i32)),
            ("top_p", Value::F32(top_p as f32)),
            ("temp", Value::F32(temperature as f32)),
        ],
        None => vec![("temp", Value::F32(0.0))],
    };
    keys.push(("penalty_repeat", Value::F32(choice.repetition_penalty)));
    keys.into_iter().map(|(key, value)| (format!("general.sampling.{key}"), value)).collect()
}

/// How pixels become numbers.
fn pictures(model: &Model) -> Metadata {
    let floats = |values: [f64; 3]| Value::F32s(values.map(|value| value as f32).to_vec());
    vec![
        ("clip.vision.image_mean".to_string(), floats(model.processor.image_mean)),
        ("clip.vision.image_std".to_string(), floats(model.processor.image_std)),
    ]
}
