//! Records out of JSON and JSONL files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::DatasetError;

/// Where a sample comes from: the file, and its place among the file's records (from 0, as in a JSON array).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub file: Arc<Path>,
    pub index: usize,
}

impl std::fmt::Display for Origin {
    /// `creatures.json[12]`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.file.file_name().unwrap_or(self.file.as_os_str());
        write!(f, "{}[{}]", name.to_string_lossy(), self.index)
    }
}

/// All records of a file, or of a folder's files in the order of their names.
///
/// A `.json` file holds an array, or, as LLaMA-Factory accepts too, one object after the other; a `.jsonl` file
/// one object a line.
///
/// # Errors
/// Missing or unreadable files, other file types, malformed JSON with line and column.
pub(crate) fn read_records(source: &Path) -> Result<Vec<(Origin, Value)>, DatasetError> {
    let mut records = Vec::new();
    for path in files(source)? {
        let file: Arc<Path> = Arc::from(path.as_path());
        records.extend(read_file(&path)?.into_iter().enumerate().map(|(index, value)| {
            let file = file.clone();
            (Origin { file, index }, value)
        }));
    }
    Ok(records)
}

fn files(source: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    if !source.is_dir() {
        return match is_json(source) {
            true => Ok(vec![source.to_owned()]),
            false => Err(DatasetError::FileType { path: source.to_owned() }),
        };
    }
    let read_error = |error| DatasetError::Read { path: source.to_owned(), source: error };
    let mut files = Vec::new();
    for item in std::fs::read_dir(source).map_err(read_error)? {
        let path = item.map_err(read_error)?.path();
        if path.is_file() && is_json(&path) {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(DatasetError::EmptyFolder { path: source.to_owned() });
    }
    files.sort();
    Ok(files)
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl")
}

fn read_file(path: &Path) -> Result<Vec<Value>, DatasetError> {
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

    fn read(name: &str, text: &str) -> Result<Vec<(Origin, Value)>, DatasetError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_records(&path)
    }

    #[test]
    fn arrays_and_lines() {
        let array = read("a.json", r#"[{"x": 1}, {"x": 2}]"#).unwrap();
        let lines = read("a.jsonl", "{\"x\": 1}\n\n{\"x\": 2}\n").unwrap();
        let values = |records: &[(Origin, Value)]| records.iter().map(|r| r.1.clone()).collect::<Vec<_>>();
        assert_eq!(values(&array), values(&lines));
        assert_eq!(array[1].0.to_string(), "a.json[1]");
    }

    #[test]
    fn a_broken_line_is_named() {
        let error = read("a.jsonl", "{\"x\": 1}\n{\"x\": 2\n").unwrap_err();
        assert!(error.to_string().contains("a.jsonl:3:"), "{error}");
        let error = read("a.json", "[\n{\"x\": 1}\n{\"x\": 2}]").unwrap_err();
        assert!(error.to_string().contains("a.json:3:1"), "{error}");
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(read("a.csv", "x\n1\n"), Err(DatasetError::FileType { .. })));
        assert!(matches!(read("a.json", "3 4"), Err(DatasetError::NotRecords { .. })));
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("2.json"), "[2]").unwrap();
        std::fs::write(dir.path().join("1.json"), "[1]").unwrap();
        std::fs::write(dir.path().join("notes.md"), "-").unwrap();
        let records = read_records(dir.path()).unwrap();
        assert_eq!(records.iter().map(|r| r.1.clone()).collect::<Vec<_>>(), [1, 2]);
    }
}
