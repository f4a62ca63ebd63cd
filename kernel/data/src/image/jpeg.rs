//! JPEG files, decoded by libjpeg-turbo.
//!
//! Pillow uses it too; other decoders round differently and upsample chroma with other filters. zune-jpeg, which the
//! `image` crate uses, differs by 3 of 255 at most in images of noise, but by 55 where chroma is subsampled, which
//! moves the loss of a drawing by about 1e-4.
//!
//! The decoder inside `mozjpeg` is libjpeg-turbo's and gives the same bits. It needs a C compiler, but neither nasm nor
//! cmake; without nasm it takes up to twice as long as zune-jpeg. It reports an error by unwinding, which is caught
//! here, so the profile's `panic` must stay `unwind`.

use std::io::{self, BufRead};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use image::error::{DecodingError, ImageFormatHint};
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageResult};
use mozjpeg::{ColorSpace, Decompress, Marker};

/// A file whose header has been read. It decodes to RGB, as Pillow's `convert("RGB")` makes it.
pub(super) struct JpegDecoder<R> {
    header: Decompress<R>,
}

impl<R: BufRead> JpegDecoder<R> {
    /// # Errors
    /// The file is no JPEG file, damaged, or of a kind that libjpeg-turbo does not decode.
    pub(super) fn new(file: R) -> ImageResult<Self> {
        const EXIF: Marker = Marker::APP(1);
        let header = caught(|| Decompress::with_markers(&[EXIF]).from_reader(file))?;
        Ok(Self { header })
    }
}

impl<R: BufRead> ImageDecoder for JpegDecoder<R> {
    fn dimensions(&self) -> (u32, u32) {
        // At most 65,500.
        (self.header.width() as u32, self.header.height() as u32)
    }

    fn color_type(&self) -> ColorType {
        ColorType::Rgb8
    }

    fn exif_metadata(&mut self) -> ImageResult<Option<Vec<u8>>> {
        let exif = self.header.markers().find_map(|marker| marker.data.strip_prefix(b"Exif\0\0"));
        Ok(exif.map(<[u8]>::to_vec))
    }

    fn read_image(self, rgb: &mut [u8]) -> ImageResult<()> {
        let pixels = rgb.as_chunks_mut::<3>().0;
        caught(|| match self.header.color_space() {
            ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => {
                let mut rows = self.header.to_colorspace(ColorSpace::JCS_CMYK)?;
                let inks = rows.read_scanlines::<[u8; 4]>()?;
                for (pixel, ink) in pixels.iter_mut().zip(inks) {
                    *pixel = without_ink(ink);
                }
                Ok(())
            }
            _ => self.header.rgb()?.read_scanlines_into(pixels).map(|_| ()),
        })
    }

    fn read_image_boxed(self: Box<Self>, rgb: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(rgb)
    }
}

/// The colour of cyan, magenta, yellow and black, which JPEG files hold inverted: 255 is no ink. Pillow takes that for
/// granted, too, whether the file has Adobe's marker or not.
fn without_ink([c, m, y, k]: [u8; 4]) -> [u8; 3] {
    let k = u32::from(k);
    [c, m, y].map(|ink| {
        // Of 255, rounded as Pillow does.
        let product = (255 - u32::from(ink)) * k + 128;
        (k - (((product >> 8) + product) >> 8)) as u8
    })
}

/// libjpeg tells of an error by unwinding with the message. What it worked on is not used afterwards.
fn caught<T>(work: impl FnOnce() -> io::Result<T>) -> ImageResult<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(ImageError::IoError),
        Err(panic) => match panic.downcast::<String>() {
            Ok(message) => {
                Err(ImageError::Decoding(DecodingError::new(ImageFormatHint::Exact(ImageFormat::Jpeg), *message)))
            }
            Err(panic) => resume_unwind(panic),
        },
    }
}
