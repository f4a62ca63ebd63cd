//! Picture files: their size without decoding, and their pixels as RGB on white, upright.

use std::io::{BufReader, Read, Seek};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use super::fault::{PictureError, PictureFault};
use super::format::{FIRST_BYTES, format};
use super::jpeg::JpegDecoder;
use super::palette::is_indexed;
use super::rgb::on_white;
use super::whole::is_whole;

/// Maximum number of pixels of an image. Pillow regards more as a decompression bomb, a file of some kilobytes that
/// decodes to gigabytes, and LLaMA-Factory ends with its error.
pub(super) const MOST_PIXELS: u64 = 2 * 89_478_485;
/// Maximum number of bytes of an image's pixels as stored: three per pixel. Images with more channels or bits may have
/// fewer pixels.
const MOST_BYTES: u64 = 3 * MOST_PIXELS + 2;

/// Width and height of the upright image, from the file's header. A file whose end is missing is an error here already,
/// so that it is found when data is encoded and not hours later; files of rarer formats, whose structure does not show
/// their end, are decoded for it.
///
/// # Errors
/// A file that is missing, cut off, or no picture.
pub(crate) fn dimensions(path: &Path) -> Result<(u32, u32), PictureError> {
    let dimensions = || {
        let File { format, mut decoder, .. } = open(path)?;
        if !matches!(format, ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP) {
            return Ok(read(path)?.rgb.dimensions());
        }
        let (width, height) = decoder.dimensions();
        Ok(match decoder.orientation()? {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => (height, width),
            _ => (width, height),
        })
    };
    dimensions().map_err(|fault: PictureFault| fault.of(path))
}

/// A decoded image.
pub struct Picture {
    pub rgb: RgbImage,
    /// Whether the file keeps its colours in a palette (or is black and white), without transparency. Pillow
    /// resizes such pictures in another way.
    pub indexed: bool,
}

/// The image, upright by its EXIF orientation, transparency laid on white.
///
/// LLaMA-Factory drops the alpha channel (hidden colours appear, or turn black by resizing) and ignores EXIF. tunebook
/// differs on purpose: Qwen's own utilities lay transparency on white. Of 16-bit grey values it keeps the high byte,
/// while LLaMA-Factory turns all but the first 255 white.
///
/// # Errors
/// A file that is missing, cut off, or no picture.
pub fn read_picture(path: &Path) -> Result<Picture, PictureError> {
    read(path).map_err(|fault| fault.of(path))
}

fn read(path: &Path) -> Result<Picture, PictureFault> {
    let File { mut decoder, indexed, .. } = open(path)?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    let indexed = indexed && !is_transparent(&image);
    Ok(Picture { rgb: on_white(image), indexed })
}

struct File {
    format: ImageFormat,
    decoder: Box<dyn ImageDecoder>,
    /// See [`is_indexed`].
    indexed: bool,
}

fn open(path: &Path) -> Result<File, PictureFault> {
    let mut file = tunebook_files::open(path)?;
    let mut start = Vec::with_capacity(FIRST_BYTES);
    (&mut file).take(FIRST_BYTES as u64).read_to_end(&mut start)?;
    let format = format(&start)?;
    if !is_whole(&mut file, format)? {
        return Err(PictureFault::CutOff);
    }
    file.rewind()?;
    let file = BufReader::new(file);
    let decoder: Box<dyn ImageDecoder> = match format {
        ImageFormat::Jpeg => Box::new(JpegDecoder::new(file)?),
        _ => Box::new(ImageReader::with_format(file, format).into_decoder()?),
    };
    check_size(&decoder)?;
    Ok(File { format, indexed: is_indexed(format, &start, decoder.original_color_type()), decoder })
}

fn check_size(decoder: &impl ImageDecoder) -> Result<(), PictureFault> {
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(PictureFault::NoPixels);
    }
    let pixels = u64::from(width) * u64::from(height);
    match pixels > MOST_PIXELS || decoder.total_bytes() > MOST_BYTES {
        true => Err(PictureFault::TooLarge { width, height }),
        false => Ok(()),
    }
}

/// Whether any pixel is, at least in part.
fn is_transparent(image: &DynamicImage) -> bool {
    image.color().has_alpha() && image.to_rgba8().pixels().any(|pixel| pixel[3] < 255)
}

#[cfg(test)]
mod tests {
    use image::GrayImage;
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
        assert!(pixels.len() >= 42);
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
    fn a_cut_off_file_of_any_format_is_found_when_its_size_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(fixtures::path("decode")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let bytes = std::fs::read(entry.path()).unwrap();
            // The first picture of an animation may be whole without the others.
            if !name.ends_with(".safetensors") && !name.starts_with("animated") {
                let path = dir.path().join(&name);
                for length in [bytes.len() / 2, bytes.len() * 9 / 10] {
                    std::fs::write(&path, &bytes[..length]).unwrap();
                    let error = dimensions(&path).unwrap_err();
                    // The decoders of GIF and QOI say it in their own words.
                    let cut_off =
                        error.fault == PictureFault::CutOff || name.ends_with(".gif") || name.ends_with(".qoi");
                    assert!(cut_off, "{length} bytes of {name}: {error}");
                }
            }
        }
    }

    /// A picture is as large as Pillow takes it, and found to be larger by its header alone.
    #[test]
    fn a_giant_is_refused_where_pillow_refuses_it() {
        let cases = fixtures::json("bombs.json");
        for case in cases["sizes"].as_array().unwrap() {
            let [width, height] = ["width", "height"].map(|side| case[side].as_u64().unwrap() as u32);
            match dimensions_of_png(GrayImage::new(2, 2).into(), width, height) {
                Ok(found) => assert_eq!((found, case["refused"].as_bool()), ((width, height), Some(false))),
                Err(error) => {
                    assert_eq!(error.fault, PictureFault::TooLarge { width, height });
                    assert_eq!(case["refused"], true, "{case}");
                }
            }
        }
        let message = dimensions_of_png(RgbImage::new(2, 2).into(), 51200, 51200).unwrap_err().to_string();
        assert!(message.contains("51200×51200 pixels are too many"), "{message}");
        let deep = DynamicImage::new_rgba16(2, 2);
        assert!(dimensions_of_png(deep, 9459, 9459).is_err(), "eight bytes a pixel");
    }

    /// What is said of a PNG file whose header says another size.
    fn dimensions_of_png(image: DynamicImage, width: u32, height: u32) -> Result<(u32, u32), PictureError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        image.save(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        // Width and height, and the checksum of the header that says so.
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let checksum = bytes[12..29].iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 * (sum & 1)))
        });
        bytes[29..33].copy_from_slice(&(!checksum).to_be_bytes());
        std::fs::write(&path, bytes).unwrap();
        dimensions(&path)
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        std::fs::write(&path, "not a picture").unwrap();
        let message = dimensions(&path).unwrap_err().to_string();
        assert!(message.contains("a.png: the file contains text"), "{message}");
        let message = dimensions(dir.path()).unwrap_err().to_string();
        assert!(message.contains("cannot be read: is a directory"), "{message}");
    }
}
