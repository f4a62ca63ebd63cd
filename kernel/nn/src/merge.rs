//! A model's weights with an adapter merged into them, written as safetensors.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;

use half::bf16;
use half::f16;
use rayon::prelude::*;
use safetensors::Dtype;
use serde_json::json;

use crate::adapter::Adapter;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::StoredTensor;
use crate::error::Error;
use crate::error::Result;
use crate::models::TensorNames;
use crate::models::VisionLanguageModel;
use crate::tensor_file;

/// A checkpoint and the adapter that is merged into it, read from the checkpoint's own files: a model that was loaded in
/// fewer bits is written with its full weights.
pub struct Merge<'a> {
    checkpoint: &'a Checkpoint,
    adapter: &'a Adapter,
    net: &'a VisionLanguageModel,
}

impl<'a> Merge<'a> {
    pub fn new(adapter: &'a Adapter, net: &'a VisionLanguageModel) -> Self {
        Self { checkpoint: net.checkpoint(), adapter, net }
    }

    /// Whether the merged model's head is its embedding. A LoRA that trained one of them by itself makes two of them.
    pub fn is_tied(&self) -> bool {
        let names = self.net.shape.names;
        let trains = |name| self.adapter.tensor(name).is_some();
        let apart = !self.adapter.ties_head() && (trains(names.embedding) || trains(names.head));
        self.net.text.is_tied() && !apart
    }

    /// How many tensors there are.
    pub fn tensors(&self) -> usize {
        self.merged().len()
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> u64 {
        self.merged().iter().map(|tensor| tensor.bytes.len() as u64).sum()
    }

    /// The tensors before the adapter changes them: those of the checkpoint, with the head if and only if it is a matrix
    /// of its own.
    fn merged(&self) -> Vec<StoredTensor<'_>> {
        let TensorNames { embedding, head, .. } = *self.net.shape.names;
        let mut tensors = self.checkpoint.stored();
        if self.is_tied() {
            tensors.retain(|tensor| tensor.canonical != head);
        } else if !self.checkpoint.contains(head)
            && let Some(stored) = tensors.iter().find(|tensor| tensor.canonical == embedding)
        {
            let head = StoredTensor { name: head, canonical: head, ..*stored };
            tensors.push(head);
        }
        tensors
    }

    /// Writes `model.safetensors` into `folder`, or shards of at most `shard_bytes` with their index, as transformers'
    /// `save_pretrained` lays them out (a tensor that is larger has a shard of its own), and returns the files' names.
    /// Tensors keep the names and dtypes of the checkpoint. A layer that the adapter changes becomes
    ///
    /// `W + scaling · B A`, or with DoRA `magnitude · (W + scaling · B A) / ‖W + scaling · B A‖`,
    ///
    /// computed in f32 and rounded once, as PEFT's `merge_and_unload` does; of a tensor that was trained, the copy is
    /// written. One tensor at a time is in memory.
    ///
    /// `go_on` hears the number of tensors written before each one, and says whether to go on; else the answer is none.
    ///
    /// # Errors
    /// A file cannot be written; a value is no number; a layer is stored in a dtype other than float32, float16 and bfloat16.
    pub fn write(&self, folder: &Path, shard_bytes: u64, go_on: &dyn Fn(usize) -> bool) -> Result<Option<Vec<String>>> {
        let shards = shards(self.merged(), shard_bytes);
        let (total, mut written) = (self.bytes(), 0);
        let mut files = Vec::new();
        let mut weight_map = serde_json::Map::new();
        for (index, shard) in shards.iter().enumerate() {
            let name = match shards.len() {
                1 => "model.safetensors".to_string(),
                count => format!("model-{:05}-of-{count:05}.safetensors", index + 1),
            };
            if !self.write_shard(shard, &folder.join(&name), &mut written, go_on)? {
                return Ok(None);
            }
            weight_map.extend(shard.iter().map(|tensor| (tensor.name.to_string(), json!(name))));
            files.push(name);
        }
        if shards.len() > 1 {
            weight_map.sort_keys();
            let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
            let path = folder.join("model.safetensors.index.json");
            std::fs::write(&path, format!("{index:#}\n")).map_err(|source| Error::Write { path, source })?;
            files.push("model.safetensors.index.json".to_string());
        }
        Ok(Some(files))
    }

    /// The file format: the length of a header, the header with every tensor's place, the tensors.
    fn write_shard(
        &self,
        shard: &[StoredTensor],
        path: &Path,
        written: &mut usize,
        go_on: &dyn Fn(usize) -> bool,
    ) -> Result<bool> {
        let error = |source| Error::Write { path: path.to_path_buf(), source };
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(error)?);
        let infos =
            shard.iter().map(|tensor| (tensor.name.to_string(), tensor.dtype, tensor.shape, tensor.bytes.len()));
        file.write_all(&tensor_file::header(&[], infos).map_err(error)?).map_err(error)?;
        for tensor in shard {
            if !go_on(*written) {
                return Ok(false);
            }
            let bytes = match self.changed(tensor)? {
                Some(values) => Cow::Owned(Self::stored(&values, tensor, path)?),
                None => Cow::Borrowed(tensor.bytes),
            };
            self.checkpoint.check_finite(tensor.name, tensor.dtype, &bytes)?;
            file.write_all(&bytes).map_err(error)?;
            *written += 1;
        }
        // The folder is renamed when all is written; without this, a crash soon after could leave it without contents.
        file.into_inner().map_err(|error| error.into_error()).and_then(|file| file.sync_all()).map_err(error)?;
        Ok(true)
    }

    /// The new elements of a tensor that the adapter changes: the copy that was trained, or V of the layer's low-rank
    /// update (see [`crate::adapter::Lora`]).
    fn changed(&self, tensor: &StoredTensor) -> Result<Option<Vec<f32>>> {
        if let Some(copy) = self.adapter.tensor(tensor.canonical) {
            return Ok(Some(copy.flatten_all()?.to_vec1()?));
        }
        let id = tensor
            .canonical
            .strip_suffix(".weight")
            .and_then(|module| self.net.shape.linears.iter().position(|linear| linear.name == module));
        let Some((id, lora)) = id.and_then(|id| Some((id, self.adapter.get(id)?))) else { return Ok(None) };
        let (a, b) = lora.plain_factors()?;
        let update = (b.matmul(&a)? * lora.scaling)?.flatten_all()?.to_vec1::<f32>()?;
        let mut values = self.checkpoint.values(tensor.canonical)?;
        values.par_iter_mut().with_min_len(1 << 14).zip(&update).for_each(|(value, update)| *value += update);
        if let Some(magnitude) = &lora.magnitude {
            let lengths = magnitude.lengths.to_vec1::<f32>()?;
            values.par_chunks_mut(self.net.shape.linears[id].cols.max(1)).zip(&lengths).for_each(|(row, length)| {
                let norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt() as f32;
                row.iter_mut().for_each(|value| *value *= length / norm);
            });
        }
        Ok(Some(values))
    }

    /// Elements in a tensor's dtype.
    fn stored(values: &[f32], tensor: &StoredTensor, path: &Path) -> Result<Vec<u8>> {
        match tensor.dtype {
            Dtype::F32 => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Dtype::BF16 => Ok(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()),
            Dtype::F16 => Ok(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()),
            other => {
                let (path, name) = (path.to_path_buf(), tensor.name.to_string());
                Err(Error::DType { path, name, dtype: format!("{other:?}") })
            }
        }
    }
}

/// Tensors in their order, in groups of at most `shard_bytes`. Wider elements come first in a group, so that every
/// tensor lies at a multiple of its element.
fn shards(stored: Vec<StoredTensor<'_>>, shard_bytes: u64) -> Vec<Vec<StoredTensor<'_>>> {
    let mut shards: Vec<Vec<StoredTensor>> = Vec::new();
    let mut room = 0;
    for tensor in stored {
        let bytes = tensor.bytes.len() as u64;
        match shards.last_mut() {
            Some(shard) if bytes <= room => {
                room -= bytes;
                shard.push(tensor);
            }
            _ => {
                room = shard_bytes.saturating_sub(bytes);
                shards.push(vec![tensor]);
            }
        }
    }
    shards.iter_mut().for_each(|shard| shard.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype.bitsize())));
    shards
}
