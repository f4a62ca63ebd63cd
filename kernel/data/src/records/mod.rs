//! Records from files: JSON, JSON Lines, CSV, Parquet.

mod csv;
mod json;
mod parquet;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::DatasetError;
use crate::picture_store::PictureStore;

/// Where a sample comes from: the dataset, the file, and its index among the file's records (from 0, as in a JSON
/// array).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub dataset: Arc<str>,
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

/// Called with the number of records read and their total while a long file is read; false stops it.
pub type Heard<'a> = &'a dyn Fn(usize, usize) -> bool;

/// The records of the dataset `dataset`: those of files, and of folders' files in the order of their names; at most the
/// first `most`.
///
/// A `.json` file holds an array, or, as LLaMA-Factory accepts too, one object after the other; a `.jsonl` file
/// one object a line; a `.csv` file a header and one record a row. A `.parquet` file may hold pictures themselves:
/// these are written to `store`, and the record gets their path.
///
/// # Errors
/// Missing or unreadable files, other file types, malformed content with its place, a stop.
pub(crate) fn read_records(
    dataset: &str,
    places: &[PathBuf],
    most: Option<usize>,
    store: PictureStore,
    heard: Heard,
) -> Result<Vec<(Origin, Value)>, DatasetError> {
    let most = most.unwrap_or(usize::MAX);
    let (dataset, mut records) = (Arc::from(dataset), Vec::new());
    let files: Vec<_> = places.iter().map(|place| files(place)).collect::<Result<_, _>>()?;
    for path in files.into_iter().flatten() {
        let file: Arc<Path> = Arc::from(path.as_path());
        let room = most - records.len();
        let values = match FileType::of(&path) {
            Some(FileType::Json) => json::read(&path)?,
            Some(FileType::Csv) => csv::read(&path)?,
            Some(FileType::Parquet) => parquet::read(&path, room, store, heard)?,
            None => return Err(other_type(path)),
        };
        let origin = |index| Origin { dataset: Arc::clone(&dataset), file: file.clone(), index };
        records.extend(values.into_iter().take(room).enumerate().map(|(index, value)| (origin(index), value)));
    }
    Ok(records)
}

enum FileType {
    Json,
    Csv,
    Parquet,
}

impl FileType {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" | "jsonl" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// What to say of a file of no type that is read.
fn other_type(path: PathBuf) -> DatasetError {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let command = match ending.to_ascii_lowercase().as_str() {
        "gz" | "tgz" => "gunzip -k",
        "zst" => "zstd -d",
        "bz2" => "bunzip2 -k",
        "xz" => "unxz -k",
        "zip" => "unzip",
        _ => return DatasetError::FileType { path },
    };
    DatasetError::Compressed { path, command }
}

fn files(source: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    if !source.is_dir() {
        return Ok(vec![source.to_owned()]);
    }
    let read_error = |error| DatasetError::Read { path: source.to_owned(), source: error };
    let mut files = Vec::new();
    for item in std::fs::read_dir(source).map_err(read_error)? {
        let path = item.map_err(read_error)?.path();
        if path.is_file() && FileType::of(&path).is_some() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(DatasetError::EmptyFolder { path: source.to_owned() });
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<Vec<(Origin, Value)>, DatasetError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_records("set", &[path], None, PictureStore { folder: dir.path() }, &|_, _| true)
    }

    fn values(records: &[(Origin, Value)]) -> Vec<&Value> {
        records.iter().map(|(_, value)| value).collect()
    }

    #[test]
    fn every_form_gives_the_same_records() {
        let array = read("a.json", r#"[{"x": "1"}, {"x": "two, \"2\""}]"#).unwrap();
        let lines = read("a.jsonl", "{\"x\": \"1\"}\n\n{\"x\": \"two, \\\"2\\\"\"}\n").unwrap();
        let table = read("a.csv", "x\n1\n\"two, \"\"2\"\"\"\n").unwrap();
        assert_eq!(values(&array), values(&lines));
        assert_eq!(values(&array), values(&table));
        assert_eq!(array[1].0.to_string(), "a.json[1]");
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(read("a.txt", "x\n1\n"), Err(DatasetError::FileType { .. })));
        assert!(matches!(read("a", "[]"), Err(DatasetError::FileType { .. })));
        for (name, command) in [("a.json.gz", "gunzip -k"), ("a.jsonl.zst", "zstd -d"), ("a.ZIP", "unzip")] {
            let message = read(name, "x").unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(command), "{message}");
        }
        let store = PictureStore { folder: Path::new(".") };
        let missing = read_records("set", &[PathBuf::from("nowhere.json")], None, store, &|_, _| true);
        let missing = missing.unwrap_err().to_string();
        assert!(missing.contains("cannot read nowhere.json"), "{missing}");
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("2.json", "[2, 3]");
        write("1.json", "[1]");
        write("notes.md", "-");
        let store = PictureStore { folder: dir.path() };
        let read = |most| read_records("set", &[dir.path().to_owned()], most, store, &|_, _| true).unwrap();
        assert_eq!(values(&read(None)), [1, 2, 3]);
        assert_eq!(values(&read(Some(2))), [1, 2]);
        let empty = tempfile::tempdir().unwrap();
        let error = read_records("set", &[empty.path().to_owned()], None, store, &|_, _| true).unwrap_err();
        assert!(matches!(error, DatasetError::EmptyFolder { .. }));
    }
}
