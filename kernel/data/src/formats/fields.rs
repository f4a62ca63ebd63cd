//! The values under the keys of a record.

use std::borrow::Cow;

use serde_json::Value;
use tunebook_quote::quote;

use super::Record;
use crate::python_json::dumps;
use crate::{SkipReason, ValueType};

/// Whether nothing is there: the key is absent, or it is null.
pub(super) fn is_null(record: &Record, key: &str) -> bool {
    record.get(key).is_none_or(Value::is_null)
}

/// Text that has to be there.
pub(super) fn text<'a>(record: &'a Record, key: &str) -> Result<&'a str, SkipReason> {
    match record.get(key) {
        None => Err(missing(key)),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(wrong_type(key, ValueType::Text)),
    }
}

/// The text of a column that may be absent, as a column and in the record.
pub(super) fn optional_text<'a>(record: &'a Record, column: Option<&str>) -> Result<&'a str, SkipReason> {
    match column.filter(|key| !is_null(record, key)) {
        Some(key) => text(record, key),
        None => Ok(""),
    }
}

/// A list, or the text of a JSON list, which is how a CSV file can hold one.
pub(super) fn list<'a>(record: &'a Record, key: &str) -> Result<Cow<'a, [Value]>, SkipReason> {
    match record.get(key) {
        None => Err(missing(key)),
        Some(Value::Array(list)) => Ok(Cow::Borrowed(list)),
        Some(Value::String(text)) => {
            serde_json::from_str(text).map(Cow::Owned).map_err(|_| wrong_type(key, ValueType::List))
        }
        Some(_) => Err(wrong_type(key, ValueType::List)),
    }
}

/// The tools of a record: JSON, or the text of it.
pub(super) fn tools(record: &Record, column: Option<&str>) -> String {
    match column.and_then(|key| record.get(key)) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(tools) => dumps(tools),
    }
}

pub(super) fn missing(key: &str) -> SkipReason {
    SkipReason::MissingKey { key: quote(key) }
}

pub(super) fn wrong_type(key: &str, expected: ValueType) -> SkipReason {
    SkipReason::WrongType { key: quote(key), expected }
}
