//! The fields of a JSON object, taken one by one, and errors that name them as OpenAI's do: `messages[0].content`.

use std::ops::RangeInclusive;

use serde_json::Map;
use serde_json::Value;

use crate::error::ApiError;
use crate::error::Result;
use crate::error::quoted;

/// An object and where it is. What was taken from it is owned, so that a picture in it is not copied.
#[derive(Debug)]
pub(super) struct Fields {
    map: Map<String, Value>,
    /// Empty for the request itself.
    path: String,
}

impl Fields {
    pub(super) fn new(map: Map<String, Value>, path: String) -> Self {
        Self { map, path }
    }

    /// # Errors
    /// The value is no object.
    pub(super) fn of(value: Value, path: String) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { map, path }),
            other => Err(wrong_type(&path, "an object", &other)),
        }
    }

    /// The name of a field in errors.
    pub(super) fn path(&self, name: &str) -> String {
        match self.path.is_empty() {
            true => name.to_string(),
            false => format!("{}.{name}", self.path),
        }
    }

    /// A field, unless it is null, which is the same as not there.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.get_mut(name).map(Value::take).filter(|value| !value.is_null())
    }

    pub(super) fn missing(&self, name: &str) -> Box<ApiError> {
        let path = self.path(name);
        ApiError::field(path.clone(), format!("Missing required parameter: '{path}'."))
    }

    pub(super) fn string(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(&self.path(name), "a string", &other)),
        }
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(wrong_type(&self.path(name), "a boolean", &other)),
        }
    }

    /// An array; none where there is no such field.
    ///
    /// # Errors
    /// It is no array, or has more than `most` elements.
    pub(super) fn array(&mut self, name: &str, most: usize) -> Result<Vec<Value>> {
        let path = self.path(name);
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) if values.len() <= most => Ok(values),
            Some(Value::Array(values)) => {
                let message = format!("'{path}' has {} elements, and may have {most} at most.", values.len());
                Err(ApiError::field(path, message))
            }
            Some(other) => Err(wrong_type(&path, "an array", &other)),
        }
    }

    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let path = self.path(name);
        let number = value.as_f64().ok_or_else(|| wrong_type(&path, "a number", &value))?;
        match range.contains(&number) {
            true => Ok(Some(number)),
            false => Err(out_of_range(&path, &value, &range.start().to_string(), &range.end().to_string())),
        }
    }

    /// A whole number.
    pub(super) fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Result<Option<i64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let path = self.path(name);
        if !value.is_i64() && !value.is_u64() {
            return Err(wrong_type(&path, "an integer", &value));
        }
        match value.as_i64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(out_of_range(&path, &value, &range.start().to_string(), &range.end().to_string())),
        }
    }

    /// A whole number that counts something, from 1.
    pub(super) fn count(&mut self, name: &str, most: usize) -> Result<Option<usize>> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        Ok(self.integer(name, 1..=most)?.and_then(|number| usize::try_from(number).ok()))
    }
}

/// A value of the wrong kind.
pub(super) fn wrong_type(path: &str, expected: &str, found: &Value) -> Box<ApiError> {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    ApiError::field(path, format!("Invalid type for '{path}': expected {expected}, but got {found} instead."))
}

/// A text that is none of those there are.
pub(super) fn wrong_value(path: &str, expected: &str, found: &str) -> Box<ApiError> {
    ApiError::field(path, format!("Invalid value for '{path}': expected {expected}, but got '{}'.", quoted(found)))
}

fn out_of_range(path: &str, found: &Value, least: &str, most: &str) -> Box<ApiError> {
    let found = quoted(&found.to_string());
    let message = match most.len() > 12 {
        true => format!("Invalid value for '{path}': expected {least} at least, but got {found}."),
        false => format!("Invalid value for '{path}': expected {least} to {most}, but got {found}."),
    };
    ApiError::field(path, message)
}
