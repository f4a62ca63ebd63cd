//! Whether an image file is complete.
//!
//! A truncated file should be found when data is chosen, not at its training step. The structure of PNG, JPEG and WebP
//! files tells without decoding: only a JPEG file with something behind it is read as a whole, which takes a
//! millisecond for 5 MB. Files of other formats are decoded to find out. What follows the end does not matter: the
//! video of a motion photo, further images, padding.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use image::ImageFormat;
use memchr::memmem;

/// Whether the end of the picture at the beginning of `file` is there. Only PNG, JPEG and WebP are looked into.
///
/// # Errors
/// The file cannot be read.
pub(super) fn is_whole(file: &mut (impl Read + Seek), format: ImageFormat) -> io::Result<bool> {
    file.rewind()?;
    let whole = match format {
        ImageFormat::Png => png(file),
        ImageFormat::Jpeg => jpeg(file),
        ImageFormat::WebP => webp(file),
        _ => Ok(true),
    };
    match whole {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        whole => whole,
    }
}

const IEND: &[u8; 4] = b"IEND";
/// The last chunk of a PNG file: length, type and checksum.
const PNG_END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";
const PNG_SIGNATURE: u64 = 8;

fn png(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    // Nearly always the file ends where its last chunk does, which saves visiting all chunks.
    let length = file.seek(SeekFrom::End(0))?;
    let mut end = [0; PNG_END.len()];
    file.seek(SeekFrom::Start(length.saturating_sub(PNG_END.len() as u64)))?;
    file.read_exact(&mut end)?;
    if end == *PNG_END {
        return Ok(true);
    }
    let mut chunk = PNG_SIGNATURE;
    loop {
        file.seek(SeekFrom::Start(chunk))?;
        let [a, b, c, d, name @ ..] = read::<8>(file)?;
        // The length and the name come before the data, a checksum after it.
        chunk += 8 + u64::from(u32::from_be_bytes([a, b, c, d])) + 4;
        if name == *IEND {
            return Ok(chunk <= length);
        }
    }
}

fn webp(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let [_, _, _, _, a, b, c, d] = read::<8>(file)?;
    let length = file.seek(SeekFrom::End(0))?;
    Ok(length >= 8 + u64::from(u32::from_le_bytes([a, b, c, d])))
}

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;
const JPEG_END: &[u8] = &[0xff, END_OF_IMAGE];

/// The end marker of a JPEG file comes after its first scan; those before it are of thumbnails. The data of a scan
/// cannot hold one, since 0 follows each 0xff there.
fn jpeg(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let scan = first_scan(&mut BufReader::new(&mut *file))?;
    // Nearly always the end of the picture is that of the file. One that is found there may be that of something
    // behind the picture, which then is there, too.
    const TAIL: u64 = 4096;
    let length = file.seek(SeekFrom::End(0))?;
    let tail = scan.max(length.saturating_sub(TAIL));
    Ok(holds_jpeg_end(file, tail, length)? || holds_jpeg_end(file, scan, tail)?)
}

/// Where the data of the first scan begins.
fn first_scan(file: &mut (impl BufRead + Seek)) -> io::Result<u64> {
    loop {
        let [marker] = next_marker(file)?;
        // These have no length: no marker at all, and those that stand alone.
        if matches!(marker, 0x00 | 0x01 | 0xd0..=0xd8) {
            continue;
        }
        let length = u16::from_be_bytes(read(file)?);
        file.seek_relative(i64::from(length.saturating_sub(2)))?;
        if marker == START_OF_SCAN {
            return file.stream_position();
        }
    }
}

/// The byte that follows the next 0xff, of which there may be several, as there may be garbage before it.
fn next_marker(file: &mut impl BufRead) -> io::Result<[u8; 1]> {
    file.skip_until(0xff)?;
    loop {
        match read(file)? {
            [0xff] => {}
            marker => return Ok(marker),
        }
    }
}

/// Whether an end marker begins in `from..to`.
fn holds_jpeg_end(file: &mut (impl Read + Seek), from: u64, to: u64) -> io::Result<bool> {
    const STEP: usize = 1 << 16;
    file.seek(SeekFrom::Start(from))?;
    let mut data = Vec::with_capacity(STEP + 1);
    let mut left = (to + 1).saturating_sub(from);
    while left > 0 {
        let step = (&mut *file).take(left.min(STEP as u64)).read_to_end(&mut data)?;
        if memmem::find(&data, JPEG_END).is_some() {
            return Ok(true);
        }
        if step == 0 {
            return Ok(false);
        }
        left -= step as u64;
        // The marker may begin with the last byte.
        data.drain(..data.len() - 1);
    }
    Ok(false)
}

fn read<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{Rgb, RgbImage};

    use super::*;

    fn picture(format: ImageFormat) -> Vec<u8> {
        let image = RgbImage::from_fn(60, 40, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    fn whole(bytes: &[u8], format: ImageFormat) -> bool {
        is_whole(&mut Cursor::new(bytes), format).unwrap()
    }

    #[test]
    fn a_file_that_is_cut_anywhere_is_not_whole() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let bytes = picture(format);
            for length in 0..bytes.len() {
                assert!(!whole(&bytes[..length], format), "{format:?} cut to {length} of {}", bytes.len());
            }
            assert!(whole(&bytes, format), "{format:?}");
        }
    }

    /// Motion photos, phones' trailers, MPO's further pictures, padding.
    #[test]
    fn what_follows_the_end_does_not_matter() {
        let film: Vec<u8> = (0..300_000u32).map(|i| ((i * i) >> 7) as u8 & 0x7f).collect();
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let bytes = picture(format);
            for behind in [&b"\n"[..], &[0; 5000], &film, &picture(format)[..500]] {
                let name = format!("{format:?} and {} bytes", behind.len());
                assert!(whole(&[&bytes, behind].concat(), format), "{name}");
                assert!(!whole(&[&bytes[..bytes.len() * 9 / 10], &behind[..0]].concat(), format), "{name}");
            }
        }
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_that_of_the_picture() {
        let bytes = picture(ImageFormat::Jpeg);
        let segment = [b"Exif\0\0", &bytes[..]].concat();
        let head = [&[0xff, 0xd8, 0xff, 0xe1], &(segment.len() as u16 + 2).to_be_bytes()[..], &segment].concat();
        let with_thumbnail = [&head, &bytes[2..]].concat();
        assert!(whole(&with_thumbnail, ImageFormat::Jpeg));
        for length in [head.len(), head.len() + 300, with_thumbnail.len() - 1] {
            assert!(!whole(&with_thumbnail[..length], ImageFormat::Jpeg), "cut to {length}");
        }
    }

    #[test]
    fn an_end_marker_is_found_wherever_it_is() {
        let header = [0xff, 0xd8, 0xff, 0xff, 0xda, 0, 3, 1];
        for data in [0, 1, 4094, 4095, 4096, 65534, 65535, 65536, 65537, 131071, 131072] {
            for behind in [0, 1, 4094, 4095, 4096, 70000] {
                let file = [&header[..], &vec![0x11; data], JPEG_END, &vec![0x22; behind]].concat();
                assert!(whole(&file, ImageFormat::Jpeg), "{data} bytes before it, {behind} behind");
                let without = [&header[..], &vec![0x11; data], &vec![0x22; behind]].concat();
                assert!(!whole(&without, ImageFormat::Jpeg), "{data} and {behind} bytes without one");
            }
        }
    }
}
