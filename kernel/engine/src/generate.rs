//! Answers, many at once.
//!
//! On a CPU a token takes as long as reading all weights does, whether one row or many go through them. So all sequences
//! that are on their way go through the model together, each with its own adapter, and one begins as another ends
//! (continuous batching: Yu et al. 2022, Orca). A pass takes one token of each sequence that is answering, and up to
//! [`ROWS`] of the prompts that are still to be read, so that a long prompt does not hold up answers (chunked prefill:
//! Agrawal et al. 2023, arXiv 2308.16369). Prompts that begin alike are read once: see [`Prefix`].
//!
//! An answer depends on its own prompt, seed and adapter. What it shares a pass with changes the order of sums in its
//! matmuls, thus last bits.

use std::collections::VecDeque;
use std::time::Instant;

use candle_core::Tensor;
use rayon::prelude::*;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::layers::CachedSequence;
use tunebook_nn::layers::ForwardContext;
use tunebook_nn::ops::TokenScore;

use crate::conversation::RunContext;
use crate::device;
use crate::draft_length::DraftLength;
use crate::drafts::NGrams;
use crate::error::Error;
use crate::error::Result;
use crate::finite;
use crate::memory;
use crate::model::Model;
use crate::prefix::Prefix;
use crate::prefix::fingerprint;
use crate::report::AnswerEnd;
use crate::sequence::Chunk;
use crate::sequence::Sequence;
use crate::sequence::end_to_end;
use crate::settings::Settings;

pub use crate::sampling::Choice;
pub use crate::sampling::Sampling;

/// A prompt with the features of its pictures.
#[derive(Clone)]
pub struct Prompt {
    pub input_ids: Vec<u32>,
    pub features: Vec<Tensor>,
    pub grids: Vec<[usize; 3]>,
}

/// What is to be answered, and how.
pub struct Request<'a> {
    /// By which the caller knows it.
    pub id: usize,
    pub prompt: Prompt,
    pub choice: Choice,
    pub adapter: Option<&'a Adapter>,
    /// How many of the likeliest tokens are told with each token; with 0 no score is made.
    pub alternatives: usize,
}

/// What is to be answered, and who hears the answers.
pub trait Requests<'a> {
    /// The next request, when there is room for it; none when there are no more.
    ///
    /// # Errors
    /// It cannot be made, which ends all; a stop, which interrupts the answers on their way.
    fn next(&mut self) -> Result<Option<Request<'a>>>;

    /// Hears each token of an answer as it is chosen, and the answer's end.
    ///
    /// # Errors
    /// What is told cannot be dealt with, which ends all.
    fn hear(&mut self, id: usize, generated: Generated) -> Result<()>;

    /// Whether somebody still waits for an answer; one that is not wanted is interrupted.
    fn is_wanted(&self, _id: usize) -> bool {
        true
    }
}

/// What has become of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Generated {
    /// Its prompt is about to be read, of which so many tokens had been read before.
    Begin {
        cached_tokens: usize,
    },
    /// A token and its score by the logits before penalties, temperature, top_k and top_p; it is told before the token, and of
    /// the end token, too. Only where alternatives are asked for.
    Score(u32, TokenScore),
    /// The next token of its answer; the end token is not told.
    Token(u32),
    End(Answer),
}

/// A generated answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub end: AnswerEnd,
    /// Tokens of the prompt that had been read before.
    pub cached_tokens: usize,
    /// Tokens that were read before they were chosen, and those of them that were chosen.
    pub drafted_tokens: usize,
    pub accepted_tokens: usize,
}

/// How answers are generated.
pub struct Generator<'m> {
    pub model: &'m Model,
    /// The most sequences at once, beside what memory allows.
    pub most: usize,
    /// Texts that answers are likely to resemble.
    pub labels: Option<&'m NGrams>,
    /// The memory that keys and values may take, in bytes, if it is known.
    pub free: Box<dyn Fn() -> Option<u64> + 'm>,
}

/// The most tokens of prompts in a pass, which is enough for fast matmuls.
const ROWS: usize = 512;
/// The most sequences at once where the user sets no limit: with more, matmuls take longer in proportion.
const MOST: usize = 32;
/// As many tokens as this are worth waiting for another sequence to read them.
const WORTH_SHARING: usize = 16;
/// For answers up to this length, packing weights costs more time than it saves.
const BRIEF: usize = 16;
/// Up to so many rows, matmuls are faster with packed weights.
const FEW: usize = 8;
/// How many tokens further memory must reach for a pass of several sequences.
const AHEAD: usize = 64;

/// The most sequences at once with these settings.
fn most(settings: &Settings) -> usize {
    settings.per_device_eval_batch_size.unwrap_or(MOST)
}

/// The memory that keys and values may take on the model's device: half of what its weights leave.
pub(crate) fn free_bytes(model: &Model) -> Option<u64> {
    let of_cpu = || Some(memory::available_bytes()?.saturating_sub(model.net.text.size() as u64));
    device::free_bytes(&model.net.device).or_else(of_cpu).map(|free| free / 2)
}

impl<'m> Generator<'m> {
    /// As settings and free memory say.
    pub(crate) fn new(RunContext { model, settings, labels, .. }: RunContext<'m>) -> Self {
        Self { model, most: most(settings), labels, free: Box::new(move || free_bytes(model)) }
    }

    /// Answers all `requests`, or interrupts those that are on their way at `stop`. Tokens that `prefix` holds are not read
    /// again; afterwards it holds the prompt and the answer of the sequence that ended last.
    ///
    /// # Errors
    /// Whatever `requests` reports; a prompt does not fit the model; the model's output is no number. Answers that have
    /// ended are not affected.
    pub fn run<'a>(&self, prefix: &mut Prefix, requests: &mut dyn Requests<'a>, stop: &dyn Fn() -> bool) -> Result<()> {
        let mut batch = Batch {
            generator: self,
            kept: prefix,
            running: Vec::new(),
            waiting: VecDeque::new(),
            fingerprints: Vec::new(),
            drafts: DraftLength::default(),
        };
        loop {
            match batch.admit(requests) {
                Err(Error::Cancelled) => return batch.interrupt(requests),
                admitted => admitted?,
            }
            if batch.running.is_empty() {
                return Ok(());
            }
            match batch.pass(stop, requests) {
                Err(Error::Cancelled) => return batch.interrupt(requests),
                passed => passed?,
            }
            if stop() {
                return batch.interrupt(requests);
            }
        }
    }
}

/// The sequences on their way.
struct Batch<'g, 'm, 'a> {
    generator: &'g Generator<'m>,
    kept: &'g mut Prefix,
    /// Those of one adapter are neighbours, in the order in which they have begun.
    running: Vec<Sequence<'a>>,
    /// Those that begin as soon as there is room.
    waiting: VecDeque<Sequence<'a>>,
    /// The contents of the adapters so far.
    fingerprints: Vec<(*const Adapter, u64)>,
    drafts: DraftLength,
}

impl<'a> Batch<'_, '_, 'a> {
    /// Has sequences begin while there is room for them.
    fn admit(&mut self, requests: &mut dyn Requests<'a>) -> Result<()> {
        let model = self.generator.model;
        while self.running.len() < self.generator.most {
            if self.waiting.is_empty() {
                let Some(request) = requests.next()? else { break };
                let fingerprint = request.adapter.map(|adapter| self.fingerprint(adapter)).transpose()?;
                self.waiting.push_back(Sequence::new(request, fingerprint, model)?);
            }
            let Some(mut sequence) = self.waiting.pop_front() else { break };
            let known = self.running.iter().map(Sequence::prefix).chain([&*self.kept]);
            sequence.share(known, model.net.config.image_token_id());
            if !self.running.is_empty() && (self.is_read_by_another(&sequence) || !self.fits(sequence.growth())) {
                // Whoever shares a block has the other one copy it before writing.
                sequence.drop_cache();
                self.waiting.push_front(sequence);
                break;
            }
            sequence.begin(model)?;
            requests.hear(sequence.request.id, Generated::Begin { cached_tokens: sequence.cached_tokens })?;
            self.running.push(sequence);
        }
        Ok(())
    }

    /// Whether another sequence is reading what this one begins with.
    fn is_read_by_another(&self, sequence: &Sequence) -> bool {
        let image_token = self.generator.model.net.config.image_token_id();
        let shared = self.running.iter().map(|other| other.will_share(sequence, image_token)).max();
        shared.is_some_and(|shared| shared >= sequence.cached_tokens + WORTH_SHARING)
    }

    /// Whether there is memory for so many more tokens beside what all sequences may still need.
    fn fits(&self, tokens: usize) -> bool {
        let growth = tokens + self.running.iter().map(Sequence::growth).sum::<usize>();
        let bytes = (growth * self.generator.model.net.text.kv_bytes()) as u64;
        (self.generator.free)().is_none_or(|free| bytes <= free)
    }

    /// Where memory has become short, has sequences wait until others have ended; what they have made stays.
    fn give_way(&mut self) {
        let reach = |batch: &Self| {
            let bytes = batch.running.len() * AHEAD * batch.generator.model.net.text.kv_bytes();
            (batch.generator.free)().is_none_or(|free| bytes as u64 <= free)
        };
        while self.running.len() > 1 && !reach(self) {
            let Some(mut last) = self.running.pop() else { break };
            last.drop_cache();
            self.waiting.push_front(last);
        }
    }

    /// One pass of the model.
    fn pass(&mut self, stop: &dyn Fn() -> bool, requests: &mut dyn Requests<'a>) -> Result<()> {
        self.give_way();
        let model = self.generator.model;
        let net = &model.net;
        // Neighbours of one adapter are multiplied together.
        self.running.sort_by_key(|sequence| sequence.request.adapter.map(std::ptr::from_ref));
        let mut chunks = self.chunks()?;
        let (input, positions) = end_to_end(&mut chunks, net)?;
        let rotary = net.rotary(&positions)?;
        let mut sequences: Vec<CachedSequence> = self
            .running
            .iter_mut()
            .zip(&chunks)
            .map(|(sequence, chunk)| CachedSequence {
                adapter: sequence.request.adapter,
                cache: &mut sequence.prefix_mut().cache,
                new: chunk.tokens.len(),
                wanted: chunk.wanted,
            })
            .collect();
        let ctx = ForwardContext { stop: Some(stop), ..model.forward_context(None) };
        let start = Instant::now();
        let logits = net.text.next_logits(input, &rotary, &mut sequences, ctx)?;
        let seconds = start.elapsed().as_secs_f64();
        net.check_unchanged()?;
        self.choose(&chunks, logits.flatten_all()?.to_vec1()?, seconds, requests)
    }

    /// What each sequence reads in this pass.
    fn chunks(&mut self) -> Result<Vec<Chunk>> {
        let Generator { model, labels, .. } = *self.generator;
        let answering = self.running.iter().all(|sequence| sequence.unread() == 1);
        let length = if answering { self.drafts.choose(self.running.len()) } else { 0 };
        let mut room = ROWS;
        let mut chunks = Vec::with_capacity(self.running.len());
        for sequence in &mut self.running {
            let drafted = if length > 0 { sequence.draft(labels, length) } else { Vec::new() };
            // A sequence that answers has its token in any case.
            let take = if sequence.unread() == 1 { 1 } else { sequence.unread().min(room) };
            room -= take.min(room);
            chunks.push(sequence.chunk(take, &drafted, model)?);
        }
        Ok(chunks)
    }

    /// Has every sequence choose its next tokens by the logits of the pass.
    fn choose(
        &mut self,
        chunks: &[Chunk],
        mut logits: Vec<f32>,
        seconds: f64,
        requests: &mut dyn Requests<'a>,
    ) -> Result<()> {
        let model = self.generator.model;
        let vocabulary = model.net.text.config.vocab_size;
        let mut rest = logits.as_mut_slice();
        let mut of_each = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let (own, others) = std::mem::take(&mut rest).split_at_mut(chunk.wanted * vocabulary);
            of_each.push(own);
            rest = others;
        }
        let jobs = self.running.par_iter_mut().zip(chunks).zip(of_each);
        let chosen: Vec<_> = jobs
            .map(|((sequence, chunk), logits)| {
                logits.iter().all(|logit| logit.is_finite()).then(|| sequence.advance(chunk, logits))
            })
            .collect();
        if let Some(at) = chosen.iter().position(Option::is_none) {
            return Err(finite::why(model, self.running[at].request.adapter));
        }
        let mut chosen: Vec<(Vec<u32>, Option<AnswerEnd>)> = chosen.into_iter().flatten().collect();
        self.drafts.observe(chunks, &chosen, seconds);
        for (sequence, (tokens, end)) in self.running.iter_mut().zip(&mut chosen) {
            for (token, score) in sequence.take_scores() {
                requests.hear(sequence.request.id, Generated::Score(token, score))?;
            }
            for &token in &*tokens {
                requests.hear(sequence.request.id, Generated::Token(token))?;
            }
            if end.is_none() && !requests.is_wanted(sequence.request.id) {
                *end = Some(AnswerEnd::Interrupted);
            }
            if let Some(end) = *end {
                requests.hear(sequence.request.id, Generated::End(sequence.answer(end)))?;
            }
        }
        self.pack_next();
        let mut ends = chosen.into_iter().map(|(_, end)| end.is_some());
        for ended in self.running.extract_if(.., |_| ends.next().unwrap_or_default()) {
            *self.kept = ended.into_prefix();
        }
        Ok(())
    }

    /// Packs weights for the tokens to come, once an answer is longer than most and passes have few rows.
    fn pack_next(&self) {
        let model = self.generator.model;
        let is_long = self.running.iter().any(|sequence| sequence.made() > BRIEF);
        if is_long && self.running.len() <= FEW {
            let mut adapters = self.running.iter().filter_map(|sequence| sequence.request.adapter);
            let own_weights = adapters.find(|adapter| adapter.config.is_none());
            model.pack_next(own_weights);
        }
    }

    /// Ends all answers as far as they have come.
    fn interrupt(mut self, requests: &mut dyn Requests<'a>) -> Result<()> {
        for sequence in self.running.drain(..).chain(self.waiting.drain(..)) {
            requests.hear(sequence.request.id, Generated::End(sequence.answer(AnswerEnd::Interrupted)))?;
            if sequence.prefix().cache.tokens() > 0 {
                *self.kept = sequence.into_prefix();
            }
        }
        Ok(())
    }

    fn fingerprint(&mut self, adapter: &Adapter) -> Result<u64> {
        let known = self.fingerprints.iter().find(|(known, _)| std::ptr::eq(*known, adapter));
        if let Some((_, contents)) = known {
            return Ok(*contents);
        }
        let contents = fingerprint(adapter)?;
        self.fingerprints.push((std::ptr::from_ref(adapter), contents));
        Ok(contents)
    }
}
