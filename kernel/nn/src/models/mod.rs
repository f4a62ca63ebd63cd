//! Vision-language models: a language model, and a vision tower that turns images into tokens.
//!
//! A family of models is a folder here and a line in [`FAMILIES`]. The folder holds what the family does in its own
//! way: reading `config.json` ([`ModelConfig`]), and the names of its tensors ([`TensorNames`]), from which adapters,
//! merging and checkpoints take every prefix. Decoder and vision tower are made of the parts in `layers`, as the config
//! says; a tower that is none of those is another [`VisionTower`]. The engine knows [`VisionLanguageModel`] and no family.
//!
//! The files decide what a model is. `config.json` is read with the defaults of transformers' classes, since some
//! versions leave default values out. A head in the files that differs from the embedding is used whatever
//! `tie_word_embeddings` says, as in transformers; code that depends on it asks the model, or the merged model, and
//! never the config. Tensors that no layer asks for are reported by `load`.

mod config_error;
mod family;
mod names;
pub mod qwen2_5_vl;
pub mod qwen2_vl;
pub mod qwen3_vl;
mod qwen_config;
mod trained;
mod vision_tower;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use candle_core::Device;
use candle_core::Tensor;
use tunebook_gemm::Precision;

use crate::adapter::ModelShape;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::StoredDType;
use crate::error::Error;
use crate::error::Result;
use crate::fold_layers::fold_layers;
use crate::frozen::FrozenDType;
use crate::frozen::FrozenMatrix;
use crate::layers::DecoderInput;
use crate::layers::DeepStack;
use crate::layers::ForwardContext;
use crate::layers::Linear;
use crate::layers::Loader;
use crate::layers::Matrix;
use crate::layers::Positions;
use crate::layers::TextModel;
use crate::layers::positions;
use crate::ops::Rotary;
use crate::ops::operand_dtype;
use crate::quantize::QuantizationBit;

pub use config_error::ConfigError;
pub use config_error::Parsed;
pub use family::Coordinates;
pub use family::FAMILIES;
pub use family::Family;
pub(crate) use family::LlamaCpp;
pub use family::ModelConfig;
pub use family::read_config;
pub use names::TensorNames;
pub use qwen_config::QwenConfig;
pub use vision_tower::VisionBackward;
pub use vision_tower::VisionTower;

/// A loaded model. Nothing in it ever changes: adapters are passed to it with every [`ForwardContext`].
pub struct VisionLanguageModel {
    pub family: &'static Family,
    pub config: Box<dyn ModelConfig>,
    pub text: TextModel,
    pub vision: Box<dyn VisionTower>,
    /// Its layers and tensors.
    pub shape: ModelShape,
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

impl VisionLanguageModel {
    /// Maps the weights of a model folder. `precision` says how matmuls are formed; `None` takes the dtype
    /// in which the weights are stored, and float32 for float16. What it computes lies on `device`, where the CPU's memory is not at hand:
    /// [`VisionLanguageModel::upload`] brings the weights there.
    ///
    /// # Errors
    /// Names the file, the tensor, and what was expected of it.
    pub fn load(folder: &Path, precision: Option<Precision>, device: Device) -> Result<Self> {
        let (family, config) = read_config(folder)?;
        let checkpoint = Checkpoint::open(folder, &family.names)?;
        let stored_dtype = match checkpoint.contains(family.names.embedding) {
            true => checkpoint.stored_dtype(family.names.embedding)?,
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
            shape: ModelShape::new(&family.names),
            missing: Vec::new(),
        };
        let text = TextModel::load(config.text(), config.tie_word_embeddings(), &mut loader)?;
        let vision = config.load_vision(&mut loader)?;
        let Loader { shape, missing, .. } = loader;
        let own = shape.tensors.iter().filter(|tensor| !tensor.tied);
        let parameters = own.map(|tensor| tensor.dims.iter().product::<usize>()).sum();
        let known: HashSet<&str> = shape.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        // Frequencies are computed; old files have them all the same.
        let unused = checkpoint.unused(|name| known.contains(name) || name.ends_with(".inv_freq"));
        let unused = fold_layers(&unused);
        if !missing.is_empty() {
            return Err(checkpoint.missing(&missing, unused));
        }
        let quantized = None;
        Ok(Self {
            family,
            config,
            text,
            vision,
            shape,
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
        for (linear, shape) in self.text.linears_mut().chain(self.vision.linears_mut()).zip(&self.shape.linears) {
            linear.quantize(bit);
            done += shape.rows * shape.cols;
            progress(done, total)?;
        }
        self.quantized = Some(bit);
        ControlFlow::Continue(())
    }

    /// Copies the weights that matmuls read to the model's device; the embedding stays in the file, since only a row a
    /// token is read of it. `progress` is told after each matrix how many of how many bytes of the checkpoint are done;
    /// where it breaks off, the model is of no use any more.
    ///
    /// # Errors
    /// The device has too little memory.
    pub fn upload<B>(&mut self, mut progress: impl FnMut(usize, usize) -> ControlFlow<B>) -> Result<ControlFlow<B>> {
        let matrices: Vec<&mut Matrix> = self.text.matrices_mut().chain(self.vision.matrices_mut()).collect();
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
        self.shape.linears.iter().map(|linear| linear.rows * linear.cols).sum()
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
        let (image_token_id, merge) = (self.config.image_token_id(), self.config.spatial_merge_size());
        positions::rope_index(input_ids, grids, image_token_id, merge)
    }

    /// The rotation of the language model's queries and keys at `positions`.
    ///
    /// # Errors
    /// Whatever candle reports of the device.
    pub fn rotary(&self, positions: &[[u32; 3]]) -> Result<Rotary> {
        Ok(positions::rotary(positions, &self.text.config, &self.device)?)
    }

    /// What the matrices of the vision tower take in memory once they have been read, in bytes.
    pub fn vision_size(&self) -> usize {
        self.vision.matrices().iter().map(|matrix| matrix.frozen.size()).sum()
    }

    /// Lets the system take back the memory of the vision tower's weights; the next picture reads them from the file again.
    pub fn release_vision(&self) {
        self.vision.matrices().iter().for_each(|matrix| matrix.frozen.release());
    }

    /// The weights of the linear layers, by their ids.
    fn weights(&self) -> impl Iterator<Item = &FrozenMatrix> {
        self.text.linears().chain(self.vision.linears()).map(Linear::weight)
    }

    /// What the decoder reads of `input_ids`, with the rows of `features` (each `[tokens, feature width]`, in order) in place
    /// of the image tokens. Where they are wider than the model, what is beyond is for its first layers.
    ///
    /// # Errors
    /// An id outside the vocabulary; image tokens and feature rows differ in number.
    pub fn embed(&self, input_ids: &[u32], features: &[Tensor], ctx: ForwardContext) -> Result<DecoderInput> {
        let hidden = self.text.config.hidden_size;
        let mut embeddings = self.text.embed(input_ids, ctx)?;
        let image_token_id = self.config.image_token_id();
        let places = (0u32..).zip(input_ids).filter(|(_, id)| **id == image_token_id);
        let places: Vec<u32> = places.map(|(place, _)| place).collect();
        let rows: usize = features.iter().map(|features| features.dims()[0]).sum();
        if places.len() != rows {
            return Err(Error::Input(format!(
                "the text has {} image tokens, but the images need {rows}",
                places.len()
            )));
        }
        let Some(width) = features.first().map(|features| features.dims()[1]) else {
            return Ok(DecoderInput { embeddings, deepstack: DeepStack::default() });
        };
        let features = Tensor::cat(features, 0)?;
        let part = |index: usize| features.narrow(1, index * hidden, hidden)?.contiguous();
        let values = part(0)?.flatten_all()?.to_vec1::<f32>()?;
        for (&place, row) in places.iter().zip(values.chunks_exact(hidden)) {
            embeddings[place as usize * hidden..][..hidden].copy_from_slice(row);
        }
        let deepstack = (1..width / hidden).map(part).collect::<candle_core::Result<_>>()?;
        Ok(DecoderInput { embeddings, deepstack: DeepStack::new(places, deepstack) })
    }
}

#[cfg(test)]
mod tests;
