//! A model's weights with an adapter merged into them.
//!
//! [`Merge`] has every tensor of the merged model, one at a time; what writes them is above it: [`Merge::write`] as
//! transformers reads them, and [`GgufFile`](crate::gguf::GgufFile) as llama.cpp does.

mod safetensors;

use rayon::prelude::*;

use crate::adapter::Adapter;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::StoredTensor;
use crate::error::Result;
use crate::models::TensorNames;
use crate::models::VisionLanguageModel;

/// A checkpoint and the adapter that is merged into it, if any, read from the checkpoint's own files: a model that was
/// loaded in fewer bits is written with its full weights.
///
/// A layer that the adapter changes becomes
///
/// `W + scaling · B A`, or with DoRA `magnitude · (W + scaling · B A) / ‖W + scaling · B A‖`,
///
/// computed in f32 and rounded once, as PEFT's `merge_and_unload` does; of a tensor that was trained, the copy is taken.
pub struct Merge<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    adapter: Option<&'a Adapter>,
    pub(crate) net: &'a VisionLanguageModel,
}

impl<'a> Merge<'a> {
    pub fn new(adapter: Option<&'a Adapter>, net: &'a VisionLanguageModel) -> Self {
        Self { checkpoint: net.checkpoint(), adapter, net }
    }

    /// Whether the merged model's head is its embedding. A LoRA that trained one of them by itself makes two of them.
    pub fn is_tied(&self) -> bool {
        let names = self.net.shape.names;
        let makes_two = |adapter: &Adapter| {
            let trains = |name| adapter.tensor(name).is_some();
            !adapter.ties_head() && (trains(names.embedding) || trains(names.head))
        };
        self.net.text.is_tied() && !self.adapter.is_some_and(makes_two)
    }

    /// The tensors before the adapter changes them: those of the checkpoint, with the head if and only if it is a matrix
    /// of its own. Names and dtypes are the checkpoint's.
    pub(crate) fn tensors(&self) -> Vec<StoredTensor<'a>> {
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

    /// The elements of one of [`Merge::tensors`].
    ///
    /// # Errors
    /// It is stored in a dtype other than float32, float16 and bfloat16.
    pub(crate) fn values(&self, tensor: &StoredTensor) -> Result<Vec<f32>> {
        match self.changed(tensor)? {
            Some(values) => Ok(values),
            None if self.checkpoint.contains(tensor.canonical) => self.checkpoint.values(tensor.canonical),
            // A head that is the embedding no longer.
            None => self.checkpoint.values(self.net.shape.names.embedding),
        }
    }

    /// The new elements of a tensor that the adapter changes: the copy that was trained, or V of the layer's low-rank
    /// update (see [`crate::adapter::Lora`]).
    pub(crate) fn changed(&self, tensor: &StoredTensor) -> Result<Option<Vec<f32>>> {
        let Some(adapter) = self.adapter else { return Ok(None) };
        if let Some(copy) = adapter.tensor(tensor.canonical) {
            return Ok(Some(copy.flatten_all()?.to_vec1()?));
        }
        let id = tensor
            .canonical
            .strip_suffix(".weight")
            .and_then(|module| self.net.shape.linears.iter().position(|linear| linear.name == module));
        let Some((id, lora)) = id.and_then(|id| Some((id, adapter.get(id)?))) else { return Ok(None) };
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
}
