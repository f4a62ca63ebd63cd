//! Records of JSON and JSONL files.

use std::path::Path;

use serde_json::Value;

use crate::{DatasetError, json_text, text_file};

/// An array, or objects one after the other.
pub(super) fn read(path: &Path) -> Result<Vec<Value>, DatasetError> {
    let text = text_file::read(path)?;
    let mut values = json_text::values(&text).map_err(|fault| DatasetError::json(path, fault))?;
    if let [Value::Array(records)] = &mut values[..] {
        return Ok(std::mem::take(records));
    }
    match values.iter().all(Value::is_object) {
        true => Ok(values),
        false => Err(DatasetError::NotRecords { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path).unwrap_err().to_string()
    }

    #[test]
    fn a_broken_line_is_named() {
        let message = error("a.jsonl", "{\"x\": 1}\n{\"x\": 2\n");
        assert!(message.contains("a.jsonl:3:"), "{message}");
        let message = error("a.json", "[\n{\"x\": 1}\n{\"x\": 2}]");
        assert!(message.contains("a.json:3:1"), "{message}");
    }

    #[test]
    fn values_without_keys_are_no_records() {
        assert!(error("a.json", "3 4").contains("must contain records"));
    }
}
