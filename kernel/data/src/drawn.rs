//! Datasets of images that are drawn by code, as files in LLaMA-Factory's sharegpt form.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ImageFormat, RgbImage};
use serde_json::{Map, Value, json};
use tunebook_files::write_whole;

use crate::DATASET_INFO;

#[derive(Debug, thiserror::Error)]
pub enum DrawnError {
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot encode {}: {source}", path.display())]
    Encode { path: PathBuf, source: image::ImageError },
}

/// Writes a picture as PNG.
///
/// # Errors
/// It cannot be written.
pub fn write_picture(path: &Path, image: &RgbImage) -> Result<(), DrawnError> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|source| DrawnError::Encode { path: path.to_owned(), source })?;
    write(path, bytes.get_ref())
}

/// Writes `records` as the dataset `name` in `dir`, to the file `NAME.json`.
///
/// # Errors
/// It cannot be written.
pub fn write_records(dir: &Path, name: &str, records: Vec<Value>) -> Result<(), DrawnError> {
    write_json(&dir.join(format!("{name}.json")), &Value::Array(records))
}

/// Writes the `dataset_info.json` that declares these datasets, which [`write_records`] has written.
///
/// # Errors
/// It cannot be written.
pub fn write_info(dir: &Path, names: &[&str]) -> Result<(), DrawnError> {
    let entry = |name: &&str| {
        let entry = json!({
            "file_name": format!("{name}.json"),
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
        });
        ((*name).to_string(), entry)
    };
    write_json(&dir.join(DATASET_INFO), &Value::Object(names.iter().map(entry).collect::<Map<_, _>>()))
}

fn write_json(path: &Path, value: &Value) -> Result<(), DrawnError> {
    write(path, format!("{value:#}\n").as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DrawnError> {
    write_whole(path, bytes).map_err(|source| DrawnError::Write { path: path.to_owned(), source })
}
