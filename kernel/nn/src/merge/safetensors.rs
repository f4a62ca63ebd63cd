//! A merged model as safetensors.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;

use half::bf16;
use half::f16;
use safetensors::Dtype;
use serde_json::json;

use super::Merge;
use crate::checkpoint::StoredTensor;
use crate::error::Error;
use crate::error::Result;
use crate::tensor_file;

impl Merge<'_> {
    /// How many tensors [`Merge::write`] writes.
    pub fn tensor_count(&self) -> usize {
        self.tensors().len()
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> u64 {
        self.tensors().iter().map(|tensor| tensor.bytes.len() as u64).sum()
    }

    /// Writes `model.safetensors` into `folder`, or shards of at most `shard_bytes` with their index, as transformers'
    /// `save_pretrained` lays them out (a tensor that is larger has a shard of its own), and returns the files' names.
    /// Tensors keep the names and dtypes of the checkpoint. One tensor at a time is in memory.
    ///
    /// `go_on` hears the number of tensors written before each one, and says whether to go on; else the answer is none.
    ///
    /// # Errors
    /// A file cannot be written; a value is no number; a layer is stored in a dtype other than float32, float16 and bfloat16.
    pub fn write(&self, folder: &Path, shard_bytes: u64, go_on: &dyn Fn(usize) -> bool) -> Result<Option<Vec<String>>> {
        let shards = shards(self.tensors(), shard_bytes);
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
                Some(values) => Cow::Owned(stored(&values, tensor, path)?),
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
