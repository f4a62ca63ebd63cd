//! The requests of clients. A missing field takes the value that the specification gives it, or the least surprising
//! one: a client that leaves something out is answered all the same.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tunebook_commands::rust;

/// Reads the content of a request.
///
/// # Errors
/// It is no object, or a field is of another type than it should be; the message names it.
pub(crate) fn read<T: DeserializeOwned + Default>(content: &Value) -> Result<T, String> {
    if content.is_null() {
        return Ok(T::default());
    }
    if !content.is_object() {
        // An empty list would do for fields that are all missing.
        return Err("the request cannot be read: it is no object".to_string());
    }
    T::deserialize(content).map_err(|error| format!("the request cannot be read: {error}"))
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Execute {
    pub code: String,
    pub silent: bool,
    pub store_history: bool,
    pub user_expressions: Option<BTreeMap<String, String>>,
    pub allow_stdin: bool,
    pub stop_on_error: bool,
}

impl Default for Execute {
    fn default() -> Self {
        Self {
            code: String::new(),
            silent: false,
            store_history: true,
            user_expressions: None,
            allow_stdin: false,
            stop_on_error: true,
        }
    }
}

/// `complete_request` and `inspect_request`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct At {
    pub code: String,
    /// In code points; the end of the code if it is missing.
    pub cursor_pos: Option<usize>,
}

impl At {
    /// The line the cursor is on, or all lines of Rust, and the cursor in it, in bytes.
    pub(crate) fn line(&self) -> (&str, usize) {
        let (cursor, start) = (self.cursor(), self.start());
        let end = match rust::begins_block(&self.code) {
            true => self.code.len(),
            false => self.code[cursor..].find('\n').map_or(self.code.len(), |at| cursor + at),
        };
        (&self.code[start..end], cursor - start)
    }

    /// A place in the line of the cursor, in bytes, as a place in the code, in code points.
    pub(crate) fn in_code(&self, place: usize) -> usize {
        self.code.get(..self.start() + place).map_or(0, |before| before.chars().count())
    }

    fn start(&self) -> usize {
        if rust::begins_block(&self.code) { 0 } else { self.code[..self.cursor()].rfind('\n').map_or(0, |at| at + 1) }
    }

    fn cursor(&self) -> usize {
        let places = self.code.char_indices().map(|(at, _)| at).chain([self.code.len()]);
        places.take(self.cursor_pos.map_or(usize::MAX, |n| n.saturating_add(1))).last().unwrap_or(0)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct IsComplete {
    pub code: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    pub hist_access_type: String,
    pub output: bool,
    pub n: Option<i64>,
    /// 0 is the session of this kernel, and so is its own number; less than 0 counts back from it.
    pub session: Option<i64>,
    pub start: Option<i64>,
    pub stop: Option<i64>,
    pub pattern: String,
    pub unique: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Shutdown {
    pub restart: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CommOpen {
    pub comm_id: String,
    pub target_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct InputReply {
    pub value: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_takes_its_default() {
        let request: Execute = read(&json!({"code": "status", "user_expressions": null, "more": 1})).unwrap();
        assert!(request.store_history && request.stop_on_error && !request.silent);
        assert!(read::<Execute>(&Value::Null).unwrap().code.is_empty());
        assert!(read::<Execute>(&json!({"code": 5})).unwrap_err().contains("invalid type: integer"));
        assert!(read::<Execute>(&json!([])).unwrap_err().contains("no object"));
    }

    #[test]
    fn positions_are_code_points() {
        let at = |code: &str, cursor_pos| At { code: code.to_string(), cursor_pos };
        assert_eq!(at("e\u{301}图 tr", None).line(), ("e\u{301}图 tr", 9));
        assert_eq!(at("chat 图\ntr x", Some(9)).line(), ("tr x", 2));
        assert_eq!(at("chat 图\ntr x", Some(9)).in_code(0), 7);
        assert_eq!(at("%%rust\nlet x", Some(8)).line(), ("%%rust\nlet x", 8));
        assert_eq!(at("%%rust\n图 x", Some(9)).in_code(11), 9);
        assert_eq!(at("tr", Some(99)).line(), ("tr", 2));
        assert_eq!(at("", Some(3)).line(), ("", 0));
    }
}
