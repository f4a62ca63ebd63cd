//! One answer, token by token.

use candle_core::Tensor;
use candle_transformers::generation::LogitsProcessor;
use candle_transformers::generation::Sampling;
use candle_transformers::utils::apply_repeat_penalty;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::qwen2_5_vl::KvCache;
use tunebook_nn::qwen2_5_vl::Pass;
use tunebook_nn::qwen2_5_vl::positions::rotary;

use crate::error::Result;
use crate::model::GenerationConfig;
use crate::model::Model;
use crate::report::AnswerEnd;
use crate::settings::Settings;

/// A prompt with the features of its pictures.
pub struct Prompt {
    pub input_ids: Vec<u32>,
    pub features: Vec<Tensor>,
    pub grids: Vec<[usize; 3]>,
}

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    pub sampling: Sampling,
    pub repetition_penalty: f32,
    pub max_new_tokens: usize,
    pub seed: u64,
    pub eos_token_ids: Vec<u32>,
}

impl Choice {
    /// The session's settings, and where they are silent the model's own defaults. A temperature of 0, or
    /// `do_sample=false`, takes the likeliest token; naming a temperature, top_p or top_k asks for sampling.
    pub fn new(settings: &Settings, model: &GenerationConfig, seed: u64) -> Self {
        let named = settings.temperature.is_some() || settings.top_p.is_some() || settings.top_k.is_some();
        let sample = settings.do_sample.unwrap_or(named || model.do_sample);
        let temperature = settings.temperature.unwrap_or(model.temperature);
        let p = settings.top_p.unwrap_or(model.top_p);
        let k = settings.top_k.unwrap_or(model.top_k);
        let sampling = match (sample && temperature > 0.0, k > 0, p < 1.0) {
            (false, _, _) => Sampling::ArgMax,
            (true, false, false) => Sampling::All { temperature },
            (true, true, false) => Sampling::TopK { k, temperature },
            (true, false, true) => Sampling::TopP { p, temperature },
            (true, true, true) => Sampling::TopKThenTopP { k, p, temperature },
        };
        Self {
            sampling,
            repetition_penalty: settings.repetition_penalty.map_or(model.repetition_penalty, |p| p as f32),
            max_new_tokens: settings.max_new_tokens,
            seed,
            eos_token_ids: model.eos_token_ids.clone(),
        }
    }
}

/// Generates until an end token, `max_new_tokens`, or `stop`. `on_token` hears each token as it is chosen, but not
/// the end token.
///
/// Every new token's position is the count of tokens before it plus the prompt's `rope_delta`, the same for all
/// three axes.
///
/// # Errors
/// The prompt does not fit the model, or `on_token` fails.
pub fn generate(
    model: &Model,
    adapter: Option<&Adapter>,
    prompt: &Prompt,
    choice: &Choice,
    stop: &dyn Fn() -> bool,
    on_token: &mut dyn FnMut(u32) -> Result<()>,
) -> Result<AnswerEnd> {
    let net = &model.net;
    let pass = Pass { adapter, ..Pass::default() };
    let mut cache = KvCache::new(net.text.layers.len(), prompt.input_ids.len() + choice.max_new_tokens);
    let mut processor = LogitsProcessor::from_sampling(choice.seed, choice.sampling.clone());
    let positions = net.positions(&prompt.input_ids, &prompt.grids)?;
    let mut tokens = prompt.input_ids.clone();
    let mut x = net.embed(&prompt.input_ids, &prompt.features)?;
    let mut turn = rotary(&positions.thw, &net.config.text);
    for _ in 0..choice.max_new_tokens {
        if stop() {
            return Ok(AnswerEnd::Interrupted);
        }
        let hidden = net.text.read(x, &turn, &mut cache, pass)?;
        let last = hidden.narrow(0, hidden.dim(0)? - 1, 1)?;
        let logits = net.text.logits(&net.text.norm(&last)?)?.squeeze(0)?;
        let logits = match choice.repetition_penalty {
            1.0 => logits,
            penalty => apply_repeat_penalty(&logits, penalty, &tokens)?,
        };
        let token = processor.sample(&logits)?;
        if choice.eos_token_ids.contains(&token) {
            return Ok(AnswerEnd::EndOfTurn);
        }
        on_token(token)?;
        let position = (tokens.len() as i64 + positions.delta).max(0) as u32;
        tokens.push(token);
        x = net.text.embed(&[token])?;
        turn = rotary(&[[position; 3]], &net.config.text);
    }
    Ok(AnswerEnd::MaxNewTokens)
}
