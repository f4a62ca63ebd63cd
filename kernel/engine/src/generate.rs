//! One answer, token by token.

use candle_core::Tensor;
use tunebook_nn::adapter::Adapter;

use crate::error::Result;
use crate::finite;
use crate::model::Model;
use crate::prefix::Prefix;
use crate::report::AnswerEnd;
use crate::sampling::Sampler;

pub use crate::sampling::Choice;
pub use crate::sampling::Sampling;

/// A prompt with the features of its pictures.
pub struct Prompt {
    pub input_ids: Vec<u32>,
    pub features: Vec<Tensor>,
    pub grids: Vec<[usize; 3]>,
}

/// A generated answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub end: AnswerEnd,
    /// Tokens of the prompt that had been read before.
    pub cached_tokens: usize,
}

/// For answers up to this length, packing weights costs more time than it saves.
const BRIEF: usize = 16;

/// Generates until an end token, `max_new_tokens` or `stop`. Tokens that `prefix` already holds are not read again;
/// afterwards it holds the prompt and the answer. `on_token` is called with each token except the end token.
///
/// Every new token's position is the count of tokens before it plus the prompt's `rope_delta`, the same for all
/// three axes.
///
/// # Errors
/// The prompt does not fit the model, its output is no number, or `on_token` fails; the prefix then holds what was read.
pub fn generate(
    prefix: &mut Prefix,
    model: &Model,
    adapter: Option<&Adapter>,
    prompt: &Prompt,
    choice: &Choice,
    stop: &dyn Fn() -> bool,
    on_token: &mut dyn FnMut(u32) -> Result<()>,
) -> Result<Answer> {
    let net = &model.net;
    let ctx = model.forward_context(adapter);
    let (hidden, cached_tokens) = prefix.read_prompt(model, adapter, prompt, choice.max_new_tokens, stop)?;
    let ended = |end| Ok(Answer { end, cached_tokens });
    let Some(mut hidden) = hidden else { return ended(AnswerEnd::Interrupted) };
    let mut sampler = Sampler::new(choice, &prompt.input_ids);
    let first = prompt.input_ids.len() as i64 + net.positions(&prompt.input_ids, &prompt.grids)?.delta;
    for made in 1..=choice.max_new_tokens {
        let logits = net.text.logits(&net.text.norm(&hidden, ctx)?, ctx)?;
        let logits = logits.flatten_all()?.to_vec1::<f32>()?;
        net.check_unchanged()?;
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(finite::why(model, adapter));
        }
        let token = sampler.next(logits);
        if choice.eos_token_ids.contains(&token) {
            return ended(AnswerEnd::EndOfTurn);
        }
        on_token(token)?;
        if made == choice.max_new_tokens {
            break;
        }
        if stop() {
            return ended(AnswerEnd::Interrupted);
        }
        if made > BRIEF {
            model.pack_next(adapter);
        }
        let position = (first + made as i64 - 1).max(0) as u32;
        hidden = prefix.read_token(model, adapter, token, [position; 3])?;
    }
    ended(AnswerEnd::MaxNewTokens)
}
