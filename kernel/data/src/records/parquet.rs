//! Records of Parquet files, and the images in them.

use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Map, Value};
use tunebook_quote::message;

use super::Heard;
use crate::DatasetError;
use crate::dataset::EVERY;
use crate::picture_store::PictureStore;

/// The first `most` rows, read one by one. Bytes are pictures: they are written to files, and stand in the record as
/// their path. So does the struct of `bytes` and `path` which Hugging Face's datasets keep a picture in.
pub(super) fn read(path: &Path, most: usize, store: PictureStore, heard: Heard) -> Result<Vec<Value>, DatasetError> {
    let file = tunebook_files::open(path).map_err(|source| DatasetError::Read { path: path.to_owned(), source })?;
    let bad =
        |error: ParquetError| DatasetError::Parquet { path: path.to_owned(), message: message(&error.to_string()) };
    let reader = SerializedFileReader::new(file).map_err(bad)?;
    let rows = reader.get_row_iter(None).map_err(bad)?;
    let count = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0).min(most);
    let record = Record { store, file: path };
    let read = |(done, row): (usize, std::result::Result<Row, ParquetError>)| {
        if done.is_multiple_of(EVERY) && !heard(done, count) {
            return Err(DatasetError::Cancelled);
        }
        record.group(row.map_err(bad)?)
    };
    rows.take(most).enumerate().map(read).collect()
}

/// What a row's values become, and where their pictures go.
struct Record<'a> {
    store: PictureStore<'a>,
    file: &'a Path,
}

impl Record<'_> {
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
            Field::Bytes(bytes) => self.store.write(bytes.data(), self.file)?.to_string_lossy().into(),
            Field::Group(row) => self.group(row)?,
            Field::ListInternal(list) => {
                let values = list.elements().iter().map(|field| self.value(field.clone()));
                Value::Array(values.collect::<Result<_, _>>()?)
            }
            other => other.to_json_value(),
        })
    }
}
