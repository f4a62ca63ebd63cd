//! sharegpt records: a list of messages.

use serde_json::Value;

use super::fields::{list, optional_text, text, tools};
use super::{Conversation, Record};
use crate::{Columns, Message, SkipReason, Tags};

/// A first message with the system's role is the system message, else the column `system`.
pub(super) fn conversation(record: &Record, columns: &Columns, tags: &Tags) -> Result<Conversation, SkipReason> {
    let turns = list(record, columns.messages.as_deref().unwrap_or_default())?;
    let turns = turns.iter().map(|turn| role_and_content(turn, tags)).collect::<Result<Vec<_>, _>>()?;
    let (system, turns) = match turns.split_first() {
        Some((&(role, content), rest)) if Some(role) == tags.system_tag.as_deref() => (content, rest),
        _ => (optional_text(record, columns.system.as_deref())?, turns.as_slice()),
    };
    let message = |(turn, &(role, content)): (usize, &(&str, &str))| -> Result<Message, SkipReason> {
        Ok(Message::new(tags.role(turn, role)?, content))
    };
    Ok(Conversation {
        messages: turns.iter().enumerate().map(message).collect::<Result<_, _>>()?,
        system: system.to_owned(),
        tools: tools(record, columns.tools.as_deref()),
    })
}

fn role_and_content<'a>(turn: &'a Value, tags: &Tags) -> Result<(&'a str, &'a str), SkipReason> {
    let turn = turn.as_object().ok_or(SkipReason::NotAnObject)?;
    Ok((text(turn, &tags.role_tag)?, text(turn, &tags.content_tag)?))
}
