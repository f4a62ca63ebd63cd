//! The language model's weights in 12 bits, for answers.

use std::sync::OnceLock;

use tunebook_gemm::Bf12;

use crate::frozen::FrozenMatrix;

use super::decoder_layer::DecoderLayer;
use super::linear::Linear;
use super::text_model::TextModel;

/// The weights of a [`TextModel`] in three quarters of their memory, without loss, which a pass reads in place of those
/// of the checkpoint where [`ForwardContext::decode_weights`](super::ForwardContext::decode_weights) has them. It belongs to that model.
///
/// A token of an answer takes as long as reading all weights takes, so that answers are faster with them; a training
/// step is 3 to 6 % slower. They are packed layer by layer while an answer is generated, so that no answer waits for
/// it, and a short one need not pay for it.
pub struct DecodeWeights {
    /// By the id of the linear layer; none where a matrix stays in the file.
    linears: Vec<OnceLock<Option<Bf12>>>,
    head: OnceLock<Option<Bf12>>,
}

impl DecodeWeights {
    /// Nothing is packed yet.
    pub fn new(text: &TextModel) -> Self {
        Self { linears: text.linears().map(|_| OnceLock::new()).collect(), head: OnceLock::new() }
    }

    /// Whether [`DecodeWeights::pack_next`] has nothing to do any more.
    pub fn is_complete(&self) -> bool {
        self.head.get().is_some()
    }

    /// Packs the weights of one more layer, or of the head after all layers, if they are bf16 in a file and this CPU
    /// makes matmuls of a single row faster so. Their mapped memory is given back.
    pub fn pack_next(&self, text: &TextModel) {
        let slot = |linear: &Linear| &self.linears[linear.id];
        let mut layers = text.layers.iter().map(DecoderLayer::linears);
        match layers.find(|linears| linears.iter().any(|linear| slot(linear).get().is_none())) {
            Some(linears) => linears.iter().for_each(|linear| _ = slot(linear).get_or_init(|| packed(linear.weight()))),
            None => _ = self.head.get_or_init(|| packed(text.frozen_head())),
        }
    }

    /// Drops them: weights are read from the file again.
    pub fn clear(&mut self) {
        self.linears.iter_mut().chain([&mut self.head]).for_each(|matrix| _ = matrix.take());
    }

    /// How many bytes they take less than those of the file do.
    pub fn saved(&self) -> usize {
        let packed = self.linears.iter().chain([&self.head]).filter_map(|matrix| matrix.get()?.as_ref());
        packed.map(|packed| (packed.len() * size_of::<u16>()).saturating_sub(packed.size())).sum()
    }

    pub(crate) fn linear(&self, id: usize) -> Option<&Bf12> {
        self.linears.get(id)?.get()?.as_ref()
    }

    pub(crate) fn head(&self) -> Option<&Bf12> {
        self.head.get()?.as_ref()
    }
}

fn packed(matrix: &FrozenMatrix) -> Option<Bf12> {
    let packed = matrix.packed()?;
    matrix.release();
    Some(packed)
}
