//! How a client wants its answer.

use serde_json::Value;

use super::fields::Fields;
use super::fields::wrong_type;
use super::fields::wrong_value;
use crate::AskedOptions;
use crate::error::ApiError;
use crate::error::Result;
use crate::limits;

/// What other servers do and this one does not, where the answer would be another one without it: in OpenAI's API and, from
/// `min_p` on, in vLLM's.
const UNSUPPORTED: [&str; 12] = [
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "functions",
    "audio",
    "web_search_options",
    "min_p",
    "ignore_eos",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "structured_outputs",
];

/// # Errors
/// The client asks for what this server does not do.
pub(super) fn refuse_unsupported(fields: &mut Fields) -> Result<()> {
    for name in UNSUPPORTED {
        if fields.take(name).is_some_and(|value| asks_for_something(&value)) {
            return Err(ApiError::unsupported(name, format!("'{name}' is not supported by this server.")));
        }
    }
    if let Some(format) = fields.take("response_format") {
        let mut format = Fields::of(format, "response_format".into())?;
        let path = format.path("type");
        if format.string("type")?.ok_or_else(|| format.missing("type"))? != "text" {
            let message = "Only answers in plain text are supported: response_format must be {\"type\": \"text\"}.";
            return Err(ApiError::unsupported(path, message));
        }
    }
    if fields.array("modalities", 16)?.iter().any(|kind| kind != "text") {
        return Err(ApiError::unsupported("modalities", "Only answers in text are supported."));
    }
    Ok(())
}

/// 0, false and what is empty are as good as not there.
fn asks_for_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(value) => value.as_f64() != Some(0.0),
        Value::String(value) => !value.is_empty(),
        Value::Array(value) => !value.is_empty(),
        Value::Object(value) => !value.is_empty(),
    }
}

pub(super) fn read(fields: &mut Fields) -> Result<AskedOptions> {
    let newer = fields.count("max_completion_tokens", usize::MAX)?;
    let older = fields.count("max_tokens", usize::MAX)?;
    Ok(AskedOptions {
        temperature: fields.number("temperature", 0.0..=2.0)?,
        top_p: fields.number("top_p", 0.0..=1.0)?,
        top_k: fields.integer("top_k", -1..=i64::MAX)?.and_then(|k| usize::try_from(k).ok()).filter(|k| *k > 0),
        // The least number above 0 that anybody could mean.
        repetition_penalty: fields.number("repetition_penalty", 0.01..=10.0)?,
        seed: seed(fields)?,
        max_tokens: newer.or(older),
        n: fields.count("n", limits::CHOICES)?.unwrap_or(1),
        top_logprobs: top_logprobs(fields)?,
    })
}

/// Any whole number of 64 bits, with or without a sign.
fn seed(fields: &mut Fields) -> Result<Option<u64>> {
    let Some(value) = fields.take("seed") else { return Ok(None) };
    let seed = value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned));
    seed.map(Some).ok_or_else(|| wrong_type("seed", "an integer of 64 bits", &value))
}

fn top_logprobs(fields: &mut Fields) -> Result<Option<usize>> {
    let most = i64::try_from(limits::TOP_LOGPROBS).unwrap_or(i64::MAX);
    let top = fields.integer("top_logprobs", 0..=most)?.and_then(|top| usize::try_from(top).ok());
    match (fields.boolean("logprobs")?.unwrap_or(false), top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => {
            let message = "'logprobs' must be true where 'top_logprobs' is given.";
            Err(ApiError::field("top_logprobs", message))
        }
    }
}

/// One string or several.
pub(super) fn stops(fields: &mut Fields) -> Result<Vec<String>> {
    let given = match fields.take("stop") {
        None => Vec::new(),
        Some(Value::Array(stops)) => stops,
        Some(one) => vec![one],
    };
    if given.len() > limits::STOPS {
        return Err(ApiError::field("stop", format!("There may be {} stop strings at most.", limits::STOPS)));
    }
    let one = |stop| match stop {
        Value::String(stop) if (1..=limits::STOP).contains(&stop.len()) => Ok(stop),
        Value::String(_) => {
            Err(ApiError::field("stop", format!("A stop string must have 1 to {} bytes.", limits::STOP)))
        }
        other => Err(wrong_type("stop", "a string or an array of strings", &other)),
    };
    given.into_iter().map(one).collect()
}

pub(super) fn include_usage(fields: &mut Fields, stream: bool) -> Result<bool> {
    match fields.take("stream_options") {
        None => Ok(false),
        Some(_) if !stream => {
            Err(ApiError::field("stream_options", "'stream_options' is allowed only where 'stream' is true."))
        }
        Some(options) => Ok(Fields::of(options, "stream_options".into())?.boolean("include_usage")?.unwrap_or(false)),
    }
}

/// The tools that the model may call. That it calls one cannot be forced.
pub(super) fn tools(fields: &mut Fields) -> Result<Vec<Value>> {
    let tools = fields.array("tools", limits::TOOLS)?;
    for (number, tool) in tools.iter().enumerate() {
        if tool["type"] != "function" {
            let path = format!("tools[{number}].type");
            return Err(ApiError::field(path.clone(), format!("Invalid value for '{path}': expected 'function'.")));
        }
        if !tool["function"]["name"].is_string() {
            let path = format!("tools[{number}].function.name");
            return Err(wrong_type(&path, "a string", &tool["function"]["name"]));
        }
    }
    match fields.take("tool_choice") {
        None => Ok(tools),
        Some(Value::String(choice)) => match choice.as_str() {
            "auto" => Ok(tools),
            "none" => Ok(Vec::new()),
            "required" => Err(forced()),
            other => Err(wrong_value("tool_choice", "auto or none", other)),
        },
        Some(Value::Object(_)) => Err(forced()),
        Some(other) => Err(wrong_type("tool_choice", "a string", &other)),
    }
}

fn forced() -> Box<ApiError> {
    let message = "This server cannot make the model call a tool: 'tool_choice' may be auto or none.";
    ApiError::unsupported("tool_choice", message)
}
