//! Models and adapters as llama.cpp reads them: the language model in one GGUF file, the vision tower with its projector
//! in another (`mmproj`), an adapter in a third.
//!
//! Names, types and metadata are those of llama.cpp's `convert_hf_to_gguf.py`, `convert_lora_to_gguf.py` and
//! `llama-quantize`; `tests/gguf` compares the files with theirs. What a model folder has beside its weights, such as the
//! tokenizer, comes from above as more metadata.

mod adapter;
mod error;
mod file_type;
mod text;
mod vision;

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use safetensors::Dtype;
use tunebook_gguf::Metadata;
use tunebook_gguf::TensorInfo;
use tunebook_gguf::TensorType;
use tunebook_gguf::Value;
use tunebook_gguf::Writer;

use crate::checkpoint::StoredTensor;
use crate::error::Error;
use crate::error::Result;
use crate::merge::Merge;

pub use adapter::adapter;
pub use error::LlamaCppError;
pub use file_type::FileType;
pub use text::text_model;
pub use vision::vision_tower;

/// A file that can be written.
pub struct GgufFile<'a> {
    merge: &'a Merge<'a>,
    metadata: Metadata,
    sources: Vec<Source<'a>>,
}

/// Values, and what of them the file has.
struct Source<'a> {
    values: Values<'a>,
    pieces: Vec<Piece>,
}

enum Values<'a> {
    /// Of a tensor of the merged model.
    Merged(StoredTensor<'a>),
    /// Of an adapter.
    Own(Vec<f32>),
}

/// A tensor of the file.
struct Piece {
    info: TensorInfo,
    cut: Cut,
}

/// What it has of the values.
#[derive(Clone, Copy)]
enum Cut {
    All,
    /// One of three groups of rows: queries, keys, values.
    Third(usize),
    /// The kernel of one of two frames, of `[out, channels, 2, side, side]`.
    Frame(usize),
}

impl<'a> GgufFile<'a> {
    fn new(
        merge: &'a Merge<'a>,
        (architecture, kind): (&str, &str),
        general: Metadata,
        rest: Metadata,
        sources: Vec<Source<'a>>,
    ) -> Self {
        let head =
            [("general.architecture".to_string(), architecture.into()), ("general.type".to_string(), kind.into())];
        let version = ("general.quantization_version".to_string(), Value::U32(2));
        let metadata = head.into_iter().chain(general).chain(rest).chain([version]).collect();
        Self { merge, metadata, sources }
    }

    /// How many tensors [`GgufFile::write`] tells its progress in.
    pub fn tensor_count(&self) -> usize {
        self.sources.len()
    }

    /// The size of the file.
    pub fn bytes(&self) -> u64 {
        tunebook_gguf::size(&self.metadata, &self.infos())
    }

    fn infos(&self) -> Vec<TensorInfo> {
        self.sources.iter().flat_map(|source| &source.pieces).map(|piece| piece.info.clone()).collect()
    }

    /// Writes the file. One tensor at a time is in memory.
    ///
    /// `go_on` hears the number of tensors written before each one, and says whether to go on; else the answer is false.
    ///
    /// # Errors
    /// The file cannot be written; a value is no number, or none in the type that it is written in; a tensor is stored in
    /// a dtype other than float32, float16 and bfloat16.
    pub fn write(&self, path: &Path, go_on: &dyn Fn(usize) -> bool) -> Result<bool> {
        let error = |source| Error::Write { path: path.to_path_buf(), source };
        let file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(error)?);
        let mut writer = Writer::new(file, &self.metadata, &self.infos()).map_err(error)?;
        for (done, Source { values, pieces }) in self.sources.iter().enumerate() {
            if !go_on(done) {
                return Ok(false);
            }
            match values {
                Values::Own(values) => {
                    for piece in pieces {
                        writer.tensor(&self.encoded(values, piece)?).map_err(error)?;
                    }
                }
                Values::Merged(tensor) => {
                    let changed = self.merge.changed(tensor)?;
                    if let ([Piece { info, cut: Cut::All }], None) = (&pieces[..], &changed)
                        && dtype(info.kind) == Some(tensor.dtype)
                    {
                        self.merge.checkpoint.check_finite(tensor.name, tensor.dtype, tensor.bytes)?;
                        writer.tensor(tensor.bytes).map_err(error)?;
                        continue;
                    }
                    let values = changed.map_or_else(|| self.merge.values(tensor), Ok)?;
                    for piece in pieces {
                        writer.tensor(&self.encoded(&values, piece)?).map_err(error)?;
                    }
                }
            }
        }
        let file = writer.finish().map_err(error)?;
        // The folder is renamed when all is written; without this, a crash soon after could leave it without contents.
        file.into_inner().map_err(|error| error.into_error()).and_then(|file| file.sync_all()).map_err(error)?;
        Ok(true)
    }

    /// The bytes of a piece of some values.
    fn encoded(&self, values: &[f32], Piece { info, cut }: &Piece) -> Result<Vec<u8>> {
        let values = cut.of(values, info);
        let check = |dtype, bytes: &[u8]| self.merge.checkpoint.check_finite(&info.name, dtype, bytes);
        match dtype(info.kind) {
            // In which a number may be infinite that was not before.
            Some(dtype) => {
                let bytes = info.kind.encode(&values)?;
                check(dtype, &bytes)?;
                Ok(bytes)
            }
            None => {
                check(Dtype::F32, bytemuck::cast_slice(&values))?;
                Ok(info.kind.encode(&values)?)
            }
        }
    }
}

impl Cut {
    fn of<'a>(self, values: &'a [f32], info: &TensorInfo) -> Cow<'a, [f32]> {
        match self {
            Self::All => Cow::Borrowed(values),
            Self::Third(index) => Cow::Borrowed(&values[index * values.len() / 3..(index + 1) * values.len() / 3]),
            Self::Frame(index) => {
                let frame: usize = info.dims.iter().rev().take(2).product();
                let frames = values.chunks_exact(2 * frame);
                Cow::Owned(frames.flat_map(|frames| &frames[index * frame..][..frame]).copied().collect())
            }
        }
    }
}

/// A piece that is all of the values.
fn whole(name: String, dims: &[usize], kind: TensorType) -> Piece {
    Piece { info: TensorInfo { name, dims: dims.to_vec(), kind }, cut: Cut::All }
}

/// The same type in safetensors.
fn dtype(kind: TensorType) -> Option<Dtype> {
    match kind {
        TensorType::F32 => Some(Dtype::F32),
        TensorType::F16 => Some(Dtype::F16),
        TensorType::Bf16 => Some(Dtype::BF16),
        TensorType::Q8_0 | TensorType::Q4_0 | TensorType::Q5_0 | TensorType::Q4K | TensorType::Q6K => None,
    }
}

/// `general.size_label`: how many elements there are, in two digits, such as `3.1B`.
fn size_label(sources: &[Source]) -> (String, Value) {
    let elements: usize = sources.iter().flat_map(|source| &source.pieces).map(|piece| piece.info.elements()).sum();
    let elements = elements as f64;
    let units = [(1e12, "T"), (1e9, "B"), (1e6, "M")];
    let (scaled, unit) = units
        .iter()
        .find(|(unit, _)| elements > *unit)
        .map_or((elements / 1e3, "K"), |(size, unit)| (elements / size, unit));
    let label = if scaled < 9.5 { format!("{scaled:.1}{unit}") } else { format!("{scaled:.0}{unit}") };
    ("general.size_label".to_string(), Value::String(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_of_two_frames_becomes_two() {
        let values: Vec<f32> = (0..16u8).map(f32::from).collect();
        let info = TensorInfo { name: String::new(), dims: vec![2, 1, 2, 2], kind: TensorType::F32 };
        assert_eq!(*Cut::Frame(0).of(&values, &info), [0.0, 1.0, 2.0, 3.0, 8.0, 9.0, 10.0, 11.0]);
        assert_eq!(*Cut::Frame(1).of(&values, &info), [4.0, 5.0, 6.0, 7.0, 12.0, 13.0, 14.0, 15.0]);
        assert_eq!(*Cut::Third(1).of(&values[..9], &info), [3.0, 4.0, 5.0]);
    }

    #[test]
    fn labels_have_two_digits() {
        let label = |elements: usize| {
            let piece = whole(String::new(), &[elements], TensorType::F32);
            let (_, label) = size_label(&[Source { values: Values::Own(Vec::new()), pieces: vec![piece] }]);
            label
        };
        for (elements, expected) in [
            (2_287_040, "2.3M"),
            (163_000, "163K"),
            (3_085_938_688, "3.1B"),
            (9_960_000, "10M"),
            (72_000_000_000, "72B"),
        ] {
            assert_eq!(label(elements), expected.into());
        }
    }
}
