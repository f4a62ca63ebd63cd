//! Picture files as notebooks show them.

use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;

/// The picture as a JPEG in base64, in the size that `size` makes of its own (width and height); none if it cannot be
/// read any more.
pub fn jpeg(path: &Path, size: impl FnOnce((u32, u32)) -> (u32, u32)) -> Option<String> {
    let picture = tunebook_data::read_picture(path).ok()?.rgb;
    let (width, height) = size(picture.dimensions());
    let shown = image::imageops::thumbnail(&picture, width.max(1), height.max(1));
    let mut file = Cursor::new(Vec::new());
    shown.write_to(&mut file, ImageFormat::Jpeg).ok()?;
    Some(STANDARD.encode(file.into_inner()))
}
