//! Memory-mapped safetensors: one file, or shards with an index.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use safetensors::Dtype;
use safetensors::SafeTensors;
use tunebook_quote::message;

use crate::error::Error;
use crate::error::Result;
use crate::fold_layers::fold_layers;
use crate::frozen::FrozenDType;
use crate::frozen::FrozenMatrix;
use crate::mapped_file::MappedFile;
use crate::models::TensorNames;
use crate::tensor_file::widened;
use crate::weight_files::weight_files;

/// The tensors of a model folder, by the names that transformers gives them in memory.
pub struct Checkpoint {
    place: PathBuf,
    names: &'static TensorNames,
    files: Vec<Arc<MappedFile>>,
    tensors: HashMap<String, Entry>,
    /// What products read where float16 is stored.
    float16: FrozenDType,
}

/// The element types in which a checkpoint may store its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredDType {
    F32,
    Bf16,
    F16,
}

struct Entry {
    file: Arc<MappedFile>,
    /// As the file names it.
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    range: std::ops::Range<usize>,
}

/// A tensor as its file has it.
pub(crate) struct StoredTensor<'a> {
    /// As the file names it.
    pub name: &'a str,
    /// As transformers names it in memory.
    pub canonical: &'a str,
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

impl Checkpoint {
    /// Maps every weight file of a model folder, see [`weight_files`]; `names` are those of the model's family.
    ///
    /// # Errors
    /// A file that is missing, truncated, malformed or of a kind that is not read, by name.
    pub fn open(folder: &Path, names: &'static TensorNames) -> Result<Self> {
        let (mut files, mut tensors) = (Vec::new(), HashMap::new());
        for path in weight_files(folder)? {
            let file = Arc::new(MappedFile::open(path)?);
            tensors.extend(file.entries()?.into_iter().map(|(name, entry)| (names.canonical(&name), entry)));
            files.push(file);
        }
        Ok(Self { place: folder.to_path_buf(), names, files, tensors, float16: FrozenDType::F32 })
    }

    /// Has products read `dtype` where float16 is stored, instead of float32.
    pub fn with_float16_as(self, dtype: FrozenDType) -> Self {
        Self { float16: dtype, ..self }
    }

    /// # Errors
    /// A file was written to or cut off since it was mapped. One that another was renamed to is still there as it was.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        self.files.iter().try_for_each(|file| file.check_unchanged())
    }

    /// In which dtype a tensor is stored.
    ///
    /// # Errors
    /// There is none of that name, or it is none that can be read.
    pub fn stored_dtype(&self, name: &str) -> Result<StoredDType> {
        self.entry(name)?.stored_dtype(name)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Whether both tensors are there, with the same values in the same dtype.
    pub fn are_equal(&self, a: &str, b: &str) -> bool {
        let (Some(a), Some(b)) = (self.tensors.get(a), self.tensors.get(b)) else { return false };
        (a.dtype, &a.shape) == (b.dtype, &b.shape) && a.bytes() == b.bytes()
    }

    /// The tensors that `is_used` says no to, by their names in the files, in order.
    pub fn unused(&self, is_used: impl Fn(&str) -> bool) -> Vec<&str> {
        let others = self.tensors.iter().filter(|(canonical, _)| !is_used(canonical));
        let mut names: Vec<_> = others.map(|(_, entry)| entry.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The matrix `name`, `[rows, cols]`, in place. Trailing dimensions of a convolution kernel are
    /// taken together: `[1280, 3, 2, 14, 14]` is a matrix `[1280, 1176]`.
    ///
    /// # Errors
    /// The tensor is missing, of another shape, or in a dtype other than float32, float16 and bfloat16.
    pub fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<FrozenMatrix> {
        let entry = self.entry(name)?;
        let found = (entry.shape.first().copied().unwrap_or(0), entry.shape.iter().skip(1).product());
        if entry.shape.len() < 2 || found != (rows, cols) {
            return Err(entry.shape_error(name, &[rows, cols]));
        }
        let (map, range) = (entry.file.map.clone(), entry.range.clone());
        Ok(match entry.stored_dtype(name)? {
            StoredDType::F32 => FrozenMatrix::mapped(map, range, FrozenDType::F32, rows, cols),
            StoredDType::Bf16 => FrozenMatrix::mapped(map, range, FrozenDType::Bf16, rows, cols),
            StoredDType::F16 => FrozenMatrix::float16(map, range, self.float16, rows, cols),
        })
    }

    /// The vector `name` (a bias or a norm weight), widened to f32 once.
    ///
    /// # Errors
    /// As [`Checkpoint::matrix`].
    pub fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        let entry = self.entry(name)?;
        if entry.shape != [length] {
            return Err(entry.shape_error(name, &[length]));
        }
        self.values(name)
    }

    /// The shape of a tensor.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn dims(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.entry(name)?.shape)
    }

    /// The elements of a tensor of any shape, widened to f32.
    ///
    /// # Errors
    /// As [`Checkpoint::matrix`].
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        let entry = self.entry(name)?;
        widened(entry.dtype, entry.bytes()).ok_or_else(|| entry.dtype_error(name))
    }

    /// # Errors
    /// A tensor of it, or one that is to stand in for it, has an element that is no number (NaN, infinity).
    pub(crate) fn check_finite(&self, name: &str, dtype: Dtype, bytes: &[u8]) -> Result<()> {
        match is_finite(dtype, bytes) {
            true => Ok(()),
            false => Err(Error::NotFinite { place: self.place.clone(), name: name.to_string() }),
        }
    }

    /// Every tensor, in the order of the files and of their bytes.
    pub(crate) fn stored(&self) -> Vec<StoredTensor<'_>> {
        let mut entries: Vec<_> = self.tensors.iter().collect();
        entries.sort_by_key(|(_, entry)| (&entry.file.path, entry.range.start));
        let stored = entries.into_iter().map(|(canonical, entry)| StoredTensor {
            name: &entry.name,
            canonical,
            dtype: entry.dtype,
            shape: &entry.shape,
            bytes: entry.bytes(),
        });
        stored.collect()
    }

    /// That there are no tensors `names`, but `others`, which [`fold_layers`] has folded.
    pub(crate) fn missing(&self, names: &[String], others: Vec<String>) -> Error {
        let published: Vec<_> = names.iter().map(|name| self.names.published(name)).collect();
        let names = fold_layers(&published.iter().map(String::as_str).collect::<Vec<_>>());
        Error::MissingTensors { place: self.place.clone(), count: published.len(), names, others }
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        self.tensors.get(name).ok_or_else(|| self.missing(&[name.to_string()], Vec::new()))
    }
}

impl Entry {
    fn bytes(&self) -> &[u8] {
        &self.file.map[self.range.clone()]
    }

    fn stored_dtype(&self, name: &str) -> Result<StoredDType> {
        match self.dtype {
            Dtype::F32 => Ok(StoredDType::F32),
            Dtype::BF16 => Ok(StoredDType::Bf16),
            Dtype::F16 => Ok(StoredDType::F16),
            _ => Err(self.dtype_error(name)),
        }
    }

    fn dtype_error(&self, name: &str) -> Error {
        let (path, name) = (self.file.path.clone(), name.to_string());
        Error::DType { path, name, dtype: format!("{:?}", self.dtype) }
    }

    fn shape_error(&self, name: &str, expected: &[usize]) -> Error {
        Error::Shape {
            path: self.file.path.clone(),
            name: name.to_string(),
            expected: expected.to_vec(),
            found: self.shape.clone(),
        }
    }
}

impl MappedFile {
    fn entries(self: &Arc<Self>) -> Result<Vec<(String, Entry)>> {
        let bytes: &[u8] = &self.map;
        let start = bytes.as_ptr() as usize;
        let parsed = SafeTensors::deserialize(bytes)
            .map_err(|e| Error::Safetensors { path: self.path.clone(), problem: message(&e.to_string()) })?;
        Ok(parsed
            .iter()
            .map(|(name, view)| {
                let offset = view.data().as_ptr() as usize - start;
                let range = offset..offset + view.data().len();
                (
                    name.to_string(),
                    Entry {
                        file: self.clone(),
                        name: name.to_string(),
                        dtype: view.dtype(),
                        shape: view.shape().to_vec(),
                        range,
                    },
                )
            })
            .collect())
    }
}

/// Whether all elements are numbers: of one that is not, the exponent is all ones.
fn is_finite(dtype: Dtype, bytes: &[u8]) -> bool {
    const RUN: usize = 1 << 16;
    let halves = |exponent: u16| {
        let (halves, _) = bytes.as_chunks::<2>();
        halves.par_chunks(RUN).all(|run| run.iter().all(|half| u16::from_le_bytes(*half) & exponent != exponent))
    };
    match dtype {
        Dtype::F32 => {
            let (floats, _) = bytes.as_chunks::<4>();
            floats.par_chunks(RUN).all(|run| run.iter().all(|float| f32::from_le_bytes(*float).is_finite()))
        }
        Dtype::BF16 => halves(0x7f80),
        Dtype::F16 => halves(0x7c00),
        _ => true,
    }
}
