//! Decoded pixels of every kind as 8-bit RGB.

use image::{DynamicImage, ImageBuffer, Pixel, Rgb, RgbImage};

/// A picture as RGB, transparency laid on white. As Pillow does, the high byte stands for 16 bits.
pub(super) fn on_white(image: DynamicImage) -> RgbImage {
    let image = match image {
        DynamicImage::ImageLuma16(image) => DynamicImage::ImageLuma8(high_bytes(&image)),
        DynamicImage::ImageLumaA16(image) => DynamicImage::ImageLumaA8(high_bytes(&image)),
        DynamicImage::ImageRgb16(image) => DynamicImage::ImageRgb8(high_bytes(&image)),
        DynamicImage::ImageRgba16(image) => DynamicImage::ImageRgba8(high_bytes(&image)),
        image => image,
    };
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b, a] = image.get_pixel(x, y).0;
        Rgb([r, g, b].map(|value| blend(value, 255, a)))
    })
}

fn high_bytes<P, Q>(image: &ImageBuffer<P, Vec<u16>>) -> ImageBuffer<Q, Vec<u8>>
where
    P: Pixel<Subpixel = u16>,
    Q: Pixel<Subpixel = u8>,
{
    let bytes = image.as_raw().iter().map(|value| (value >> 8) as u8).collect();
    ImageBuffer::from_raw(image.width(), image.height(), bytes).expect("there are as many values as before")
}

/// (value·alpha + under·(255 - alpha)) / 255, rounded to the nearest.
fn blend(value: u8, under: u8, alpha: u8) -> u8 {
    let (value, under, alpha) = (u32::from(value), u32::from(under), u32::from(alpha));
    ((value * alpha + under * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    #[test]
    fn transparency_is_laid_on_white() {
        let mut image = RgbaImage::new(2, 1);
        image.put_pixel(0, 0, Rgba([200, 0, 0, 0]));
        image.put_pixel(1, 0, Rgba([200, 0, 100, 128]));
        let rgb = on_white(image.into());
        assert_eq!(rgb.get_pixel(0, 0).0, [255, 255, 255]);
        assert_eq!(rgb.get_pixel(1, 0).0, [227, 127, 177]);
    }
}
