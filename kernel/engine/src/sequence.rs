//! One answer on its way: what of its prompt and of itself has been read, and what comes next.

use candle_core::Tensor;
use candle_core::TensorId;
use tunebook_nn::VisionLanguageModel;
use tunebook_nn::layers::DecoderInput;
use tunebook_nn::layers::DeepStack;
use tunebook_nn::layers::Positions;
use tunebook_nn::ops::TokenScore;
use tunebook_nn::ops::token_score;

use crate::drafts::NGrams;
use crate::drafts::draft;
use crate::error::Result;
use crate::generate::Answer;
use crate::generate::Request;
use crate::model::Model;
use crate::prefix::Prefix;
use crate::prefix::common;
use crate::report::AnswerEnd;
use crate::sampling::Sampler;

/// The prompt and the answer so far are one text. The model reads what it has not read of it; the logits of the last
/// token choose the next one.
pub(crate) struct Sequence<'a> {
    pub(crate) request: Request<'a>,
    /// The contents of its adapter.
    fingerprint: Option<u64>,
    /// The prompt and the answer so far.
    tokens: Vec<u32>,
    /// Those of the prompt.
    positions: Positions,
    /// The prompt's input from token `input_start` on, once it has begun.
    input: DecoderInput,
    input_start: usize,
    /// The tokens that have been read.
    read: Prefix,
    /// How many tokens of the prompt another sequence had read.
    pub(crate) cached_tokens: usize,
    drafted_tokens: usize,
    accepted_tokens: usize,
    sampler: Sampler,
    /// Of the tokens chosen last, where they are asked for.
    scores: Vec<(u32, TokenScore)>,
    /// What followed what in `tokens`, as far as `counted`.
    own: NGrams,
    counted: usize,
}

/// A part of a sequence that is read at once.
pub(crate) struct Chunk {
    pub(crate) input: DecoderInput,
    pub(crate) positions: Vec<[u32; 3]>,
    /// The tokens of the text, and those that are drafted behind it.
    pub(crate) tokens: Vec<u32>,
    pub(crate) drafted: usize,
    /// After how many of the last tokens logits are wanted; none, as long as the text has not been read to its end.
    pub(crate) wanted: usize,
}

impl<'a> Sequence<'a> {
    pub(crate) fn new(request: Request<'a>, fingerprint: Option<u64>, model: &Model) -> Result<Self> {
        let prompt = &request.prompt;
        Ok(Self {
            fingerprint,
            tokens: prompt.input_ids.clone(),
            positions: model.net.positions(&prompt.input_ids, &prompt.grids)?,
            input: DecoderInput { embeddings: Vec::new(), deepstack: DeepStack::default() },
            input_start: 0,
            read: Prefix::default(),
            cached_tokens: 0,
            drafted_tokens: 0,
            accepted_tokens: 0,
            sampler: Sampler::new(&request.choice, &prompt.input_ids),
            scores: Vec::new(),
            own: NGrams::default(),
            counted: 0,
            request,
        })
    }

    /// Takes over what of the prompt has been read already, if one of `known` has.
    pub(crate) fn share<'p>(&mut self, known: impl Iterator<Item = &'p Prefix>, image_token: u32) {
        let prompt = &self.request.prompt;
        let common = known.map(|prefix| (prefix.common(prompt, self.fingerprint, image_token), prefix));
        let best = common.max_by_key(|((tokens, _), _)| *tokens).filter(|((tokens, _), _)| *tokens > 0);
        self.read = match best {
            Some(((tokens, pictures), prefix)) => prefix.first(tokens, pictures),
            None => Prefix { adapter: self.fingerprint, ..Prefix::default() },
        };
        self.cached_tokens = self.read.tokens.len();
    }

    /// Prepares what is left of the prompt to be read.
    pub(crate) fn begin(&mut self, model: &Model) -> Result<()> {
        let (prompt, ctx) = (&self.request.prompt, model.forward_context(self.request.adapter));
        self.input_start = self.read.tokens.len();
        let (tokens, pictures) = (&prompt.input_ids[self.input_start..], &prompt.features[self.read.pictures.len()..]);
        self.input = model.net.embed(tokens, pictures, ctx)?;
        self.read.pictures = prompt.features.iter().map(Tensor::id).collect();
        Ok(())
    }

    /// Forgets what was read; it begins anew when there is memory.
    pub(crate) fn drop_cache(&mut self) {
        self.read = Prefix::default();
    }

    pub(crate) fn prefix(&self) -> &Prefix {
        &self.read
    }

    pub(crate) fn prefix_mut(&mut self) -> &mut Prefix {
        &mut self.read
    }

    pub(crate) fn into_prefix(self) -> Prefix {
        self.read
    }

    /// How many tokens this sequence, which has begun, will have in common with the prompt of another one.
    pub(crate) fn will_share(&self, other: &Sequence, image_token: u32) -> usize {
        let pictures: Vec<TensorId> = self.request.prompt.features.iter().map(Tensor::id).collect();
        match self.fingerprint == other.fingerprint {
            true => common(&other.request.prompt, (&self.request.prompt.input_ids, &pictures), image_token).0,
            false => 0,
        }
    }

    pub(crate) fn unread(&self) -> usize {
        self.tokens.len() - self.read.tokens.len()
    }

    /// Tokens of the answer so far.
    pub(crate) fn made(&self) -> usize {
        self.tokens.len() - self.request.prompt.input_ids.len()
    }

    /// The most tokens that it may still have to read.
    pub(crate) fn growth(&self) -> usize {
        self.unread() + self.request.choice.max_new_tokens.saturating_sub(self.made())
    }

    /// Up to `most` tokens that are likely to follow the text.
    pub(crate) fn draft(&mut self, labels: Option<&NGrams>, most: usize) -> Vec<u32> {
        self.own.add(&self.tokens, self.counted);
        self.counted = self.tokens.len();
        let left = self.request.choice.max_new_tokens.saturating_sub(self.made() + 1);
        draft([Some(&self.own), labels], &self.tokens, most.min(left))
    }

    /// The next `take` unread tokens, and behind the last of them what is drafted.
    pub(crate) fn chunk(&self, take: usize, drafted: &[u32], model: &Model) -> Result<Chunk> {
        let (net, prompt) = (&model.net, self.request.prompt.input_ids.len());
        let (from, to) = (self.read.tokens.len(), self.read.tokens.len() + take);
        let tokens = [&self.tokens[from..to], drafted].concat();
        let hidden = net.text.config.hidden_size;
        let of_prompt = to.min(prompt).saturating_sub(from);
        let mut parts = Vec::new();
        if of_prompt > 0 {
            parts.push(self.input.part(from - self.input_start..from - self.input_start + of_prompt, hidden)?);
        }
        if of_prompt < tokens.len() {
            let ctx = model.forward_context(self.request.adapter);
            let embeddings = net.text.embed(&tokens[of_prompt..], ctx)?;
            parts.push(DecoderInput { embeddings, deepstack: DeepStack::default() });
        }
        Ok(Chunk {
            input: DecoderInput::end_to_end(parts, hidden)?,
            positions: (from..from + tokens.len()).map(|index| self.position(index)).collect(),
            drafted: drafted.len(),
            wanted: if to == self.tokens.len() { 1 + drafted.len() } else { 0 },
            tokens,
        })
    }

    /// Every token of the answer is at the count of tokens before it plus the prompt's `rope_delta`, on all three axes.
    fn position(&self, index: usize) -> [u32; 3] {
        let behind = || [(index as i64 + self.positions.delta).max(0) as u32; 3];
        self.positions.thw.get(index).copied().unwrap_or_else(behind)
    }

    /// What has become of it.
    pub(crate) fn answer(&self, end: AnswerEnd) -> Answer {
        let Self { cached_tokens, drafted_tokens, accepted_tokens, .. } = *self;
        Answer { end, cached_tokens, drafted_tokens, accepted_tokens }
    }

    /// Goes on with what was read, and the logits `[wanted, vocabulary]` after its last tokens. Gives the tokens that are
    /// chosen, and why the answer ends if it does.
    pub(crate) fn advance(&mut self, chunk: &Chunk, logits: &mut [f32]) -> (Vec<u32>, Option<AnswerEnd>) {
        self.read.tokens.extend_from_slice(&chunk.tokens);
        if chunk.wanted == 0 {
            return (Vec::new(), None);
        }
        let (mut chosen, mut end) = (Vec::new(), None);
        let mut drafted = chunk.tokens[chunk.tokens.len() - chunk.drafted..].iter();
        for logits in logits.chunks_exact_mut(logits.len() / chunk.wanted) {
            let token = self.choose(logits);
            if self.request.choice.eos_token_ids.contains(&token) {
                end = Some(AnswerEnd::EndOfTurn);
                break;
            }
            chosen.push(token);
            self.tokens.push(token);
            if self.made() == self.request.choice.max_new_tokens {
                end = Some(AnswerEnd::MaxNewTokens);
                break;
            }
            if drafted.next() != Some(&token) {
                break;
            }
            self.accepted_tokens += 1;
        }
        self.drafted_tokens += chunk.drafted;
        // What was drafted and not chosen has not been said.
        self.read.truncate(self.tokens.len() - usize::from(!chosen.is_empty()));
        (chosen, end)
    }

    /// The next token, and its score if that is asked for: choosing may change the logits.
    fn choose(&mut self, logits: &mut [f32]) -> u32 {
        match self.request.alternatives {
            0 => self.sampler.next(logits),
            most => {
                let token = self.sampler.next(&mut logits.to_vec());
                self.scores.push((token, token_score(logits, token, most)));
                token
            }
        }
    }

    /// The scores of the tokens that were chosen last, the end token among them.
    pub(crate) fn take_scores(&mut self) -> Vec<(u32, TokenScore)> {
        std::mem::take(&mut self.scores)
    }
}

/// The tokens of all chunks end to end, as the model reads them.
pub(crate) fn end_to_end(chunks: &mut [Chunk], net: &VisionLanguageModel) -> Result<(DecoderInput, Vec<[u32; 3]>)> {
    let nothing = || DecoderInput { embeddings: Vec::new(), deepstack: DeepStack::default() };
    let positions = chunks.iter().flat_map(|chunk| chunk.positions.iter().copied()).collect();
    let inputs = chunks.iter_mut().map(|chunk| std::mem::replace(&mut chunk.input, nothing())).collect();
    Ok((DecoderInput::end_to_end(inputs, net.text.config.hidden_size)?, positions))
}
