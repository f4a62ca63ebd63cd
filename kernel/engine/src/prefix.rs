//! The tokens that a model has read, with their keys and values, so that a prompt with the same beginning is read only
//! from where it differs.
//!
//! A prefix is the same if its token ids, its images and the contents of the adapter are. The adapter is compared by a
//! hash, so nothing has to announce that training has changed it. A prefix outlives a conversation: the next one begins
//! with the same system prompt. Sequences of one batch share theirs.

use candle_core::Device;
use candle_core::Tensor;
use candle_core::TensorId;
use rayon::prelude::*;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::layers::KvCache;
use twox_hash::XxHash3_64;

use crate::common_prefix::common_prefix;
use crate::error::Result;
use crate::generate::Prompt;
use crate::tensor_values::with_values;

/// Tokens that one model has read, with their keys and values. It belongs to that model: whoever holds both drops
/// them together.
#[derive(Default)]
pub struct Prefix {
    /// As many as `cache` holds.
    pub(crate) tokens: Vec<u32>,
    /// The features that were read for the pictures among the tokens, in order. A picture that has changed has other
    /// features.
    pub(crate) pictures: Vec<TensorId>,
    /// The contents of the adapter that was on.
    pub(crate) adapter: Option<u64>,
    pub(crate) cache: KvCache,
}

impl Prefix {
    /// How many tokens and whole pictures at the start of `prompt` have been read with this adapter, leaving at least one
    /// token to read: an answer starts from the logits of a token.
    pub(crate) fn common(&self, prompt: &Prompt, adapter: Option<u64>, image_token: u32) -> (usize, usize) {
        if self.adapter != adapter {
            return (0, 0);
        }
        common(prompt, (&self.tokens, &self.pictures), image_token)
    }

    /// Its first tokens and pictures, whose keys and values are shared.
    pub(crate) fn first(&self, tokens: usize, pictures: usize) -> Self {
        Self {
            tokens: self.tokens[..tokens].to_vec(),
            pictures: self.pictures[..pictures].to_vec(),
            adapter: self.adapter,
            cache: self.cache.prefix(tokens),
        }
    }

    /// Forgets all but the first `tokens`.
    pub(crate) fn truncate(&mut self, tokens: usize) {
        self.tokens.truncate(tokens);
        self.cache.truncate(tokens);
    }
}

/// How many tokens and whole pictures at the start of `prompt` are those of `tokens` and `pictures`, but not all tokens.
pub(crate) fn common(prompt: &Prompt, (tokens, pictures): (&[u32], &[TensorId]), image_token: u32) -> (usize, usize) {
    let but_the_last = &prompt.input_ids[..prompt.input_ids.len().saturating_sub(1)];
    common_prefix(but_the_last, tokens, image_token, |index| {
        let features = prompt.features.get(index)?;
        Some((features.dims()[0], pictures.get(index) == Some(&features.id())))
    })
}

/// A number that tells the contents of an adapter, which training changes in place.
pub fn fingerprint(adapter: &Adapter) -> Result<u64> {
    // From the thread that computes: a device orders what one thread asks of it.
    let tensors = adapter.vars().into_iter().map(|(name, var)| Ok((name, var.to_device(&Device::Cpu)?)));
    let tensors = tensors.collect::<candle_core::Result<Vec<_>>>()?;
    let contents = |(name, tensor): &(String, Tensor)| {
        let name = XxHash3_64::oneshot(name.as_bytes());
        with_values(tensor, |values| XxHash3_64::oneshot_with_seed(name, bytemuck::cast_slice(values)))
    };
    let mut parts = tensors.par_iter().map(contents).collect::<candle_core::Result<Vec<_>>>()?;
    parts.extend(adapter.loras().map(|lora| lora.scaling.to_bits()));
    Ok(XxHash3_64::oneshot(bytemuck::cast_slice(&parts)))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    const IMAGE: u32 = 9;

    fn features(tokens: usize) -> Tensor {
        Tensor::zeros((tokens, 4), candle_core::DType::F32, &Device::Cpu).unwrap()
    }

    fn prompt(input_ids: &[u32], features: &[&Tensor]) -> Prompt {
        let features: Vec<Tensor> = features.iter().map(|&features| features.clone()).collect();
        Prompt { input_ids: input_ids.to_vec(), features, grids: Vec::new() }
    }

    fn after(tokens: &[u32], pictures: &[&Tensor]) -> Prefix {
        let pictures = pictures.iter().map(|features| features.id()).collect();
        Prefix { tokens: tokens.to_vec(), pictures, ..Prefix::default() }
    }

    #[test]
    fn text_is_known_up_to_the_first_difference_but_never_all_of_it() {
        let common = |known: &[u32], next: &[u32]| after(known, &[]).common(&prompt(next, &[]), None, IMAGE);
        assert_eq!(common(&[], &[1, 2]), (0, 0));
        assert_eq!(common(&[1, 2, 3], &[1, 2, 4, 5]), (2, 0));
        assert_eq!(common(&[1, 2, 3], &[1, 2, 3, 4]), (3, 0));
        assert_eq!(common(&[1, 2, 3], &[1, 2, 3]), (2, 0));
        assert_eq!(common(&[1, 2, 3], &[1, 2]), (1, 0));
    }

    #[test]
    fn a_picture_is_known_as_a_whole_and_only_if_it_is_the_same() {
        let (a, b) = (features(2), features(2));
        let tokens = [1, IMAGE, IMAGE, 2, IMAGE, IMAGE, 3];
        let common = |known: Prefix, pictures: &[&Tensor]| known.common(&prompt(&tokens, pictures), None, IMAGE);
        assert_eq!(common(after(&tokens, &[&a, &b]), &[&a, &b]), (6, 2));
        assert_eq!(common(after(&tokens, &[&a, &b]), &[&a, &a]), (4, 1));
        assert_eq!(common(after(&tokens, &[&a, &b]), &[&b, &b]), (1, 0));
        assert_eq!(common(after(&tokens[..5], &[&a, &b]), &[&a, &b]), (4, 1), "half of the second was read");
        // An image token that the model itself made is no picture.
        assert_eq!(common(after(&[1, IMAGE, IMAGE, 2], &[]), &[&a, &b]), (1, 0));
    }
}
