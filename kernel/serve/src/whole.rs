//! An answer in one response.

use axum::response::Response;
use serde_json::json;

use crate::Scored;
use crate::completions::Answer;
use crate::completions::Form;
use crate::error::ApiError;
use crate::error::Result;
use crate::reply::Event;
use crate::wire::Choice;
use crate::wire::Completion;
use crate::wire::Head;
use crate::wire::Logprobs;
use crate::wire::Message;
use crate::wire::Usage;
use crate::wire::finish_reason;
use crate::wire::json_response;

#[derive(Debug, Default)]
struct Collected {
    text: String,
    scored: Vec<Scored>,
    finish_reason: Option<&'static str>,
}

/// Collects the whole answer.
///
/// # Errors
/// Any choice has no whole answer.
pub(crate) async fn respond(mut answer: Answer, form: Form) -> Result<Response> {
    let mut choices: Vec<_> = (0..form.choices).map(|_| Collected::default()).collect();
    let (mut prompt, mut cached, mut generated) = (0, 0, 0);
    while choices.iter().any(|choice| choice.finish_reason.is_none()) {
        match answer.next().await? {
            Event::Begun { prompt_tokens, cached_tokens } => (prompt, cached) = (prompt_tokens, cached_tokens),
            Event::Text { choice, text, scored } => {
                choices[choice].text += &text;
                choices[choice].scored.extend(scored);
            }
            Event::Ended { choice, reason, tokens } => {
                choices[choice].finish_reason = Some(finish_reason(reason).ok_or_else(ApiError::interrupted)?);
                generated += tokens;
            }
            Event::Refused(refusal) => return Err(ApiError::refused(refusal, &form.model)),
        }
    }
    let head = Head::new("chat.completion", &form.model);
    let choice = |(index, collected): (usize, Collected)| Choice {
        index,
        message: Message { role: "assistant", content: collected.text, refusal: None },
        logprobs: form.logprobs.then(|| Logprobs::new(collected.scored)),
        finish_reason: collected.finish_reason.unwrap_or_default(),
    };
    let completion = Completion {
        head: &head,
        choices: choices.into_iter().enumerate().map(choice).collect(),
        usage: Usage::new(prompt, cached, generated),
    };
    Ok(json_response(&json!(completion)))
}
