//! Where the reference values lie, and how they are read. The scripts that made them are in `reference/`.

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::DType;
use candle_core::Device;
use candle_core::Tensor;
use tunebook_data::Template;

/// `tests`, beside the folder of the package that these tests belong to.
pub(crate) fn tests_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests")
}

/// A file or folder below `tests/fixtures`.
pub(crate) fn fixture(path: &str) -> PathBuf {
    tests_folder().join("fixtures").join(path)
}

/// A model family with fixtures of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Qwen2_5,
    Qwen2,
    Qwen3,
}

impl Family {
    pub(crate) const ALL: [Self; 3] = [Self::Qwen2_5, Self::Qwen2, Self::Qwen3];

    /// `tiny`, `train/…` and so on of this family.
    pub(crate) fn path(self, path: &str) -> String {
        let (folder, rest) = path.split_once('/').map_or((path, String::new()), |(a, b)| (a, format!("/{b}")));
        let suffix = match self {
            Self::Qwen2_5 => "",
            Self::Qwen2 => "-qwen2-vl",
            Self::Qwen3 => "-qwen3-vl",
        };
        format!("{folder}{suffix}{rest}")
    }

    pub(crate) fn fixture(self, path: &str) -> PathBuf {
        fixture(&self.path(path))
    }

    /// The chat template with which its fixtures were made.
    pub(crate) fn template(self) -> &'static Template {
        match self {
            Self::Qwen2_5 | Self::Qwen2 => Template::qwen2_vl(),
            Self::Qwen3 => Template::qwen3_vl_nothink(),
        }
    }
}

/// The tiny checkpoint with other tensors, which are in one file.
pub(crate) fn tiny_with(change: impl FnOnce(&mut HashMap<String, Tensor>)) -> tempfile::TempDir {
    tiny_of(Family::Qwen2_5, change)
}

pub(crate) fn tiny_of(family: Family, change: impl FnOnce(&mut HashMap<String, Tensor>)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut weights = HashMap::new();
    for entry in std::fs::read_dir(family.fixture("tiny")).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => weights.extend(candle_core::safetensors::load(&path, &Device::Cpu).unwrap()),
            _ if path.ends_with("model.safetensors.index.json") => {}
            _ => drop(std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap()),
        }
    }
    change(&mut weights);
    candle_core::safetensors::save(&weights, folder.path().join("model.safetensors")).unwrap();
    folder
}

/// The tensors of a safetensors file.
pub(crate) struct Tensors(HashMap<String, Tensor>);

impl Tensors {
    pub(crate) fn read(path: &str) -> Self {
        Self(candle_core::safetensors::load(fixture(path), &Device::Cpu).unwrap())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        let tensor = self.get(name).unwrap_or_else(|| panic!("no tensor {name}"));
        tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    pub(crate) fn integers(&self, name: &str) -> Vec<i64> {
        let tensor = self.get(name).unwrap_or_else(|| panic!("no tensor {name}"));
        tensor.to_dtype(DType::I64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }
}

/// The largest absolute difference of two equally long slices.
pub(crate) fn max_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
