//! Records of JSON and JSONL files.

use std::path::Path;

use serde_json::Value;

use crate::DatasetError;

/// An array, or objects one after the other.
pub(super) fn read(path: &Path) -> Result<Vec<Value>, DatasetError> {
    let text = std::fs::read_to_string(path).map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    let text = text.trim_start_matches('\u{feff}');
    let json_error = |source| DatasetError::json(path, source);

    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(json_error);
    }
    let records =
        serde_json::Deserializer::from_str(text).into_iter().collect::<Result<Vec<Value>, _>>().map_err(json_error)?;
    if records.iter().any(|record| !record.is_object()) {
        return Err(DatasetError::NotRecords { path: path.to_owned() });
    }
    Ok(records)
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
        assert!(error("a.json", "3 4").contains("must hold records"));
    }
}
