//! An answer as server-sent events, piece by piece.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::Body;
use axum::body::Bytes;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use futures_util::stream;
use serde_json::Value;
use serde_json::json;
use tokio::time::timeout;

use crate::completions::Answer;
use crate::completions::Form;
use crate::error::ApiError;
use crate::error::Result;
use crate::reply::Event;
use crate::wire::Chunk;
use crate::wire::ChunkChoice;
use crate::wire::Delta;
use crate::wire::Head;
use crate::wire::Logprobs;
use crate::wire::Usage;
use crate::wire::finish_reason;

/// A line that clients skip.
const PING: &str = ": ping\n\n";
const DONE: &str = "data: [DONE]\n\n";
/// Has nginx pass on each event as it comes.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Begins the response with the answer or, since a silent connection is cut by proxies, after a while without it.
///
/// # Errors
/// The request is refused before that.
pub(crate) async fn respond(mut answer: Answer, form: Form) -> Result<Response> {
    let first = match timeout(answer.app.limits.ping, answer.next()).await {
        Ok(event) => Some(event?),
        Err(_) => None,
    };
    let mut writer = Writer::new(answer, form);
    match first {
        Some(event) => writer.write(event),
        None => writer.ready.push_back(PING.into()),
    }
    let pieces = stream::unfold(writer, |mut writer| async move {
        let piece = writer.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), writer))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

struct Writer {
    answer: Answer,
    form: Form,
    head: Head,
    /// Events that are written, and not yet sent.
    ready: VecDeque<String>,
    /// Choices that have not ended; 0 after an error, too.
    open: usize,
    prompt_tokens: usize,
    cached_tokens: usize,
    completion_tokens: usize,
}

impl Writer {
    fn new(answer: Answer, form: Form) -> Self {
        let head = Head::new("chat.completion.chunk", &form.model);
        let open = form.choices;
        let (prompt_tokens, cached_tokens, completion_tokens) = (0, 0, 0);
        Self { answer, form, head, ready: VecDeque::new(), open, prompt_tokens, cached_tokens, completion_tokens }
    }

    /// What is to be sent next; None at the end.
    async fn next(&mut self) -> Option<String> {
        while self.ready.is_empty() && self.open > 0 {
            match timeout(self.answer.app.limits.ping, self.answer.next()).await {
                Ok(Ok(event)) => self.write(event),
                Ok(Err(error)) => self.fail(&error),
                Err(_) => self.ready.push_back(PING.into()),
            }
        }
        self.ready.pop_front()
    }

    fn write(&mut self, event: Event) {
        match event {
            Event::Begun { prompt_tokens, cached_tokens } => {
                (self.prompt_tokens, self.cached_tokens) = (prompt_tokens, cached_tokens);
                for choice in 0..self.form.choices {
                    let delta = Delta { role: Some("assistant"), content: Some("") };
                    self.chunk(choice, delta, None, None);
                }
            }
            Event::Text { choice, text, scored } => {
                let logprobs = self.form.logprobs.then(|| Logprobs::new(scored));
                self.chunk(choice, Delta { role: None, content: Some(&text) }, logprobs, None);
            }
            Event::Ended { choice, reason, tokens } => {
                let Some(reason) = finish_reason(reason) else { return self.fail(&ApiError::interrupted()) };
                self.completion_tokens += tokens;
                self.chunk(choice, Delta::default(), None, Some(reason));
                self.open = self.open.saturating_sub(1);
                if self.open == 0 {
                    self.finish();
                }
            }
            Event::Refused(refusal) => self.fail(&ApiError::refused(refusal, &self.form.model)),
        }
    }

    fn chunk(&mut self, index: usize, delta: Delta, logprobs: Option<Logprobs>, finish_reason: Option<&'static str>) {
        let choices = vec![ChunkChoice { index, delta, logprobs, finish_reason }];
        let usage = self.form.include_usage.then_some(None);
        let written = event(&json!(Chunk { head: &self.head, choices, usage }));
        self.ready.push_back(written);
    }

    fn finish(&mut self) {
        if self.form.include_usage {
            let usage = Usage::new(self.prompt_tokens, self.cached_tokens, self.completion_tokens);
            let chunk = Chunk { head: &self.head, choices: Vec::new(), usage: Some(Some(usage)) };
            self.ready.push_back(event(&json!(chunk)));
        }
        self.ready.push_back(DONE.into());
    }

    /// The status was sent long ago, so clients look for an error in the events.
    fn fail(&mut self, error: &ApiError) {
        self.open = 0;
        self.ready.push_back(event(&error.body()));
    }
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}
