//! Conversations that others hold with the model, such as the clients of a server: each request has its whole
//! conversation, and nothing of it stays in the session.
//!
//! They are answered together, whichever adapter each asks; one that comes while others are answered joins them.

mod open;
mod pictures;

use tunebook_data::Message;

use crate::adapters::Chosen;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::generate::Generator;
use crate::prefix::Prefix;
use crate::report::AnswerEnd;
use open::Open;
use pictures::Pictures;

/// A conversation that waits for an answer.
#[derive(Debug)]
pub struct ChatRequest {
    /// By which whoever asks knows it.
    pub id: usize,
    /// The name of an adapter, or that of the model, or `base`.
    pub model: String,
    /// Without the system message; the last one is the user's.
    pub messages: Vec<Message>,
    /// None for that of the session.
    pub system: Option<String>,
    /// A JSON list of functions; empty for none.
    pub tools: String,
    /// Picture files, in the order of their `<image>` in the messages.
    pub images: Vec<Vec<u8>>,
    /// How many answers, each with its own seed.
    pub n: usize,
    pub decoding: Decoding,
}

/// What a request says of its decoding; the settings of the session say the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Decoding {
    /// 0 takes the likeliest token.
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<usize>,
    pub repetition_penalty: Option<f64>,
    pub seed: Option<u64>,
    pub max_new_tokens: Option<usize>,
    /// Tokens are told with their probabilities, and those of so many of the likeliest.
    pub alternatives: Option<usize>,
}

/// What a request hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The answers begin; the prompt has so many tokens, of which some had been read before.
    Begin {
        prompt_tokens: usize,
        cached_tokens: usize,
    },
    /// A token of an answer, as the piece of text that it completes, which may be empty; with its score, if that is asked for.
    Piece {
        answer: usize,
        text: String,
        score: Option<Score>,
    },
    End {
        answer: usize,
        end: AnswerEnd,
    },
}

/// A token, and the likeliest ones in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    pub token: Likely,
    pub likeliest: Vec<Likely>,
}

/// A token, and how likely it is by the logits before penalties, temperature, top_k and top_p.
#[derive(Clone, Debug, PartialEq)]
pub struct Likely {
    /// Its text by itself; bytes that are no whole character are written as `<0xE4>`.
    pub text: String,
    pub bytes: Vec<u8>,
    /// ln p.
    pub log_probability: f64,
}

/// Where requests come from, and where their answers go.
pub trait ChatRequests {
    /// The next one, when there is room for it; none where nobody waits now.
    fn next(&mut self) -> Option<ChatRequest>;

    fn hear(&mut self, id: usize, heard: Heard);

    /// The request cannot be answered, or not to its end; nothing more is heard of it.
    fn fail(&mut self, id: usize, error: &Error);

    /// Whether somebody still waits for an answer. One that is not wanted ends.
    fn is_wanted(&self, id: usize, answer: usize) -> bool;
}

/// What a session keeps from one call to the next.
#[derive(Default)]
pub(crate) struct Kept {
    pictures: Pictures,
    prefix: Prefix,
}

/// The parts of a session that answer.
#[derive(Clone, Copy)]
pub(crate) struct Answerer<'a> {
    pub run: RunContext<'a>,
    /// The system prompt of requests without one.
    pub system: &'a str,
    /// The name of the model, which is the base model's, too.
    pub name: &'a str,
    /// The base model, and every adapter.
    pub models: &'a [Chosen],
}

/// Answers requests until none is left, or `stop`.
///
/// # Errors
/// The device fails; the model's output is no number. The requests on their way have failed then.
pub(crate) fn answer(
    answerer: &Answerer,
    kept: &mut Kept,
    requests: &mut dyn ChatRequests,
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    let Kept { pictures, prefix } = kept;
    let mut open = Open::new(answerer, pictures, requests, stop);
    let answered = Generator::new(answerer.run).run(prefix, &mut open, stop);
    if let Err(error) = &answered {
        open.fail_all(error);
    }
    answered
}
