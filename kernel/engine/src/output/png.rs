//! Images as PNG.

use std::io::Cursor;

use image::ImageBuffer;
use image::ImageFormat;
use image::Pixel;
use image::PixelWithColorType;

use crate::error::Error;
use crate::error::Result;

/// An image as the bytes of a PNG file.
///
/// # Errors
/// It cannot be encoded.
pub fn png<P>(image: &ImageBuffer<P, Vec<u8>>) -> Result<Vec<u8>>
where
    P: Pixel<Subpixel = u8> + PixelWithColorType,
{
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png).map_err(|error| Error::Plot(error.to_string()))?;
    Ok(file.into_inner())
}
