//! Qwen2.5-VL: module and tensor names are the checkpoint's, so that code and weights read side by side.
//!
//! Source: `modeling_qwen2_5_vl.py` of transformers; Bai et al. 2025, arXiv 2502.13923.

pub mod config;
mod config_error;
pub mod kv_cache;
pub mod linear;
mod loader;
mod low_rank;
mod merger;
mod parameter;
pub mod positions;
mod sequences;
pub mod tensor_names;
pub mod text;
mod trained;
pub mod vision;
mod vision_block;
pub mod windows;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Device;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::adapter::LinearShape;
use crate::adapter::TensorShape;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::EMBEDDING;
use crate::checkpoint::StoredDType;
use crate::error::Error;
use crate::error::Result;
use crate::frozen::FrozenDType;
use crate::ops::operand_dtype;
use crate::quantize::QuantizationBit;

pub use config::Config;
pub use config_error::ConfigError;
pub use kv_cache::KvCache;
pub use linear::DropoutRun;
pub use linear::Pass;
use loader::Loader;
pub use positions::Positions;
pub use sequences::Sequences;
use tensor_names::fold_layers;
pub use text::TextModel;
pub use vision::VisionModel;

/// A loaded model. Nothing in it ever changes: adapters are passed to it with every [`Pass`].
pub struct Qwen2_5Vl {
    pub config: Config,
    pub text: TextModel,
    pub vision: VisionModel,
    /// Every linear layer but the head, in the order of their ids.
    pub linears: Vec<LinearShape>,
    /// Every tensor.
    pub tensors: Vec<TensorShape>,
    /// Tensors of the checkpoint that are none of the model's, see [`fold_layers`].
    pub unused: Vec<String>,
    pub precision: Precision,
    /// Where it computes: what its layers read and make lies there.
    pub device: Device,
    pub stored_dtype: StoredDType,
    pub parameters: usize,
    /// What the linear layers are quantized to.
    pub quantized: Option<QuantizationBit>,
    checkpoint: Checkpoint,
}

impl Qwen2_5Vl {
    /// Maps the weights of a model folder. `precision` says how products are formed; `None` takes the dtype
    /// in which the weights are stored, and float32 for float16. What it computes lies on `device`, where the CPU's memory is not at hand:
    /// [`Qwen2_5Vl::upload`] brings the weights there.
    ///
    /// # Errors
    /// Names the file, the tensor, and what was expected of it.
    pub fn load(folder: &Path, precision: Option<Precision>, device: Device) -> Result<Self> {
        let config = Config::read(folder)?;
        let checkpoint = Checkpoint::open(folder)?;
        let stored_dtype = match checkpoint.contains(EMBEDDING) {
            true => checkpoint.stored_dtype(EMBEDDING)?,
            // It will be among what is missing.
            false => StoredDType::F32,
        };
        let precision = precision.unwrap_or(match stored_dtype {
            // bfloat16 would round what float16 holds.
            StoredDType::F32 | StoredDType::F16 => Precision::F32,
            StoredDType::Bf16 => Precision::Bf16,
        });
        let checkpoint = checkpoint.with_float16_as(match precision {
            Precision::F32 => FrozenDType::F32,
            Precision::Bf16 => FrozenDType::Bf16,
        });
        let mut loader = Loader {
            checkpoint: &checkpoint,
            precision,
            device: &device,
            linears: Vec::new(),
            tensors: Vec::new(),
            missing: Vec::new(),
        };
        let text = TextModel::load(&config, &mut loader)?;
        let vision = VisionModel::load(&config, &mut loader)?;
        let Loader { linears, tensors, missing, .. } = loader;
        let own = tensors.iter().filter(|tensor| !tensor.tied);
        let parameters = own.map(|tensor| tensor.dims.iter().product::<usize>()).sum();
        let known: HashSet<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        // Frequencies are computed; old files have them all the same.
        let unused = checkpoint.unused(|name| known.contains(name) || name.ends_with(".inv_freq"));
        let unused = fold_layers(&unused);
        if !missing.is_empty() {
            return Err(checkpoint.missing(&missing, unused));
        }
        let quantized = None;
        Ok(Self {
            config,
            text,
            vision,
            linears,
            tensors,
            unused,
            precision,
            device,
            stored_dtype,
            parameters,
            quantized,
            checkpoint,
        })
    }

    /// Quantizes every linear layer but the head, as transformers does with `load_in_4bit` and `load_in_8bit`: those
    /// of the vision tower, too. `progress` is told after each layer how many of how many parameters are done; where
    /// it breaks off, the model is of no use any more.
    pub fn quantize<B>(
        &mut self,
        bit: QuantizationBit,
        mut progress: impl FnMut(usize, usize) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let (mut done, total) = (0, self.linear_parameters());
        for (linear, shape) in self.text.linears_mut().chain(self.vision.linears_mut()).zip(&self.linears) {
            linear.quantize(bit);
            done += shape.rows * shape.cols;
            progress(done, total)?;
        }
        self.quantized = Some(bit);
        ControlFlow::Continue(())
    }

    /// Copies the weights that products read to the model's device; the embedding stays in the file, since only a row a
    /// token is read of it. `progress` is told after each matrix how many of how many bytes of the checkpoint are done;
    /// where it breaks off, the model is of no use any more.
    ///
    /// # Errors
    /// The device has too little memory.
    pub fn upload<B>(&mut self, mut progress: impl FnMut(usize, usize) -> ControlFlow<B>) -> Result<ControlFlow<B>> {
        let matrices: Vec<_> = self.text.matrices_mut().chain(self.vision.matrices_mut()).collect();
        let (mut done, total) = (0, matrices.iter().map(|matrix| matrix.frozen.size()).sum());
        for matrix in matrices {
            matrix.frozen = matrix.frozen.uploaded(&self.device, operand_dtype(self.precision))?;
            done += matrix.frozen.size();
            if let ControlFlow::Break(reason) = progress(done, total) {
                return Ok(ControlFlow::Break(reason));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Parameters of all linear layers but the head, without their biases.
    pub fn linear_parameters(&self) -> usize {
        self.linears.iter().map(|linear| linear.rows * linear.cols).sum()
    }

    /// What was computed before is right if this succeeds afterwards.
    ///
    /// # Errors
    /// A weight file was written to or cut off since the model was loaded.
    pub fn check_unchanged(&self) -> Result<()> {
        self.checkpoint.check_unchanged()
    }

    /// The files that it was loaded from.
    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Reads all of the checkpoint's tensors.
    ///
    /// # Errors
    /// One has a value that is no number (NaN, infinity).
    pub fn check_finite(&self) -> Result<()> {
        self.checkpoint
            .stored()
            .iter()
            .try_for_each(|tensor| self.checkpoint.check_finite(tensor.name, tensor.dtype, tensor.bytes))
    }

    /// Shows a part of the checkpoint by which other weights are told from these: of each tensor, in the order of their names
    /// in memory, the name, the shape and some bytes. That takes milliseconds, where reading all would take as long as the
    /// disk needs.
    pub fn sample_weights(&self, mut show: impl FnMut(&str, &[usize], &[u8])) {
        const BLOCKS: usize = 4;
        const BLOCK: usize = 64;
        let mut stored = self.checkpoint.stored();
        stored.sort_by_key(|tensor| tensor.canonical);
        for tensor in stored {
            for block in 0..BLOCKS {
                let last = tensor.bytes.len().saturating_sub(BLOCK);
                let start = last / (BLOCKS - 1) * block;
                show(tensor.canonical, tensor.shape, &tensor.bytes[start..(start + BLOCK).min(tensor.bytes.len())]);
            }
        }
    }

    /// Positions of one sequence of tokens with pictures of `grids`.
    ///
    /// # Errors
    /// As [`positions::rope_index`].
    pub fn positions(&self, input_ids: &[u32], grids: &[[usize; 3]]) -> Result<Positions> {
        let merge = self.config.vision.spatial_merge_size;
        positions::rope_index(input_ids, grids, self.config.image_token_id, merge)
    }

    /// Embeddings of `input_ids`, `[T · hidden]`, with the rows of `features` (each `[tokens, hidden]`, in
    /// order) in place of the image tokens.
    ///
    /// # Errors
    /// An id outside the vocabulary; image tokens and feature rows differ in number.
    pub fn embed(&self, input_ids: &[u32], features: &[Tensor], pass: Pass) -> Result<Vec<f32>> {
        let hidden = self.config.text.hidden_size;
        let mut x = self.text.embed(input_ids, pass)?;
        let mut rows = Vec::new();
        for feature in features {
            rows.extend(feature.flatten_all()?.to_vec1::<f32>()?);
        }
        let places = input_ids.iter().enumerate().filter(|(_, id)| **id == self.config.image_token_id);
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        if places.len() * hidden != rows.len() {
            return Err(Error::Input(format!(
                "the text holds {} image tokens, but the pictures make {}",
                places.len(),
                rows.len() / hidden
            )));
        }
        for (place, row) in places.into_iter().zip(rows.chunks_exact(hidden)) {
            x[place * hidden..][..hidden].copy_from_slice(row);
        }
        Ok(x)
    }
}

#[cfg(test)]
mod tests;
