//! Records of CSV files.

use std::path::Path;

use serde_json::{Map, Value};

use tunebook_quote::message;

use crate::{DatasetError, text_file};

/// A header with the keys, then a record a row. Every cell is text; an empty one is null.
pub(super) fn read(path: &Path) -> Result<Vec<Value>, DatasetError> {
    let text = text_file::read(path)?;
    let bad = |error: csv::Error| DatasetError::Csv { path: path.to_owned(), message: message(&error.to_string()) };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let keys: Vec<_> = reader.headers().map_err(bad)?.iter().map(str::to_owned).collect();
    let value = |cell: &str| if cell.is_empty() { Value::Null } else { Value::from(cell) };
    let record =
        |row: csv::StringRecord| Value::from(keys.iter().cloned().zip(row.iter().map(value)).collect::<Map<_, _>>());
    reader.records().map(|row| row.map(record).map_err(bad)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_text(text: &str) -> Result<Vec<Value>, DatasetError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn cells_are_text_or_nothing() {
        let records = read_text("\u{feff}a,b\n1,\"two\nlines\"\n,3\n").unwrap();
        assert_eq!(records, [json!({"a": "1", "b": "two\nlines"}), json!({"a": null, "b": "3"})]);
    }

    #[test]
    fn a_row_of_another_length_is_named() {
        let message = read_text("a,b\n1,2\n3\n").unwrap_err().to_string();
        assert!(message.contains("line: 3"), "{message}");
    }
}
