//! OpenAI records: a list of messages, with tool calls and their results as in OpenAI's interface.

use serde_json::Value;

use super::fields::{list, missing, optional_text, text, tools, wrong_type};
use super::{Conversation, Record};
use crate::python_json::dumps;
use crate::{Columns, Message, Role, SkipReason, Tags, ValueType};

/// Stands between two results of tools that one message takes.
pub const NEXT_TOOL_RESULT: &str = "\n</tool_response>\n<tool_response>\n";

/// LLaMA-Factory puts this into the system message of every such record without tools, and so do we: the same data
/// gives the same training.
const NO_TOOLS: &str = "detailed thinking off";

/// As sharegpt, and: `tool_calls` make an assistant's message a call of tools; results in a row become one message.
/// Results at the very end, which nothing answers, are left out.
pub(super) fn conversation(record: &Record, columns: &Columns, tags: &Tags) -> Result<Conversation, SkipReason> {
    let turns = list(record, columns.messages.as_deref().unwrap_or_default())?;
    let turns = turns.iter().map(|turn| turn.as_object().ok_or(SkipReason::NotAnObject));
    let turns = turns.collect::<Result<Vec<_>, _>>()?;
    let is_system = |turn: &Record| {
        let role = turn.get(&tags.role_tag).and_then(Value::as_str);
        role.is_some() && role == tags.system_tag.as_deref()
    };
    let (system, turns) = match turns.split_first() {
        Some((first, rest)) if is_system(first) => (text(first, &tags.content_tag)?, rest),
        _ => (optional_text(record, columns.system.as_deref())?, turns.as_slice()),
    };

    let (mut messages, mut results) = (Vec::new(), Vec::new());
    for (turn, message) in turns.iter().enumerate() {
        let name = text(message, &tags.role_tag)?;
        let message = match (tags.role(turn, name)?, message.get("tool_calls")) {
            (Role::Assistant | Role::Function, Some(Value::Array(calls))) if !calls.is_empty() => {
                Message::new(Role::Function, function_calls(calls)?)
            }
            (Role::Observation, _) => {
                results.push(text(message, &tags.content_tag)?);
                continue;
            }
            (role, _) => Message::new(role, text(message, &tags.content_tag)?),
        };
        if !results.is_empty() {
            messages.push(Message::new(Role::Observation, results.join(NEXT_TOOL_RESULT)));
            results.clear();
        }
        messages.push(message);
    }
    let tools = tools(record, columns.tools.as_deref());
    Ok(Conversation { messages, system: system_message(system, !tools.is_empty()), tools })
}

fn function_calls(calls: &[Value]) -> Result<String, SkipReason> {
    let functions = calls.iter().map(|call| match call.get("function") {
        Some(function) => Ok(function.clone()),
        None if call.is_object() => Err(missing("function")),
        None => Err(wrong_type("tool_calls", ValueType::Objects)),
    });
    Ok(dumps(&Value::Array(functions.collect::<Result<_, _>>()?)))
}

fn system_message(system: &str, with_tools: bool) -> String {
    match (system, with_tools) {
        ("", true) => String::new(),
        ("", false) => NO_TOOLS.to_owned(),
        (system, true) => format!("{system}\n"),
        (system, false) if [NO_TOOLS, "detailed thinking on"].iter().any(|said| system.contains(said)) => {
            system.to_owned()
        }
        (system, false) => format!("{system}\n{NO_TOOLS}"),
    }
}
