//! Records of Parquet files, and the pictures in them.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};
use tunebook_files::write_whole;
use tunebook_quote::message;

use super::Heard;
use crate::DatasetError;

/// The first `most` rows, read one by one. Bytes are pictures: they are written to files, and stand in the record as
/// their path. So does the struct of `bytes` and `path` which Hugging Face's data sets keep a picture in.
pub(super) fn read(path: &Path, most: usize, pictures: &Path, heard: Heard) -> Result<Vec<Value>, DatasetError> {
    /// Rows between two words about it.
    const EVERY: usize = 64;
    let file = File::open(path).map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    let bad =
        |error: ParquetError| DatasetError::Parquet { path: path.to_owned(), message: message(&error.to_string()) };
    let reader = SerializedFileReader::new(file).map_err(bad)?;
    let store = PictureStore { folder: pictures, file: path };
    let rows = reader.get_row_iter(None).map_err(bad)?;
    let count = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0).min(most);
    let read = |(done, row): (usize, std::result::Result<Row, ParquetError>)| {
        if done.is_multiple_of(EVERY) && !heard(done, count) {
            return Err(DatasetError::Cancelled);
        }
        store.group(row.map_err(bad)?)
    };
    rows.take(most).enumerate().map(read).collect()
}

/// Where pictures out of a file go.
struct PictureStore<'a> {
    folder: &'a Path,
    file: &'a Path,
}

impl PictureStore<'_> {
    fn group(&self, row: Row) -> Result<Value, DatasetError> {
        let mut object = Map::new();
        for (key, field) in row.into_columns() {
            object.insert(key, self.value(field)?);
        }
        let is_picture = object.len() == 2 && object.contains_key("bytes") && object.contains_key("path");
        Ok(match (is_picture, object.get("bytes")) {
            (true, Some(Value::Null)) => object.remove("path").unwrap_or_default(),
            (true, Some(_)) => object.remove("bytes").unwrap_or_default(),
            _ => Value::Object(object),
        })
    }

    fn value(&self, field: Field) -> Result<Value, DatasetError> {
        Ok(match field {
            Field::Str(text) => Value::from(text),
            Field::Bytes(bytes) => self.write(bytes.data())?.to_string_lossy().into(),
            Field::Group(row) => self.group(row)?,
            Field::ListInternal(list) => {
                let values = list.elements().iter().map(|field| self.value(field.clone()));
                Value::Array(values.collect::<Result<_, _>>()?)
            }
            other => other.to_json_value(),
        })
    }

    /// Writes a picture under the name that its content gives it, where it is not there already.
    fn write(&self, bytes: &[u8]) -> Result<PathBuf, DatasetError> {
        let extension = image::guess_format(bytes).ok().and_then(|format| format.extensions_str().first());
        let name: String = Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.folder.join(name).with_extension(extension.unwrap_or(&"bin"));
        let write = || {
            if path.metadata().is_ok_and(|file| file.len() == bytes.len() as u64) {
                return Ok(());
            }
            std::fs::create_dir_all(self.folder)?;
            write_whole(&path, bytes)
        };
        let failed = |source| DatasetError::Picture { path: path.clone(), file: self.file.to_owned(), source };
        write().map_err(failed)?;
        Ok(path)
    }
}
