//! The requests that are being answered.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use tunebook_data::DecodeStream;
use tunebook_data::Tokenizer;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::ops::TokenScore;
use tunebook_quote::quote;

use super::Answerer;
use super::ChatRequest;
use super::ChatRequests;
use super::Decoding;
use super::Heard;
use super::Likely;
use super::Pictures;
use super::Score;
use crate::adapters::Chosen;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::generate::Choice;
use crate::generate::Generated;
use crate::generate::Prompt;
use crate::generate::Request;
use crate::generate::Requests;
use crate::generate::free_bytes;
use crate::model::Model;
use crate::nearest::nearest;
use crate::pictures::thw;
use crate::settings::Settings;
use crate::system_prompt;

/// Requests whose answers are on their way.
pub(super) struct Open<'a, 'r> {
    answerer: &'r Answerer<'a>,
    pictures: &'r mut Pictures,
    requests: &'r mut dyn ChatRequests,
    /// Answers that have not begun: those of a request are asked for together.
    waiting: VecDeque<Request<'a>>,
    /// By the numbers under which the generator knows them.
    answers: BTreeMap<usize, Growing<'a>>,
    /// How many answers have been asked for.
    asked: usize,
    stop: &'r dyn Fn() -> bool,
}

/// An answer on its way.
struct Growing<'a> {
    /// That of its request, and its number among the answers to it.
    id: usize,
    answer: usize,
    pieces: DecodeStream<'a>,
    /// How many of the likeliest tokens are told.
    alternatives: usize,
    /// Of tokens that are told next.
    scores: VecDeque<Score>,
    /// The tokens of a prompt that nobody has begun to read.
    unread: Option<usize>,
}

impl<'a, 'r> Open<'a, 'r> {
    pub(super) fn new(
        answerer: &'r Answerer<'a>,
        pictures: &'r mut Pictures,
        requests: &'r mut dyn ChatRequests,
        stop: &'r dyn Fn() -> bool,
    ) -> Self {
        Self { answerer, pictures, requests, waiting: VecDeque::new(), answers: BTreeMap::new(), asked: 0, stop }
    }

    /// Every request that is not answered yet fails.
    pub(super) fn fail_all(&mut self, error: &Error) {
        self.waiting.clear();
        let mut ids: Vec<_> = std::mem::take(&mut self.answers).into_values().map(|growing| growing.id).collect();
        ids.dedup();
        ids.into_iter().for_each(|id| self.requests.fail(id, error));
    }

    /// Has the answers to a request wait for their turn.
    ///
    /// # Errors
    /// There is no such model; the conversation or a picture cannot be read, or is too long; a stop.
    fn take(&mut self, request: &ChatRequest) -> Result<()> {
        let RunContext { model, settings, .. } = self.answerer.run;
        let adapter = self.adapter(&request.model)?;
        let prompt = self.prompt(request, adapter)?;
        let tokens = prompt.input_ids.len();
        let room = room(model, tokens)?;
        let seed = request.decoding.seed.unwrap_or_else(|| settings.seed.wrapping_add(request.id as u64));
        for answer in 0..request.n {
            let seed = seed.wrapping_add((answer as u64) << 32);
            let choice = request.decoding.choice(settings, model, seed, room);
            let most = request.decoding.alternatives;
            let growing = Growing {
                id: request.id,
                answer,
                pieces: model.tokenizer.decode_stream(true),
                alternatives: most.unwrap_or(0),
                scores: VecDeque::new(),
                unread: (answer == 0).then_some(tokens),
            };
            self.answers.insert(self.asked, growing);
            // There is a score where at least one alternative is asked for.
            let alternatives = most.map_or(0, |most| most.max(1));
            self.waiting.push_back(Request { id: self.asked, prompt: prompt.clone(), choice, adapter, alternatives });
            self.asked += 1;
        }
        Ok(())
    }

    /// The adapter that a request names.
    fn adapter(&self, name: &str) -> Result<Option<&'a Adapter>> {
        let Answerer { models, name: base, .. } = *self.answerer;
        let adapter = models.iter().find(|Chosen { name: known, .. }| known == name);
        match adapter {
            Some(chosen) => Ok(chosen.adapter.as_ref()),
            None if name == base => Ok(None),
            None => {
                let names = models.iter().map(|model| model.name.as_str());
                Err(Error::UnknownAdapter { name: quote(name), nearest: nearest(name, names.chain([base])) })
            }
        }
    }

    /// What the model reads, of which it is found out here whether it can: in a batch, it would end the others.
    fn prompt(&mut self, request: &ChatRequest, adapter: Option<&Adapter>) -> Result<Prompt> {
        let RunContext { model, processor, settings, .. } = self.answerer.run;
        let ChatRequest { messages, system, tools, images, .. } = request;
        let mut prompt = Prompt { input_ids: Vec::new(), features: Vec::new(), grids: Vec::new() };
        let mut tokens = Vec::new();
        for (index, image) in images.iter().enumerate() {
            let known = self.pictures.get((index, image), (model, adapter, processor), self.stop)?;
            tokens.push(processor.tokens(known.grid));
            prompt.features.push(known.features);
            prompt.grids.push(thw(known.grid));
        }
        let template = system_prompt::template(settings, model).with_default_system(self.answerer.system);
        let system = template.with_tools(system.as_deref().unwrap_or_default(), tools)?;
        prompt.input_ids = template.encode_prompt(&model.tokenizer, messages, system.as_deref(), &tokens)?.ids;
        model.net.positions(&prompt.input_ids, &prompt.grids)?;
        Ok(prompt)
    }
}

impl Decoding {
    /// With the settings where it is silent; there is room for so many new tokens.
    fn choice(self, settings: &Settings, model: &Model, seed: u64, room: usize) -> Choice {
        let asks = self.temperature.is_some() || self.top_p.is_some() || self.top_k.is_some();
        let settings = Settings {
            // As with the settings: naming one of them asks for sampling.
            do_sample: if asks { Some(true) } else { settings.do_sample },
            temperature: self.temperature.or(settings.temperature),
            top_p: self.top_p.or(settings.top_p),
            top_k: self.top_k.or(settings.top_k),
            repetition_penalty: self.repetition_penalty.or(settings.repetition_penalty),
            max_new_tokens: self.max_new_tokens.unwrap_or(settings.max_new_tokens).min(room),
            ..settings.clone()
        };
        Choice::new(&settings, &model.generation, seed)
    }
}

/// How many tokens may follow a prompt of so many, by the positions that the model has learned and by the memory for keys
/// and values.
///
/// # Errors
/// None: [`Error::PromptTooLong`].
fn room(model: &Model, tokens: usize) -> Result<usize> {
    let fits = free_bytes(model).map(|free| free as usize / model.net.text.kv_bytes().max(1));
    let positions = model.net.text.config.max_position_embeddings;
    let most = fits.map_or(positions, |fits| positions.min(fits));
    match most.checked_sub(tokens) {
        None | Some(0) => Err(Error::PromptTooLong { tokens, most }),
        Some(room) => Ok(room),
    }
}

impl<'a> Requests<'a> for Open<'a, '_> {
    fn next(&mut self) -> Result<Option<Request<'a>>> {
        while self.waiting.is_empty() {
            let Some(request) = self.requests.next() else { return Ok(None) };
            match self.take(&request) {
                Err(Error::Cancelled) => {
                    self.requests.fail(request.id, &Error::Cancelled);
                    return Err(Error::Cancelled);
                }
                Err(error) => self.requests.fail(request.id, &error),
                Ok(()) => {}
            }
        }
        Ok(self.waiting.pop_front())
    }

    fn hear(&mut self, id: usize, generated: Generated) -> Result<()> {
        let Some(growing) = self.answers.get_mut(&id) else { return Ok(()) };
        let answer = growing.answer;
        let heard = match generated {
            Generated::Begin { cached_tokens } => match growing.unread.take() {
                Some(prompt_tokens) => Heard::Begin { prompt_tokens, cached_tokens },
                None => return Ok(()),
            },
            Generated::Score(token, score) => {
                let tokenizer = &self.answerer.run.model.tokenizer;
                let TokenScore { loss, likeliest, .. } = score;
                let likeliest = likeliest.iter().take(growing.alternatives);
                // One number for one token: p was rounded on another way.
                let log = |id, p: f64| if id == token { -loss } else { p.ln() };
                let likeliest = likeliest.map(|&(id, p)| likely(tokenizer, id, log(id, p)));
                let likeliest = likeliest.collect::<Result<_>>()?;
                growing.scores.push_back(Score { token: likely(tokenizer, token, -loss)?, likeliest });
                return Ok(());
            }
            Generated::Token(token) => {
                let score = growing.scores.pop_front();
                Heard::Piece { answer, text: growing.pieces.push(token)?, score }
            }
            Generated::End(ended) => {
                let request = growing.id;
                self.answers.remove(&id);
                self.requests.hear(request, Heard::End { answer, end: ended.end });
                return Ok(());
            }
        };
        self.requests.hear(growing.id, heard);
        Ok(())
    }

    fn is_wanted(&self, id: usize) -> bool {
        self.answers.get(&id).is_some_and(|growing| self.requests.is_wanted(growing.id, growing.answer))
    }
}

fn likely(tokenizer: &Tokenizer, token: u32, log_probability: f64) -> Result<Likely> {
    Ok(Likely { text: tokenizer.token_text(token)?, bytes: tokenizer.token_bytes(token)?, log_probability })
}
