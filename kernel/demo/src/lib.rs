//! The demo: a tiny Qwen2.5-VL that describes plain images; creatures, whose names and types it has never seen; and
//! plain shapes, which it knows.
//!
//! The program itself trained the model with the `full` method, on images that `examples/make` draws (`train.tune` says
//! how, `model/README.md` how well). Here are only the files; loading them is up to the session.
//!
//! The names and types of creatures occur in no image's text. Their words are met in exercises that repeat text, as a
//! language model that can spell a new name has seen its syllables. `shapes` asks what the model knows, so that
//! forgetting through fine-tuning can be measured, and repaired by training on both.

pub mod scene;
pub mod shape;
pub mod shape_sets;
pub mod shapes;

use std::path::{Path, PathBuf};

use tunebook_data::creatures::{CREATURES_HELD_OUT, CREATURES_TRAIN, Sizes, write_sets};
use tunebook_data::drawn::{DrawnError, write_info};
use tunebook_files::write_whole;

use crate::shape_sets::{SHAPES, SHAPES_HELD_OUT};

/// Creatures, a fifth of them held out.
pub const CREATURES: usize = 600;

/// The files of the model folder.
const MODEL: [(&str, &[u8]); 7] = [
    ("chat_template.json", include_bytes!("../model/chat_template.json")),
    ("config.json", include_bytes!("../model/config.json")),
    ("generation_config.json", include_bytes!("../model/generation_config.json")),
    ("model.safetensors", include_bytes!("../model/model.safetensors")),
    ("preprocessor_config.json", include_bytes!("../model/preprocessor_config.json")),
    ("tokenizer.json", include_bytes!("../model/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../model/tokenizer_config.json")),
];

#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(
        "cannot write the demo's {}: {source}; its location depends on the variable XDG_CACHE_HOME or HOME",
        path.display()
    )]
    Write { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Data(#[from] DrawnError),
}

/// Where the demo's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demo {
    /// A model folder.
    pub model: PathBuf,
    /// A folder with `dataset_info.json` and pictures.
    pub data: PathBuf,
}

impl Demo {
    /// Writes both to the user's cache folder, under this version's name; the pictures are drawn each time, to the same
    /// bytes. The folder can be deleted whenever no session uses it.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn install() -> Result<Self, DemoError> {
        let folder = concat!("demo-", env!("CARGO_PKG_VERSION"));
        let own = tunebook_files::own_folder(dirs::cache_dir());
        Self::install_in(&own.map_err(|source| DemoError::Write { path: std::env::temp_dir(), source })?.join(folder))
    }

    /// The same in `folder`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn install_in(folder: &Path) -> Result<Self, DemoError> {
        let demo = Self { model: folder.join("model"), data: folder.join("creatures") };
        std::fs::create_dir_all(&demo.model).map_err(|source| DemoError::Write { path: demo.model.clone(), source })?;
        for (name, bytes) in MODEL {
            let path = demo.model.join(name);
            write_whole(&path, bytes).map_err(|source| DemoError::Write { path, source })?;
        }
        write_sets(&demo.data, CREATURES, 42, Sizes::SMALL)?;
        shape_sets::write(&demo.data)?;
        write_info(&demo.data, &[CREATURES_TRAIN, CREATURES_HELD_OUT, SHAPES, SHAPES_HELD_OUT])?;
        Ok(demo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let demo = Demo::install_in(folder.path()).unwrap();
        let config = demo.model.join("config.json");
        let written = std::fs::read(&config).unwrap();
        std::fs::write(&config, "{").unwrap();
        std::fs::remove_file(demo.model.join("tokenizer.json")).unwrap();
        assert_eq!(Demo::install_in(folder.path()).unwrap(), demo);
        assert_eq!(std::fs::read(&config).unwrap(), written);
        assert!(demo.model.join("tokenizer.json").is_file() && demo.data.join("images/creatures_0479.png").is_file());
        let sets = tunebook_data::DatasetInfo::read(&demo.data).unwrap();
        for name in [CREATURES_TRAIN, CREATURES_HELD_OUT, SHAPES, SHAPES_HELD_OUT] {
            let entry = sets.entry(name).unwrap();
            let mut reader = tunebook_data::DatasetReader::new(&demo.data, &demo.data, None, 42);
            assert!(reader.read(&entry).unwrap().iter().all(|row| row.is_ok()), "{name}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Demo::install_in(file.path()).unwrap_err();
        assert!(error.to_string().contains(&file.path().join("model").display().to_string()), "{error}");
    }
}
