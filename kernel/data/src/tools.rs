//! Tools in a prompt, in the wording that Qwen2.5 and Qwen3 were trained with.

use serde_json::{Map, Value, json};

use crate::python_json::dumps;
use crate::thoughts::THOUGHT;

const BEFORE_TOOLS: &str = "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n\
                            You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
const AFTER_TOOLS: &str = "\n</tools>\n\nFor each function call, return a json object with function name and \
                           arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n\
                           {\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";

/// A call as a model writes one, as LLaMA-Factory marks it in data.
const TOOL_CALL: [&str; 2] = ["<tool_call>", "</tool_call>"];

/// Text that should have been JSON.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("it has another type")]
    Type,
}

/// The description of the tools of a JSON list for the system message; empty for none.
pub(crate) fn tool_prompt(tools: &str) -> Result<String, ToolError> {
    if tools.is_empty() {
        return Ok(String::new());
    }
    let tools: Vec<Map<String, Value>> = serde_json::from_str(tools)?;
    if tools.is_empty() {
        return Ok(String::new());
    }
    let line = |tool: Map<String, Value>| {
        let wrapped = tool.get("type").is_some_and(|kind| kind == "function");
        let tool = Value::Object(tool);
        "\n".to_owned() + &dumps(&if wrapped { tool } else { json!({"type": "function", "function": tool}) })
    };
    Ok(format!("{BEFORE_TOOLS}{}{AFTER_TOOLS}", tools.into_iter().map(line).collect::<String>()))
}

/// The calls in `content`, a JSON object with `name` and `arguments` or a list of them, as the model writes them.
/// A thought before them stays; so does what stands around a call that is marked as one.
pub(crate) fn function_calls(content: &str) -> Result<String, ToolError> {
    let (around, json) = match (between(content, TOOL_CALL), between(content, THOUGHT)) {
        (Some((whole, call)), _) => (content.replace(whole, ""), call.to_owned()),
        (None, Some((whole, _))) => (whole.to_owned(), content.replace(whole, "")),
        (None, None) => (String::new(), content.to_owned()),
    };
    let calls = match serde_json::from_str(&json)? {
        Value::Array(calls) => calls,
        call => vec![call],
    };
    let call = |call: &Value| {
        let call = call.as_object().ok_or(ToolError::Type)?;
        let part = |key| call.get(key).ok_or(ToolError::Missing(key));
        let call = dumps(&json!({"name": part("name")?, "arguments": part("arguments")?}));
        Ok(format!("<tool_call>\n{call}\n</tool_call>"))
    };
    let calls = calls.iter().map(call).collect::<Result<Vec<_>, ToolError>>()?;
    Ok(around + &calls.join("\n"))
}

/// The first part of `text` from one mark to the other: with the marks, and without.
fn between<'a>(text: &'a str, [open, close]: [&str; 2]) -> Option<(&'a str, &'a str)> {
    let start = text.find(open)?;
    let inner = start + open.len();
    let end = inner + text[inner..].find(close)?;
    Some((&text[start..end + close.len()], &text[inner..end]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn tools_and_calls_are_written_as_llamafactory_writes_them() {
        let fixtures = fixtures::json("encode/formats.json");
        for case in fixtures["tools"].as_array().unwrap() {
            assert_eq!(tool_prompt(case["tools"].as_str().unwrap()).unwrap(), case["prompt"].as_str().unwrap());
        }
        for case in fixtures["calls"].as_array().unwrap() {
            assert_eq!(function_calls(case["content"].as_str().unwrap()).unwrap(), case["text"].as_str().unwrap());
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for tools in ["tools", "{}", "[1]"] {
            assert!(tool_prompt(tools).is_err(), "{tools}");
        }
        for (content, problem) in [
            ("I call it.", "expected value"),
            ("3", "another type"),
            (r#"{"name": "f"}"#, "`arguments` is missing"),
            ("<tool_call>f()</tool_call>", "expected"),
        ] {
            let message = function_calls(content).unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
    }
}
