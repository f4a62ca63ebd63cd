//! Picture files: their size without decoding, and their pixels as RGB on white, upright.

use std::fs;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult, Rgb, RgbImage};

use super::ImageError;
use super::jpeg::JpegDecoder;
use super::whole::is_whole;

/// The largest picture that is decoded, in bytes of its pixels.
const MAX_BYTES: u64 = 512 << 20;

/// Width and height of the upright picture, from the file's header. A file whose end is missing is an error here
/// already, so that it is found when data is encoded and not hours later.
pub(crate) fn dimensions(path: &Path) -> Result<(u32, u32), ImageError> {
    let File { mut decoder, .. } = open(path)?;
    let (width, height) = decoder.dimensions();
    check_size(path, &decoder)?;
    Ok(match orientation(path, &mut decoder)? {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            (height, width)
        }
        _ => (width, height),
    })
}

/// A decoded picture.
pub struct Picture {
    pub rgb: RgbImage,
    /// Whether the file keeps its colours in a palette (or is black and white), without transparency. Pillow
    /// resizes such pictures in another way.
    pub indexed: bool,
}

/// The picture, upright by its EXIF orientation, transparency laid on white.
///
/// LLaMA-Factory drops the alpha channel (what hides under it shows, or turns black by resizing) and ignores EXIF.
/// tunebook differs from it on purpose: Qwen's own utilities lay transparency on white.
///
/// # Errors
/// A file that is missing, cut off, or no picture.
pub fn read_picture(path: &Path) -> Result<Picture, ImageError> {
    let File { mut decoder, palette } = open(path)?;
    let orientation = orientation(path, &mut decoder)?;
    check_size(path, &decoder)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| bad(path, error.to_string()))?;
    image.apply_orientation(orientation);
    let indexed = palette && !image.color().has_alpha();
    Ok(Picture { rgb: on_white(image), indexed })
}

struct File {
    decoder: Box<dyn ImageDecoder>,
    /// Colours are in a palette, or black and white.
    palette: bool,
}

fn open(path: &Path) -> Result<File, ImageError> {
    let read_error = |source| ImageError::Read { path: path.to_owned(), source };
    let mut file = fs::File::open(path).map_err(read_error)?;
    let mut start = Vec::with_capacity(32);
    (&mut file).take(32).read_to_end(&mut start).map_err(read_error)?;
    let format = image::guess_format(&start).map_err(|_| bad(path, "not a PNG, JPEG or WebP file".to_owned()))?;
    if !is_whole(&mut file, format).map_err(read_error)? {
        return Err(bad(path, "the file is cut off".to_owned()));
    }
    file.rewind().map_err(read_error)?;
    let decoder = decoder(BufReader::new(file), format).map_err(|error| bad(path, error.to_string()))?;
    // PNG's bit depth and colour type, at their fixed place in the header.
    let palette = format == ImageFormat::Png && matches!(start.get(24..26), Some([_, 3] | [1, 0]));
    Ok(File { decoder, palette })
}

fn decoder(file: BufReader<fs::File>, format: ImageFormat) -> ImageResult<Box<dyn ImageDecoder>> {
    Ok(match format {
        ImageFormat::Jpeg => Box::new(JpegDecoder::new(file)?),
        _ => Box::new(ImageReader::with_format(file, format).into_decoder()?),
    })
}

fn orientation(path: &Path, decoder: &mut impl ImageDecoder) -> Result<Orientation, ImageError> {
    decoder.orientation().map_err(|error| bad(path, error.to_string()))
}

fn check_size(path: &Path, decoder: &impl ImageDecoder) -> Result<(), ImageError> {
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(bad(path, "it has no pixels".to_owned()));
    }
    match decoder.total_bytes() > MAX_BYTES {
        true => Err(bad(path, format!("{width}×{height} pixels are too many to decode; make it smaller"))),
        false => Ok(()),
    }
}

fn on_white(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, a] = image.get_pixel(x, y).0;
        Rgb([r, g, b].map(|value| blend(value, 255, a)))
    })
}

/// (value·alpha + under·(255 - alpha)) / 255, rounded to the nearest.
fn blend(value: u8, under: u8, alpha: u8) -> u8 {
    let (value, under, alpha) = (u32::from(value), u32::from(under), u32::from(alpha));
    ((value * alpha + under * (255 - alpha) + 127) / 255) as u8
}

fn bad(path: &Path, message: String) -> ImageError {
    ImageError::Picture { path: path.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;
    use safetensors::SafeTensors;

    use super::*;
    use crate::fixtures;

    /// The very bytes of Pillow's `convert("RGB")`.
    #[test]
    fn pixels_are_pillows() {
        let bytes = std::fs::read(fixtures::path("decode/pixels.safetensors")).unwrap();
        let pixels = SafeTensors::deserialize(&bytes).unwrap();
        for (name, expected) in pixels.tensors() {
            let path = fixtures::path("decode").join(&name);
            let rgb = read_picture(&path).unwrap().rgb;
            assert_eq!([rgb.height() as usize, rgb.width() as usize, 3], expected.shape(), "{name}");
            let differing = rgb.as_raw().iter().zip(expected.data()).filter(|(a, b)| a != b).count();
            assert_eq!(differing, 0, "{name}: values that differ");
            assert_eq!(dimensions(&path).unwrap(), rgb.dimensions(), "{name}");
        }
        assert!(pixels.len() >= 16);
    }

    /// Whatever is wrong inside, it is an error or a picture, on all threads.
    #[test]
    fn a_damaged_jpeg_file_ends_nothing() {
        for name in ["420.jpg", "420_progressive.jpg", "ycck.jpg"] {
            let bytes = std::fs::read(fixtures::path("decode").join(name)).unwrap();
            let errors = (0..bytes.len() * 3).into_par_iter().filter(|at| {
                let mut bytes = bytes.clone();
                bytes[at / 3] = [0, 0xff, bytes[at / 3] ^ 0x10][at % 3];
                let image = JpegDecoder::new(&bytes[..]).and_then(DynamicImage::from_decoder);
                image.is_err()
            });
            assert!(errors.count() > 50, "{name}");
        }
    }

    #[test]
    fn transparency_is_laid_on_white() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let mut image = image::RgbaImage::new(2, 1);
        image.put_pixel(0, 0, image::Rgba([200, 0, 0, 0]));
        image.put_pixel(1, 0, image::Rgba([200, 0, 100, 128]));
        image.save(&path).unwrap();
        let rgb = read_picture(&path).unwrap().rgb;
        assert_eq!(rgb.get_pixel(0, 0).0, [255, 255, 255]);
        assert_eq!(rgb.get_pixel(1, 0).0, [227, 127, 177]);
    }

    #[test]
    fn a_cut_off_file_is_found_by_its_header_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        RgbImage::new(60, 40).save(&path).unwrap();
        assert_eq!(dimensions(&path).unwrap(), (60, 40));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() * 9 / 10]).unwrap();
        let message = dimensions(&path).unwrap_err().to_string();
        assert!(message.contains("a.png") && message.contains("cut off"), "{message}");
    }

    #[test]
    fn a_giant_is_found_by_its_header_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        RgbImage::new(2, 2).save(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        // Width and height, and the checksum of the header that says so.
        bytes[16..24].copy_from_slice(&[0, 0, 200, 0, 0, 0, 200, 0]);
        let checksum = bytes[12..29].iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
        });
        bytes[29..33].copy_from_slice(&(!checksum).to_be_bytes());
        std::fs::write(&path, bytes).unwrap();
        let message = dimensions(&path).unwrap_err().to_string();
        assert!(message.contains("51200×51200 pixels are too many"), "{message}");
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        std::fs::write(&path, "not a picture").unwrap();
        let message = dimensions(&path).unwrap_err().to_string();
        assert!(message.contains("not a PNG, JPEG or WebP file"), "{message}");
        std::fs::write(&path, "").unwrap();
        assert!(dimensions(&path).is_err());
    }
}
