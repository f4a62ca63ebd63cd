//! The tokens that a model has read, with their keys and values, so that a prompt with the same beginning is read only
//! from where it differs.
//!
//! A prefix is the same if its token ids, its images and the contents of the adapter are. The adapter is compared by a
//! hash, so nothing has to announce that training has changed it. The prefix outlives a conversation: the next one, and
//! each sample of a prediction, begins with the same system prompt. The last layer computes only the state of the last
//! token of a prompt.

use candle_core::Device;
use candle_core::Tensor;
use candle_core::TensorId;
use rayon::prelude::*;
use tunebook_nn::VisionLanguageModel;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::layers::DecoderInput;
use tunebook_nn::layers::DeepStack;
use tunebook_nn::layers::ForwardContext;
use tunebook_nn::layers::KvCache;
use twox_hash::XxHash3_64;

use crate::common_prefix::common_prefix;
use crate::error::Error;
use crate::error::Result;
use crate::generate::Prompt;
use crate::model::Model;
use crate::tensor_values::with_values;

/// Tokens that one model has read, with their keys and values. It belongs to that model: whoever holds both drops
/// them together.
#[derive(Default)]
pub struct Prefix {
    tokens: Vec<u32>,
    /// The features that were read for the pictures among the tokens, in order. A picture that has changed has other
    /// features.
    pictures: Vec<TensorId>,
    /// The contents of the adapter that was on.
    adapter: Option<u64>,
    /// As many tokens as `tokens`.
    cache: Option<KvCache>,
}

/// Tokens that are read in one go, which is enough for fast products.
const STRIDE: usize = 512;

impl Prefix {
    /// Reads `prompt` from where it differs from what was read before, and makes room for `room` tokens after it.
    /// Gives the last token's hidden state, `[1, hidden]`, and how many tokens were known; nothing if it was
    /// stopped.
    ///
    /// # Errors
    /// Pictures and placeholders differ in number; the prefix keeps what is common.
    pub fn read_prompt(
        &mut self,
        model: &Model,
        adapter: Option<&Adapter>,
        prompt: &Prompt,
        room: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<(Option<Tensor>, usize)> {
        let (net, ctx) = (&model.net, model.forward_context(adapter));
        let contents = adapter.map(fingerprint).transpose()?;
        if contents != self.adapter {
            *self = Self { adapter: contents, ..Self::default() };
        }
        let (known, pictures) = self.common(prompt, net.config.image_token_id());
        self.tokens.truncate(known);
        self.pictures = prompt.features.iter().map(Tensor::id).collect();
        let layers = net.text.layers.len();
        self.cache.get_or_insert_with(|| KvCache::new(layers, prompt.input_ids.len() + room)).truncate(known);

        let new = &prompt.input_ids[known..];
        let positions = net.positions(&prompt.input_ids, &prompt.grids)?.thw;
        let input = net.embed(new, &prompt.features[pictures..], ctx)?;
        let strides = new.chunks(STRIDE).zip(positions[known..].chunks(STRIDE));
        let mut last = None;
        let ctx = ForwardContext { stop: Some(stop), ..ctx };
        for (start, (tokens, positions)) in (0..).step_by(STRIDE).zip(strides) {
            let input = input.part(start..start + tokens.len(), net.text.config.hidden_size)?;
            last = match self.read(net, (tokens, positions), input, ctx) {
                Err(Error::Cancelled) => return Ok((None, known)),
                hidden => Some(hidden?),
            };
        }
        Ok((last, known))
    }

    /// Reads the one token at `position`; gives its hidden state, `[1, hidden]`. The adapter must be that of the
    /// prompt.
    pub fn read_token(
        &mut self,
        model: &Model,
        adapter: Option<&Adapter>,
        token: u32,
        position: [u32; 3],
    ) -> Result<Tensor> {
        let (net, ctx) = (&model.net, model.forward_context(adapter));
        let input = DecoderInput { embeddings: net.text.embed(&[token], ctx)?, deepstack: DeepStack::default() };
        self.read(net, (&[token], &[position]), input, ctx)
    }

    /// The hidden state of the last of the new tokens.
    fn read(
        &mut self,
        net: &VisionLanguageModel,
        (tokens, positions): (&[u32], &[[u32; 3]]),
        input: DecoderInput,
        ctx: ForwardContext,
    ) -> Result<Tensor> {
        let layers = net.text.layers.len();
        let cache = self.cache.get_or_insert_with(|| KvCache::new(layers, tokens.len()));
        let turn = net.rotary(positions)?;
        let hidden = net.text.read(input, &turn, cache, 1, ctx)?;
        self.tokens.extend_from_slice(tokens);
        Ok(hidden)
    }

    /// How many tokens and whole pictures at the start of `prompt` have been read, leaving at least one token to
    /// read: an answer starts from a hidden state.
    fn common(&self, prompt: &Prompt, image_token: u32) -> (usize, usize) {
        let but_the_last = &prompt.input_ids[..prompt.input_ids.len().saturating_sub(1)];
        common_prefix(but_the_last, &self.tokens, image_token, |index| {
            let features = prompt.features.get(index)?;
            Some((features.dims()[0], self.pictures.get(index) == Some(&features.id())))
        })
    }
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
        let common = |known: &[u32], next: &[u32]| after(known, &[]).common(&prompt(next, &[]), IMAGE);
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
        let common = |known: Prefix, pictures: &[&Tensor]| known.common(&prompt(&tokens, pictures), IMAGE);
        assert_eq!(common(after(&tokens, &[&a, &b]), &[&a, &b]), (6, 2));
        assert_eq!(common(after(&tokens, &[&a, &b]), &[&a, &a]), (4, 1));
        assert_eq!(common(after(&tokens, &[&a, &b]), &[&b, &b]), (1, 0));
        assert_eq!(common(after(&tokens[..5], &[&a, &b]), &[&a, &b]), (4, 1), "half of the second was read");
        // An image token that the model itself made is no picture.
        assert_eq!(common(after(&[1, IMAGE, IMAGE, 2], &[]), &[&a, &b]), (1, 0));
    }
}
