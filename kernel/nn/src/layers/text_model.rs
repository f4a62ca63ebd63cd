//! The language model: embedding, decoder layers, final norm, and head.

use candle_core::DType;
use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;
use candle_core::Var;
use tunebook_gemm::Precision;

use crate::adapter::Adapter;
use crate::adapter::TensorShape;
use crate::checkpoint::Checkpoint;
use crate::frozen::FrozenMatrix;
use crate::gradients::Gradients;
use crate::models::TensorNames;
use crate::ops::Rotary;
use crate::ops::Weight;
use crate::ops::add_embedding_gradient;
use crate::ops::linear;
use crate::ops::operand_dtype;

use super::cached_sequence::CachedSequence;
use super::cached_sequence::adapter_rows;
use super::cached_sequence::wanted_rows;
use super::decode_weights::DecodeWeights;
use super::decoder_input::DecoderInput;
use super::decoder_layer::DecoderLayer;
use super::kv_cache::KvShape;
use super::linear::ForwardContext;
use super::linear::Linear;
use super::loader::Loader;
use super::parameter::Matrix;
use super::parameter::Norm;
use super::text_config::TextConfig;

/// Whether a checkpoint has a head with other values than the embedding. transformers then takes it, even where
/// config.json says that the two are tied: a merged `modules_to_save` leaves such files.
fn has_own_head(checkpoint: &Checkpoint, names: &TensorNames) -> bool {
    checkpoint.contains(names.head) && !checkpoint.are_equal(names.head, names.embedding)
}

/// A decoder-only language model with its head.
pub struct TextModel {
    pub config: TextConfig,
    embed_tokens: Matrix,
    pub layers: Vec<DecoderLayer>,
    norm: Norm,
    lm_head: Matrix,
    /// Whether the head is the embedding.
    tied: bool,
    precision: Precision,
    device: Device,
}

impl TextModel {
    /// `tied` says whether the head is meant to be the embedding.
    pub(crate) fn load(text: &TextConfig, tied: bool, loader: &mut Loader) -> crate::Result<Self> {
        let names = loader.shape.names;
        let prefix = names.language_model;
        let (vocab, hidden) = (text.vocab_size, text.hidden_size);
        let embed_tokens = loader.matrix(names.embedding.to_string(), vocab, hidden)?;
        let layers = (0..text.num_hidden_layers)
            .map(|i| DecoderLayer::load(&format!("{prefix}.layers.{i}"), text, loader))
            .collect::<crate::Result<_>>()?;
        let norm = loader.rms_norm(&format!("{prefix}.norm"), hidden, text.rms_norm_eps as f32)?;
        let tied = tied && !has_own_head(loader.checkpoint, names);
        let name = names.head.to_string();
        let lm_head = if tied {
            loader.shape.tensors.push(TensorShape { name: name.clone(), dims: vec![vocab, hidden], tied: true });
            Matrix { name, frozen: embed_tokens.frozen.clone() }
        } else {
            loader.matrix(name, vocab, hidden)?
        };
        let (precision, device) = (loader.precision, loader.device.clone());
        let config = text.clone();
        Ok(Self { config, embed_tokens, layers, norm, lm_head, tied, precision, device })
    }

    /// The layers whose weights are quantized, in the order in which they are loaded.
    pub(crate) fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.layers.iter_mut().flat_map(DecoderLayer::linears_mut)
    }

    /// Every matrix that products read.
    pub(crate) fn matrices_mut(&mut self) -> impl Iterator<Item = &mut Matrix> {
        let Self { layers, lm_head, .. } = self;
        layers.iter_mut().flat_map(DecoderLayer::linears_mut).map(|linear| &mut linear.weight).chain([lm_head])
    }

    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().flat_map(DecoderLayer::linears)
    }

    /// The embeddings of `input_ids`, `[T, hidden]`; the caller puts picture features over the placeholders.
    ///
    /// # Errors
    /// An id is outside the vocabulary.
    pub fn embed(&self, input_ids: &[u32], ctx: ForwardContext) -> crate::Result<Vec<f32>> {
        let frozen = &self.embed_tokens.frozen;
        if let Some(id) = input_ids.iter().find(|&&id| id as usize >= frozen.rows) {
            return Err(crate::Error::Input(format!(
                "token {id} is outside the model's vocabulary of {}: tokenizer.json belongs to another model",
                frozen.rows
            )));
        }
        if let Some(trained) = self.embed_tokens.trained(ctx) {
            let ids = Tensor::new(input_ids, &self.device)?;
            return Ok(trained.index_select(&ids, 0)?.flatten_all()?.to_vec1()?);
        }
        let mut values = vec![0f32; input_ids.len() * frozen.cols];
        for (&id, row) in input_ids.iter().zip(values.chunks_exact_mut(frozen.cols)) {
            frozen.read_row(id as usize, row);
        }
        Ok(values)
    }

    /// Adds the gradient of the embedding, if it trains: `ids` are those of the rows that it made.
    pub fn embed_backward(
        &self,
        ids: &[Option<u32>],
        dx: &Tensor,
        ctx: ForwardContext,
        gradients: &mut Gradients,
    ) -> Result<()> {
        match self.embed_tokens.trained(ctx) {
            Some(trained) => add_embedding_gradient(&gradients.sum(trained)?, ids, dx),
            None => Ok(()),
        }
    }

    /// Whether the adapter that is on trains the embedding.
    pub fn embedding_trains(&self, ctx: ForwardContext) -> bool {
        self.embed_tokens.trained(ctx).is_some()
    }

    /// Whether the head is the embedding.
    pub fn is_tied(&self) -> bool {
        self.tied
    }

    /// What the matrices take in memory once they have been read, in bytes.
    pub fn size(&self) -> usize {
        let head = if self.tied { 0 } else { self.lm_head.frozen.size() };
        self.linears().map(|linear| linear.weight().size()).sum::<usize>() + self.embed_tokens.frozen.size() + head
    }

    /// Maps the head's weights at once after [`TextModel::release_head`].
    pub fn map_head(&self) {
        self.lm_head.frozen.map();
    }

    /// Lets the system take back the memory of the head's weights; the next product reads them from the file again.
    pub fn release_head(&self) {
        self.lm_head.frozen.release();
    }

    /// The final norm, before the head.
    pub fn norm(&self, x: &Tensor, ctx: ForwardContext) -> Result<Tensor> {
        self.norm.forward(x, ctx)
    }

    /// The gradient of what goes into the final norm; that of its weight is added to `gradients`, if it trains.
    pub fn norm_backward(
        &self,
        x: &Tensor,
        dy: &Tensor,
        ctx: ForwardContext,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        self.norm.backward(x, dy, None, ctx, gradients)
    }

    /// Logits `[T, vocabulary]` of normed hidden states.
    pub fn logits(&self, normed: &Tensor, ctx: ForwardContext) -> Result<Tensor> {
        if !ctx.batch.is_empty() && ctx.any(|ctx| self.trained_head(ctx).is_some()) {
            return ctx.by_adapter(normed, |normed, ctx| self.logits(normed, ctx));
        }
        linear(normed, self.lm_head(ctx), None, None, self.precision, DType::F32)
    }

    /// The head's matrix, `[vocabulary, hidden]`.
    pub fn lm_head<'a>(&'a self, ctx: ForwardContext<'a>) -> Weight<'a> {
        let of_checkpoint = || {
            let packed = ctx.decode_weights.and_then(DecodeWeights::head);
            Weight::of_checkpoint(&self.lm_head.frozen, packed)
        };
        self.trained_head(ctx).map_or_else(of_checkpoint, |var| Weight::Trained(var))
    }

    /// That of the checkpoint.
    pub(crate) fn frozen_head(&self) -> &FrozenMatrix {
        &self.lm_head.frozen
    }

    /// The copy of the head that trains. A head that is the embedding trains with it where the adapter wants it so.
    pub fn trained_head<'a>(&self, ctx: ForwardContext<'a>) -> Option<&'a Var> {
        let with_embedding = self.tied && ctx.adapter.is_some_and(Adapter::ties_head);
        let embedding = with_embedding.then(|| self.embed_tokens.trained(ctx)).flatten();
        self.lm_head.trained(ctx).or(embedding)
    }

    /// Embeddings as a matrix on the device, `[T, hidden]`.
    pub(super) fn rows(&self, embeddings: Vec<f32>) -> Result<Tensor> {
        let hidden = self.config.hidden_size;
        let tokens = embeddings.len() / hidden;
        Tensor::from_vec(embeddings, (tokens, hidden), &self.device)
    }

    /// Reads the next tokens of `sequences`, whose inputs lie end to end, into their caches; gives the logits of the tokens
    /// that follow those that are wanted, `[wanted, vocabulary]`. The last layer and the head make only their rows.
    ///
    /// # Errors
    /// Whatever candle reports; a stop. The caches then are as they were.
    pub fn next_logits(
        &self,
        input: DecoderInput,
        rotary: &Rotary,
        sequences: &mut [CachedSequence],
        ctx: ForwardContext,
    ) -> crate::Result<Tensor> {
        let Self { config, layers, device, .. } = self;
        let (width, dtype) = (config.num_key_value_heads * config.head_dim, operand_dtype(self.precision));
        let shape = KvShape { layers: layers.len(), width, dtype, device };
        for sequence in &mut *sequences {
            sequence.cache.reserve(sequence.new, &shape)?;
        }
        let [all, of_wanted] = adapter_rows(sequences);
        let (of_wanted, ctx) = (ctx.of_rows(&of_wanted), ctx.of_rows(&all));
        let wanted = wanted_rows(sequences).map(|rows| Tensor::new(rows, device)).transpose()?;
        let mut x = self.rows(input.embeddings)?;
        for (index, layer) in layers.iter().enumerate() {
            ctx.check_cancelled()?;
            let wanted = wanted.as_ref().filter(|_| index + 1 == layers.len()).map(|rows| (rows, of_wanted));
            x = layer.forward_cached(index, &x, rotary, sequences, wanted, ctx)?;
            x = input.deepstack.add(index, x)?;
        }
        for sequence in sequences {
            sequence.cache.appended(sequence.new);
        }
        match x.dim(0)? {
            0 => Ok(Tensor::zeros((0, config.vocab_size), DType::F32, device)?),
            _ => Ok(self.logits(&self.norm(&x, of_wanted)?, of_wanted)?),
        }
    }

    /// Of a token, how many bytes its keys and values take.
    pub fn kv_bytes(&self) -> usize {
        let TextConfig { num_key_value_heads, head_dim, .. } = self.config;
        2 * self.layers.len() * num_key_value_heads * head_dim * operand_dtype(self.precision).size_in_bytes()
    }
}
