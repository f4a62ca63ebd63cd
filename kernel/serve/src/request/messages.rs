//! The messages of a conversation, with their pictures.

use serde_json::Value;

use super::Remote;
use super::fields::Fields;
use super::fields::wrong_type;
use super::fields::wrong_value;
use crate::Message;
use crate::Part;
use crate::Role;
use crate::error::ApiError;
use crate::error::Result;
use crate::limits;
use crate::picture;
use crate::picture::Picture;

/// The messages, and where their pictures on other servers go.
///
/// # Errors
/// There are none, or one is not as it should be.
pub(super) fn read(fields: &mut Fields, allow_urls: bool) -> Result<(Vec<Message>, Vec<Remote>)> {
    let given = fields.take("messages").ok_or_else(|| fields.missing("messages"))?;
    let Value::Array(given) = given else { return Err(wrong_type("messages", "an array", &given)) };
    if given.is_empty() || given.len() > limits::MESSAGES {
        let message = format!("'messages' has {} elements, and may have 1 to {}.", given.len(), limits::MESSAGES);
        return Err(ApiError::field("messages", message));
    }
    let mut reader = Reader { allow_urls, message: 0, pictures: 0, remote: Vec::new() };
    let mut messages = Vec::with_capacity(given.len());
    for (number, message) in given.into_iter().enumerate() {
        reader.message = number;
        messages.push(reader.message(Fields::of(message, format!("messages[{number}]"))?)?);
    }
    Ok((messages, reader.remote))
}

struct Reader {
    allow_urls: bool,
    /// The number of the message that is read.
    message: usize,
    /// How many there were in all messages.
    pictures: usize,
    remote: Vec<Remote>,
}

impl Reader {
    fn message(&mut self, mut fields: Fields) -> Result<Message> {
        let role = match fields.string("role")?.ok_or_else(|| fields.missing("role"))?.as_str() {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" => Role::Tool,
            other => {
                let roles = "one of system, developer, user, assistant and tool";
                return Err(wrong_value(&fields.path("role"), roles, other));
            }
        };
        let tool_calls = match role {
            Role::Assistant => fields.array("tool_calls", limits::TOOLS)?,
            _ => Vec::new(),
        };
        for (number, call) in tool_calls.iter().enumerate() {
            let name = &call["function"]["name"];
            if !name.is_string() {
                let path = format!("{}[{number}].function.name", fields.path("tool_calls"));
                return Err(wrong_type(&path, "a string", name));
            }
        }
        let tool_call_id = match role {
            Role::Tool => fields.string("tool_call_id")?,
            _ => None,
        };
        let path = fields.path("content");
        let parts = match fields.take("content") {
            Some(Value::String(text)) => vec![Part::Text(text)],
            Some(Value::Array(parts)) => self.parts(parts, role, &path)?,
            Some(other) => return Err(wrong_type(&path, "a string or an array", &other)),
            None if tool_calls.is_empty() => return Err(fields.missing("content")),
            None => Vec::new(),
        };
        if parts.is_empty() && tool_calls.is_empty() {
            return Err(ApiError::field(path.clone(), format!("'{path}' is empty.")));
        }
        Ok(Message { role, parts, tool_calls, tool_call_id })
    }

    fn parts(&mut self, given: Vec<Value>, role: Role, path: &str) -> Result<Vec<Part>> {
        let mut parts = Vec::with_capacity(given.len());
        for (number, part) in given.into_iter().enumerate() {
            let part = self.part(Fields::of(part, format!("{path}[{number}]"))?, role, number)?;
            parts.push(part);
        }
        Ok(parts)
    }

    fn part(&mut self, mut fields: Fields, role: Role, number: usize) -> Result<Part> {
        let kind = fields.string("type")?.ok_or_else(|| fields.missing("type"))?;
        match (kind.as_str(), role) {
            ("text", _) => Ok(Part::Text(fields.string("text")?.ok_or_else(|| fields.missing("text"))?)),
            ("refusal", Role::Assistant) => {
                Ok(Part::Text(fields.string("refusal")?.ok_or_else(|| fields.missing("refusal"))?))
            }
            ("image_url", Role::User) => Ok(Part::Image(self.picture(fields, number)?)),
            ("image_url", _) => {
                let message = "Only a user's message may have pictures.";
                Err(ApiError::field(fields.path("type"), message))
            }
            (other, _) => Err(wrong_value(&fields.path("type"), "text or image_url", other)),
        }
    }

    /// A picture's file; empty if it is to be fetched.
    fn picture(&mut self, mut fields: Fields, part: usize) -> Result<Vec<u8>> {
        let given = fields.take("image_url").ok_or_else(|| fields.missing("image_url"))?;
        let path = fields.path("image_url");
        // Some clients leave out the object around the address.
        let (url, path) = match given {
            Value::String(url) => (url, path),
            other => {
                let mut inner = Fields::of(other, path)?;
                (inner.string("url")?.ok_or_else(|| inner.missing("url"))?, inner.path("url"))
            }
        };
        self.pictures += 1;
        if self.pictures > limits::PICTURES {
            return Err(ApiError::field(path, format!("There are more than {} pictures.", limits::PICTURES)));
        }
        match picture::read(&url, self.allow_urls).map_err(|message| ApiError::field(path, message))? {
            Picture::Here(file) => Ok(file),
            Picture::Elsewhere => {
                self.remote.push(Remote { url, message: self.message, part });
                Ok(Vec::new())
            }
        }
    }
}
