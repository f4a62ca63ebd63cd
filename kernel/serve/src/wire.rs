//! Answers as OpenAI's API writes them: `chat.completion` and `chat.completion.chunk`.

use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::Ended;
use crate::Scored;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub(crate) fn json_response(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// What every chunk of an answer repeats.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Head {
    pub id: String,
    pub object: &'static str,
    pub created: u64,
    pub model: String,
}

impl Head {
    pub(crate) fn new(object: &'static str, model: &str) -> Self {
        Self { id: format!("chatcmpl-{}", Uuid::new_v4().simple()), object, created: now(), model: model.to_string() }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Completion<'a> {
    #[serde(flatten)]
    pub head: &'a Head,
    pub choices: Vec<Choice>,
    pub usage: Usage,
}

#[derive(Debug, Serialize)]
pub(crate) struct Choice {
    pub index: usize,
    pub message: Message,
    pub logprobs: Option<Logprobs>,
    pub finish_reason: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Message {
    pub role: &'static str,
    pub content: String,
    /// Always null.
    pub refusal: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Chunk<'a> {
    #[serde(flatten)]
    pub head: &'a Head,
    /// None, or one.
    pub choices: Vec<ChunkChoice<'a>>,
    /// Left out, null, or at the end the usage of all choices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ChunkChoice<'a> {
    pub index: usize,
    pub delta: Delta<'a>,
    pub logprobs: Option<Logprobs>,
    pub finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub total_tokens: usize,
    pub prompt_tokens_details: PromptTokens,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct PromptTokens {
    pub cached_tokens: usize,
}

impl Usage {
    pub(crate) fn new(prompt_tokens: usize, cached_tokens: usize, completion_tokens: usize) -> Self {
        let prompt_tokens_details = PromptTokens { cached_tokens };
        let total_tokens = prompt_tokens + completion_tokens;
        Self { prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Logprobs {
    pub content: Vec<TokenLogprob>,
    /// Always null.
    pub refusal: Option<Vec<TokenLogprob>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct TokenLogprob {
    #[serde(flatten)]
    token: Likely,
    top_logprobs: Vec<Likely>,
}

#[derive(Debug, Serialize)]
struct Likely {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
}

impl Logprobs {
    pub(crate) fn new(scored: Vec<Scored>) -> Self {
        Self { content: scored.into_iter().map(TokenLogprob::new).collect(), refusal: None }
    }
}

impl TokenLogprob {
    fn new(scored: Scored) -> Self {
        let top = scored.top.into_iter().map(|(token, bytes, logprob)| Likely::new(token, bytes, logprob));
        Self { top_logprobs: top.collect(), token: Likely::new(scored.token, scored.bytes, scored.logprob) }
    }
}

impl Likely {
    fn new(token: String, bytes: Vec<u8>, logprob: f64) -> Self {
        // JSON has no infinity. vLLM writes this number for a probability of 0, and OpenAI for one that is not worth saying.
        Self { token, bytes, logprob: logprob.max(-9999.0) }
    }
}

/// Why a choice has ended; None where that is an error.
pub(crate) fn finish_reason(ended: Ended) -> Option<&'static str> {
    match ended {
        Ended::Stop => Some("stop"),
        Ended::Length => Some("length"),
        Ended::Interrupted => None,
    }
}
