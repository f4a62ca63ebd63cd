//! Alpaca records: a question, an answer, and earlier pairs of them, each under its own key.

use serde_json::Value;

use super::fields::{is_null, list, optional_text, text, tools, wrong_type};
use super::{Conversation, Record};
use crate::{Columns, Message, Role, SkipReason, ValueType};

/// `history`, a list of pairs, comes first. The question is `prompt` and `query`, on a line each.
pub(super) fn conversation(record: &Record, columns: &Columns) -> Result<Conversation, SkipReason> {
    let mut messages = Vec::new();
    if let Some(key) = columns.history.as_deref().filter(|key| !is_null(record, key)) {
        for pair in list(record, key)?.iter() {
            let texts = pair.as_array().map(|pair| pair.iter().map(Value::as_str).collect::<Vec<_>>());
            let Some([Some(question), Some(answer)]) = texts.as_deref() else {
                return Err(wrong_type(key, ValueType::TextPairs));
            };
            messages.extend([Message::user(*question), Message::assistant(*answer)]);
        }
    }
    let parts = [&columns.prompt, &columns.query].map(|column| optional_text(record, column.as_deref()));
    let [prompt, query] = parts;
    let question: Vec<_> = [prompt?, query?].into_iter().filter(|part| !part.is_empty()).collect();
    messages.push(Message::new(Role::User, question.join("\n")));
    if let Some(key) = &columns.response {
        messages.push(Message::assistant(text(record, key)?));
    }
    Ok(Conversation {
        messages,
        system: optional_text(record, columns.system.as_deref())?.to_owned(),
        tools: tools(record, columns.tools.as_deref()),
    })
}
