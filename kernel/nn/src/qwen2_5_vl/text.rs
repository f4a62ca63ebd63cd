//! The language model: grouped-query attention, SwiGLU, RMSNorm, and M-RoPE.

use candle_core::DType;
use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;
use candle_core::Var;
use tunebook_gemm::Precision;

use crate::adapter::Adapter;
use crate::adapter::TensorShape;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::EMBEDDING;
use crate::checkpoint::HEAD;
use crate::gradients::Gradients;
use crate::ops::Rotary;
use crate::ops::Segments;
use crate::ops::Weight;
use crate::ops::add;
use crate::ops::add_embedding_gradient;
use crate::ops::attention;
use crate::ops::attention_backward;
use crate::ops::linear;
use crate::ops::operand_dtype;
use crate::ops::rope;
use crate::ops::rope_backward;
use crate::ops::swiglu;
use crate::ops::swiglu_backward;

use super::config::Config;
use super::config::TextConfig;
use super::kv_cache::KvCache;
use super::linear::Linear;
use super::linear::Pass;
use super::loader::Loader;
use super::parameter::Matrix;
use super::parameter::Norm;
use super::sequences::Sequences;

/// Whether a checkpoint has a head with other values than the embedding. transformers then takes it, even where
/// config.json says that the two are tied: a merged `modules_to_save` leaves such files.
fn has_own_head(checkpoint: &Checkpoint) -> bool {
    checkpoint.contains(HEAD) && !checkpoint.are_equal(HEAD, EMBEDDING)
}

/// `model.language_model` and the head.
pub struct TextModel {
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
    pub(super) fn load(config: &Config, loader: &mut Loader) -> crate::Result<Self> {
        let text = &config.text;
        let prefix = "model.language_model";
        let (vocab, hidden) = (text.vocab_size, text.hidden_size);
        let embed_tokens = loader.matrix(EMBEDDING.to_string(), vocab, hidden)?;
        let layers = (0..text.num_hidden_layers)
            .map(|i| DecoderLayer::load(&format!("{prefix}.layers.{i}"), text, loader))
            .collect::<crate::Result<_>>()?;
        let norm = loader.norm(&format!("{prefix}.norm"), hidden, text.rms_norm_eps as f32)?;
        let tied = config.tie_word_embeddings && !has_own_head(loader.checkpoint);
        let name = HEAD.to_string();
        let lm_head = if tied {
            loader.tensors.push(TensorShape { name: name.clone(), dims: vec![vocab, hidden], tied: true });
            Matrix { name, frozen: embed_tokens.frozen.clone() }
        } else {
            loader.matrix(name, vocab, hidden)?
        };
        let (precision, device) = (loader.precision, loader.device.clone());
        Ok(Self { embed_tokens, layers, norm, lm_head, tied, precision, device })
    }

    /// The layers whose weights are quantized, in the order in which they are loaded.
    pub(super) fn linears_mut(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.layers.iter_mut().flat_map(DecoderLayer::linears_mut)
    }

    /// Every matrix that products read.
    pub(super) fn matrices_mut(&mut self) -> impl Iterator<Item = &mut Matrix> {
        let Self { layers, lm_head, .. } = self;
        layers.iter_mut().flat_map(DecoderLayer::linears_mut).map(|linear| &mut linear.weight).chain([lm_head])
    }

    pub(super) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.layers.iter().flat_map(DecoderLayer::linears)
    }

    /// The embeddings of `input_ids`, `[T, hidden]`; the caller puts picture features over the placeholders.
    ///
    /// # Errors
    /// An id is outside the vocabulary.
    pub fn embed(&self, input_ids: &[u32], pass: Pass) -> crate::Result<Vec<f32>> {
        let frozen = &self.embed_tokens.frozen;
        if let Some(id) = input_ids.iter().find(|&&id| id as usize >= frozen.rows) {
            return Err(crate::Error::Input(format!(
                "token {id} is outside the model's vocabulary of {}: tokenizer.json belongs to another model",
                frozen.rows
            )));
        }
        if let Some(trained) = self.embed_tokens.trained(pass) {
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
        pass: Pass,
        gradients: &mut Gradients,
    ) -> Result<()> {
        match self.embed_tokens.trained(pass) {
            Some(trained) => add_embedding_gradient(&gradients.sum(trained)?, ids, dx),
            None => Ok(()),
        }
    }

    /// Whether the adapter that is on trains the embedding.
    pub fn embedding_trains(&self, pass: Pass) -> bool {
        self.embed_tokens.trained(pass).is_some()
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

    /// Whether [`TextModel::pack_next`] has nothing to do any more.
    pub fn is_packed(&self) -> bool {
        self.lm_head.frozen.pack_was_tried()
    }

    /// Keeps the weights of one more layer, or of the head after all layers, in fewer bits from now on, without loss, if
    /// they are bf16 in a file and this CPU makes products with a single token faster so.
    pub fn pack_next(&self) {
        let is_packed = |layer: &&DecoderLayer| layer.linears().iter().all(|linear| linear.weight().pack_was_tried());
        match self.layers.iter().find(|layer| !is_packed(layer)) {
            Some(layer) => layer.linears().iter().for_each(|linear| linear.weight().pack()),
            None => self.lm_head.frozen.pack(),
        }
    }

    /// Reads all weights from the file again.
    pub fn unpack(&mut self) {
        self.matrices_mut().for_each(|matrix| matrix.frozen.unpack());
        if self.tied {
            self.embed_tokens.frozen = self.lm_head.frozen.clone();
        }
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
    pub fn norm(&self, x: &Tensor, pass: Pass) -> Result<Tensor> {
        self.norm.forward(x, pass)
    }

    /// The gradient of what goes into the final norm; that of its weight is added to `gradients`, if it trains.
    pub fn norm_backward(&self, x: &Tensor, dy: &Tensor, pass: Pass, gradients: &mut Gradients) -> Result<Tensor> {
        self.norm.backward(x, dy, None, pass, gradients)
    }

    /// Logits `[T, vocabulary]` of normed hidden states.
    pub fn logits(&self, normed: &Tensor, pass: Pass) -> Result<Tensor> {
        linear(normed, self.lm_head(pass), None, None, self.precision, DType::F32)
    }

    /// The head's matrix, `[vocabulary, hidden]`.
    pub fn lm_head<'a>(&'a self, pass: Pass<'a>) -> Weight<'a> {
        self.trained_head(pass).map_or(Weight::Frozen(&self.lm_head.frozen), |var| Weight::Trained(var))
    }

    /// The copy of the head that trains. A head that is the embedding trains with it where the adapter wants it so.
    pub fn trained_head<'a>(&self, pass: Pass<'a>) -> Option<&'a Var> {
        let with_embedding = self.tied && pass.adapter.is_some_and(Adapter::ties_head);
        let embedding = with_embedding.then(|| self.embed_tokens.trained(pass)).flatten();
        self.lm_head.trained(pass).or(embedding)
    }
}

/// One layer: `x += attention(norm(x))`, then `x += mlp(norm(x))`.
pub struct DecoderLayer {
    input_layernorm: Norm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    post_attention_layernorm: Norm,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    heads: usize,
    kv_heads: usize,
    precision: Precision,
}

impl DecoderLayer {
    fn load(prefix: &str, config: &TextConfig, loader: &mut Loader) -> crate::Result<Self> {
        let (hidden, ffn) = (config.hidden_size, config.intermediate_size);
        let kv = config.num_key_value_heads * config.head_dim();
        let eps = config.rms_norm_eps as f32;
        let mut layer = Self {
            input_layernorm: loader.norm(&format!("{prefix}.input_layernorm"), hidden, eps)?,
            q_proj: loader.linear(format!("{prefix}.self_attn.q_proj"), hidden, hidden, true)?,
            k_proj: loader.linear(format!("{prefix}.self_attn.k_proj"), kv, hidden, true)?,
            v_proj: loader.linear(format!("{prefix}.self_attn.v_proj"), kv, hidden, true)?,
            o_proj: loader.linear(format!("{prefix}.self_attn.o_proj"), hidden, hidden, false)?,
            post_attention_layernorm: loader.norm(&format!("{prefix}.post_attention_layernorm"), hidden, eps)?,
            gate_proj: loader.linear(format!("{prefix}.mlp.gate_proj"), ffn, hidden, false)?,
            up_proj: loader.linear(format!("{prefix}.mlp.up_proj"), ffn, hidden, false)?,
            down_proj: loader.linear(format!("{prefix}.mlp.down_proj"), hidden, ffn, false)?,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            precision: loader.precision,
        };
        let widest = operand_dtype(loader.precision);
        (layer.gate_proj.y_dtype, layer.up_proj.y_dtype, layer.down_proj.dx_dtype) = (widest, widest, widest);
        Ok(layer)
    }

    fn linears(&self) -> [&Linear; 7] {
        let Self { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, .. } = self;
        [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
    }

    fn linears_mut(&mut self) -> [&mut Linear; 7] {
        let Self { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, .. } = self;
        [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
    }

    /// The layer's inner values for `x`, `[T, hidden]`: the tokens of all `sequences`, rotated by `rotary`. Its output is
    /// [`DecoderLayer::output`] of them, for the rows that are queries.
    pub fn inner(&self, x: &Tensor, rotary: &Rotary, sequences: &Sequences, pass: Pass) -> Result<Inner> {
        let mut h = Hs::default();
        let [q, k, v] = self.qkv(x, rotary, pass, &mut h)?;
        let (x, q) = (sequences.queries(x.clone())?, sequences.queries(q)?);
        let (k, v) = (sequences.keys(k)?, sequences.keys(v)?);
        let attended = attention(&q, &k, &v, &sequences.segments, [self.heads, self.kv_heads], self.precision)?;
        self.inner_after_attention(&x, [q, k, v, attended], h, pass)
    }

    /// What the layer makes of its input, `[queries, hidden]`.
    pub fn output(&self, inner: &mut Inner, pass: Pass) -> Result<Tensor> {
        let (y, h) = self.down_proj.forward(&swiglu(&inner.gate, &inner.up)?, pass)?;
        inner.h.down = h;
        add(&inner.middle, &y)
    }

    /// The gradient of the input `x`, given that of the output, dy, `[queries, hidden]`; gradients of what trains are
    /// added to `gradients`. This is `inner` and `output` read backwards.
    pub fn backward(
        &self,
        x: &Tensor,
        inner: &Inner,
        dy: &Tensor,
        at: (&Rotary, &Sequences),
        pass: Pass,
        gradients: &mut Gradients,
    ) -> Result<Tensor> {
        let (rotary, sequences) = at;
        let heads = [self.heads, self.kv_heads];
        let Inner { q, k, v, attended, middle, gate, up, h } = inner;

        let dactivated = self.down_proj.backward(&swiglu(gate, up)?, h.down.as_ref(), dy, pass, gradients)?;
        let [dgate, dup] = swiglu_backward(gate, up, &dactivated)?;
        let normed = self.post_attention_layernorm.forward(middle, pass)?;
        let dnormed = add(
            &self.gate_proj.backward(&normed, h.gate.as_ref(), &dgate, pass, gradients)?,
            &self.up_proj.backward(&normed, h.up.as_ref(), &dup, pass, gradients)?,
        )?;
        let dmiddle = self.post_attention_layernorm.backward(middle, &dnormed, Some(dy), pass, gradients)?;

        let dattended = self.o_proj.backward(attended, h.o.as_ref(), &dmiddle, pass, gradients)?;
        let [dq, dk, dv] =
            attention_backward([q, k, v, attended], &dattended, &sequences.segments, heads, self.precision)?;
        let tokens = x.dim(0)?;
        let (dq, dmiddle) = (sequences.queries_backward(dq, tokens)?, sequences.queries_backward(dmiddle, tokens)?);
        let (dk, dv) = (sequences.keys_backward(dk, tokens)?, sequences.keys_backward(dv, tokens)?);
        let normed = self.input_layernorm.forward(x, pass)?;
        let dnormed = add(
            &self.q_proj.backward(&normed, h.q.as_ref(), &rope_backward(&dq, rotary)?, pass, gradients)?,
            &add(
                &self.k_proj.backward(&normed, h.k.as_ref(), &rope_backward(&dk, rotary)?, pass, gradients)?,
                &self.v_proj.backward(&normed, h.v.as_ref(), &dv, pass, gradients)?,
            )?,
        )?;
        self.input_layernorm.backward(x, &dnormed, Some(&dmiddle), pass, gradients)
    }

    /// Whether the adapter that is on trains anything here.
    pub fn trains(&self, pass: Pass) -> bool {
        self.linears().iter().any(|linear| linear.trains(pass))
            || self.input_layernorm.trains(pass)
            || self.post_attention_layernorm.trains(pass)
    }

    /// What of the weights [`DecoderLayer::release`] gives back, in bytes.
    pub fn releasable(&self) -> usize {
        self.linears().iter().map(|linear| linear.weight().releasable()).sum()
    }

    /// Maps the weights at once after [`DecoderLayer::release`].
    pub fn map(&self) {
        self.linears().iter().for_each(|linear| linear.weight().map());
    }

    /// Lets the system take back the memory of the weights; the next pass reads them from the file again.
    pub fn release(&self) {
        self.linears().iter().for_each(|linear| linear.weight().release());
    }

    /// The output of the last `wanted` tokens of one sequence whose earlier tokens are in `cache`, where this is layer
    /// `index`; `x` holds the new ones.
    fn forward_cached(
        &self,
        x: &Tensor,
        rotary: &Rotary,
        (cache, index): (&mut KvCache, usize),
        wanted: usize,
        pass: Pass,
    ) -> Result<Tensor> {
        let mut h = Hs::default();
        let [q, k, v] = self.qkv(x, rotary, pass, &mut h)?;
        let (k, v) = cache.append(index, &k, &v)?;
        let first = x.dim(0)? - wanted;
        let (x, q) = (x.narrow(0, first, wanted)?, q.narrow(0, first, wanted)?);
        let segments = Segments { q: [0, wanted].into(), k: [0, k.dim(0)?].into(), causal: true };
        let attended = attention(&q, &k, &v, &segments, [self.heads, self.kv_heads], self.precision)?;
        self.output(&mut self.inner_after_attention(&x, [q, k, v, attended], h, pass)?, pass)
    }

    fn qkv(&self, x: &Tensor, rotary: &Rotary, pass: Pass, h: &mut Hs) -> Result<[Tensor; 3]> {
        let normed = self.input_layernorm.forward(x, pass)?;
        let (q, k, v);
        (q, h.q) = self.q_proj.forward(&normed, pass)?;
        (k, h.k) = self.k_proj.forward(&normed, pass)?;
        (v, h.v) = self.v_proj.forward(&normed, pass)?;
        Ok([rope(&q, rotary)?, rope(&k, rotary)?, v])
    }

    fn inner_after_attention(
        &self,
        x: &Tensor,
        [q, k, v, attended]: [Tensor; 4],
        mut h: Hs,
        pass: Pass,
    ) -> Result<Inner> {
        let (o, gate, up);
        (o, h.o) = self.o_proj.forward(&attended, pass)?;
        let middle = add(x, &o)?;
        let normed = self.post_attention_layernorm.forward(&middle, pass)?;
        (gate, h.gate) = self.gate_proj.forward(&normed, pass)?;
        (up, h.up) = self.up_proj.forward(&normed, pass)?;
        Ok(Inner { q, k, v, attended, middle, gate, up, h })
    }
}

/// What a layer's backward pass reads beside the input: the values that took a product to make. Keys and values are those
/// of all tokens that are seen, all else belongs to the queries.
pub struct Inner {
    /// Rotated queries, `[queries, heads · head_dim]`.
    q: Tensor,
    /// Rotated keys, `[keys, kv_heads · head_dim]`.
    k: Tensor,
    v: Tensor,
    /// What attention makes of them, `[queries, heads · head_dim]`.
    attended: Tensor,
    /// The residual stream between attention and feed-forward, `[queries, hidden]`.
    middle: Tensor,
    /// `[queries, intermediate]`. These, two thirds of what a layer keeps, are rounded to bf16 where products are, and so is
    /// all else of that width.
    gate: Tensor,
    up: Tensor,
    h: Hs,
}

/// h of each linear layer that an adapter is on; that of `down_proj` is made with the output.
#[derive(Default)]
struct Hs {
    q: Option<Tensor>,
    k: Option<Tensor>,
    v: Option<Tensor>,
    o: Option<Tensor>,
    gate: Option<Tensor>,
    up: Option<Tensor>,
    down: Option<Tensor>,
}

impl TextModel {
    /// Reads the new tokens `x` (`[T, hidden]`, embedded) of one sequence into `cache` and gives the hidden states of the
    /// last `wanted` before the final norm, `[wanted, hidden]`: the last layer need not make those of the others.
    ///
    /// # Errors
    /// Whatever candle reports; a stop. The cache then is as it was.
    pub fn read(
        &self,
        x: Vec<f32>,
        rotary: &Rotary,
        cache: &mut KvCache,
        wanted: usize,
        pass: Pass,
    ) -> crate::Result<Tensor> {
        let tokens = x.len() / self.embed_tokens.frozen.cols;
        let mut x = Tensor::from_vec(x, (tokens, self.embed_tokens.frozen.cols), &self.device)?;
        for (index, layer) in self.layers.iter().enumerate() {
            pass.go_on()?;
            let wanted = if index + 1 == self.layers.len() { wanted.min(tokens) } else { tokens };
            x = layer.forward_cached(&x, rotary, (cache, index), wanted, pass)?;
        }
        cache.appended(tokens);
        Ok(x)
    }
}
