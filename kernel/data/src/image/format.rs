//! What a file is by its first bytes, whatever its name says: a picture of a format that is read, or something else.

use std::io::Read;
use std::path::Path;

use image::ImageFormat;
use memchr::memmem;
use tunebook_quote::REMEDY;

/// As many first bytes tell what a file is, and what palette it has.
pub(super) const FIRST_BYTES: usize = 2048;

/// What a file is that is not read as a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OtherFile {
    #[error("the file is empty{REMEDY}copy or download it again")]
    Empty,
    #[error("the file contains only zero bytes{REMEDY}copy or download it again")]
    Zeros,
    #[error("the file is a Git LFS pointer, not the image itself{REMEDY}fetch the image with `git lfs pull`")]
    LfsPointer,
    /// HTML, XML or JSON.
    #[error("the file contains {0}, not an image{REMEDY}perhaps a server answered with an error: download it again")]
    Document(&'static str),
    #[error("the file contains text, not an image")]
    Text,
    #[error("the file is a {0} archive{REMEDY}extract the images from it")]
    Archive(&'static str),
    #[error("the file is a video{REMEDY}save a frame of it as PNG or JPEG")]
    Video,
    /// A format that other programs can convert.
    #[error("the file has the format {0}, which tunebook does not read{REMEDY}convert it to PNG or JPEG")]
    Convertible(&'static str),
    #[error(
        "the file is not an image that tunebook can read; it reads PNG, JPEG, WebP, GIF, BMP, TIFF, ICO, PNM and QOI"
    )]
    Unknown,
}

impl OtherFile {
    /// What a file holds by its first bytes; none if it is a picture, or cannot be read.
    pub fn of(path: &Path) -> Option<Self> {
        let mut start = Vec::with_capacity(FIRST_BYTES);
        tunebook_files::open(path).ok()?.take(FIRST_BYTES as u64).read_to_end(&mut start).ok()?;
        format(&start).err()
    }
}

const CONVERTIBLE: [(&[u8], &str); 11] = [
    (b"%PDF-", "PDF"),
    (b"8BPS", "PSD"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"DDS ", "DDS"),
    (b"\x93NUMPY", "NumPy"),
    (b"\x89HDF\r\n", "HDF5"),
];

const ARCHIVES: [(&[u8], &str); 4] =
    [(b"PK\x03\x04", "ZIP"), (b"\x1f\x8b", "gzip"), (b"Rar!", "RAR"), (b"7z\xbc\xaf\x27\x1c", "7z")];

/// Video in other containers than MP4's: Matroska and WebM, AVI.
const MATROSKA: &[u8] = b"\x1a\x45\xdf\xa3";
const AVI: &[u8] = b"AVI ";

/// The format of a picture that begins with `start`, [`FIRST_BYTES`] of it or the whole file.
///
/// # Errors
/// What the file is instead.
pub(super) fn format(start: &[u8]) -> Result<ImageFormat, OtherFile> {
    use ImageFormat::{Bmp, Gif, Ico, Jpeg, Png, Pnm, Qoi, Tiff, WebP};
    match image::guess_format(start) {
        Ok(format @ (Png | Jpeg | WebP | Gif | Bmp | Tiff | Ico | Pnm | Qoi)) => Ok(format),
        _ => Err(other(start)),
    }
}

fn other(start: &[u8]) -> OtherFile {
    let named = |names: &[(&[u8], &'static str)]| {
        names.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| *name)
    };
    if start.is_empty() {
        OtherFile::Empty
    } else if start.iter().all(|byte| *byte == 0) {
        OtherFile::Zeros
    } else if let Some(name) = named(&CONVERTIBLE) {
        OtherFile::Convertible(name)
    } else if let Some(name) = named(&ARCHIVES) {
        OtherFile::Archive(name)
    } else if start.get(4..8) == Some(b"ftyp") {
        iso_media(start)
    } else if start.starts_with(MATROSKA) || start.get(8..12) == Some(AVI) {
        OtherFile::Video
    } else {
        text(start).unwrap_or(OtherFile::Unknown)
    }
}

/// HEIC, AVIF and MP4 share a container, whose first box names the kinds of file that it can pass for.
fn iso_media(start: &[u8]) -> OtherFile {
    let length = start.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize);
    let brands = &start[8..length.clamp(8, start.len())];
    let any = |names: &[&[u8; 4]]| brands.as_chunks::<4>().0.iter().any(|brand| names.contains(&brand));
    if any(&[b"avif", b"avis"]) {
        OtherFile::Convertible("AVIF")
    } else if any(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        OtherFile::Convertible("HEIC")
    } else {
        OtherFile::Video
    }
}

/// What a text is; none if it is no text.
fn text(start: &[u8]) -> Option<OtherFile> {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    // The last character may be cut.
    let is_text = start.utf8_chunks().enumerate().all(|(index, chunk)| index == 0 && chunk.invalid().len() < 4);
    if !is_text || start.iter().any(control) {
        return None;
    }
    let start = start.trim_ascii_start().to_ascii_lowercase();
    let holds = |tag: &str| memmem::find(&start, tag.as_bytes()).is_some();
    Some(match start.first()? {
        b'<' if holds("<svg") => OtherFile::Convertible("SVG"),
        b'<' if start.starts_with(b"<?xml") && !holds("<html") => OtherFile::Document("XML"),
        b'<' => OtherFile::Document("HTML"),
        b'{' | b'[' => OtherFile::Document("JSON"),
        _ if start.starts_with(b"version https://git-lfs") => OtherFile::LfsPointer,
        _ => OtherFile::Text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_are_read_are_known_by_their_first_bytes() {
        for (start, expected) in [
            (&b"\x89PNG\r\n\x1a\n"[..], ImageFormat::Png),
            (b"\xff\xd8\xff\xe1", ImageFormat::Jpeg),
            (b"RIFF\0\0\0\0WEBPVP8 ", ImageFormat::WebP),
            (b"GIF89a", ImageFormat::Gif),
            (b"BM\x36\0\0\0", ImageFormat::Bmp),
            (b"II*\0", ImageFormat::Tiff),
            (b"MM\0*", ImageFormat::Tiff),
            (b"\0\0\x01\0", ImageFormat::Ico),
            (b"P6 3 2 255\n", ImageFormat::Pnm),
            (b"qoif", ImageFormat::Qoi),
        ] {
            assert_eq!(format(start), Ok(expected), "{start:?}");
        }
    }

    #[test]
    fn other_files_are_named() {
        for (start, expected) in [
            (&b""[..], OtherFile::Empty),
            (&[0; 1024], OtherFile::Zeros),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", OtherFile::LfsPointer),
            (b"\n <!DOCTYPE html><html lang=\"en\">", OtherFile::Document("HTML")),
            (b"\xef\xbb\xbf<HTML><BODY>404", OtherFile::Document("HTML")),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>", OtherFile::Document("XML")),
            (b"{\"error\": \"not found\"}", OtherFile::Document("JSON")),
            (b"<?xml version=\"1.0\"?>\n<!-- drawn -->\n<svg xmlns=", OtherFile::Convertible("SVG")),
            (b"<svg width=\"3\"/>", OtherFile::Convertible("SVG")),
            (b"iVBORw0KGgoAAAANSUhEUgAA", OtherFile::Text),
            ("图片：见附件".as_bytes(), OtherFile::Text),
            (&"图片：见附件".as_bytes()[..16], OtherFile::Text),
            (b"%PDF-1.7\n", OtherFile::Convertible("PDF")),
            (b"\0\0\0\x1cftypavif\0\0\0\0mif1miafavif", OtherFile::Convertible("AVIF")),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", OtherFile::Convertible("HEIC")),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", OtherFile::Convertible("HEIC")),
            (b"\0\0\0\x18ftypisom\0\0\x02\0isommp42", OtherFile::Video),
            (b"\0\0\0\x0cjP  \r\n\x87\n", OtherFile::Convertible("JPEG 2000")),
            (b"PK\x03\x04\x14\0", OtherFile::Archive("ZIP")),
            (b"RIFF\0\0\0\0AVI LIST", OtherFile::Video),
            (b"RIFF\0\0\0\0WAVEfmt ", OtherFile::Unknown),
            (b"\x01\x02\x03\xff", OtherFile::Unknown),
        ] {
            assert_eq!(format(start), Err(expected), "{:?}", start.escape_ascii().to_string());
        }
    }
}
