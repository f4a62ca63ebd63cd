//! Which images Pillow opens in its modes `P` and `1`: it resizes them with the nearest-neighbour filter.

use image::{ExtendedColorType, ImageFormat};

/// Whether the file that begins with `start` keeps its colours in a palette, or is black and white. A palette that only
/// counts the greys from black to white is none to Pillow. `original` is the decoder's word for the colours in the file.
pub(super) fn is_indexed(format: ImageFormat, start: &[u8], original: ExtendedColorType) -> bool {
    match format {
        // Bit depth and colour type.
        ImageFormat::Png => matches!(start.get(24..26), Some([_, 3] | [1, 0])),
        ImageFormat::Gif => !counts_greys(gif(start), 3),
        ImageFormat::Bmp => bmp(start).is_some_and(|colours| !counts_greys(colours, 4)),
        _ => original == ExtendedColorType::L1,
    }
}

/// The global colours of a GIF file; none where each of its pictures has its own.
fn gif(start: &[u8]) -> &[u8] {
    const HEADER: usize = 13;
    let flags = start.get(10).copied().unwrap_or(0);
    let length = if flags & 0x80 == 0 { 0 } else { 3 * (2 << (flags & 7)) };
    start.get(HEADER..HEADER + length).unwrap_or(&[])
}

/// The colours of a BMP file of at most 8 bits a pixel.
fn bmp(start: &[u8]) -> Option<&[u8]> {
    const FILE_HEADER: usize = 14;
    let number = |at: usize| Some(u32::from_le_bytes(*start.get(at..)?.first_chunk()?) as usize);
    let bits = u16::from_le_bytes(*start.get(28..)?.first_chunk()?);
    if bits > 8 {
        return None;
    }
    let colours = match number(46)? {
        0 => 1 << bits,
        colours => colours,
    };
    let palette = start.get(FILE_HEADER..)?.get(number(FILE_HEADER)?..)?;
    Some(palette.get(..colours.checked_mul(4)?).unwrap_or(&[]))
}

fn counts_greys(colours: &[u8], bytes: usize) -> bool {
    let grey = |(index, colour): (usize, &[u8])| colour[..3].iter().all(|value| usize::from(*value) == index);
    !colours.is_empty() && colours.chunks_exact(bytes).enumerate().all(grey)
}
