//! What an answer rests on, drawn over its picture: orange where it speaks for the answer, blue where against.

use std::path::Path;

use image::Rgb;
use image::RgbImage;
use image::Rgba;
use image::RgbaImage;
use tunebook_data::ImageError;
use tunebook_data::read_picture;
use tunebook_files::replace_file;

use super::png::png;
use crate::error::Error;
use crate::error::Result;
use crate::report::PictureRegions;

/// Two colours that readers with red-green blindness can tell apart.
const FOR: [u8; 3] = [255, 110, 0];
const AGAINST: [u8; 3] = [0, 90, 255];
/// Of the strongest region; the others are as much fainter as they are weaker.
const OPACITY: f32 = 0.75;

/// The regions as a picture of a pixel each, transparent where nothing depends on them. `strongest` is the largest relevance,
/// of either sign, of all pictures that are drawn beside each other.
pub fn overlay(regions: &PictureRegions, strongest: f32) -> RgbaImage {
    RgbaImage::from_fn(regions.columns as u32, regions.rows as u32, |x, y| {
        let relevance = regions.relevance[y as usize * regions.columns + x as usize];
        let [r, g, b] = if relevance < 0.0 { AGAINST } else { FOR };
        let share = if strongest > 0.0 { (relevance.abs() / strongest).min(1.0) } else { 0.0 };
        Rgba([r, g, b, (255.0 * OPACITY * share) as u8])
    })
}

/// Writes the pictures with their regions, beside each other and as high as the first, to a PNG file.
///
/// # Errors
/// A picture cannot be read any more; the file cannot be written.
pub fn write(pictures: &[PictureRegions], path: &Path) -> Result<()> {
    let strongest = strongest(pictures);
    let height = pictures.first().map_or(1, |regions| regions.size.1);
    let drawn = pictures.iter().map(|regions| drawn(regions, strongest, height)).collect::<Result<Vec<_>>>()?;
    let mut all = RgbImage::new(drawn.iter().map(RgbImage::width).sum(), height);
    let mut left = 0;
    for picture in &drawn {
        image::imageops::replace(&mut all, picture, left, 0);
        left += i64::from(picture.width());
    }
    replace_file(path, &png(&all)?).map_err(|source| Error::Write { path: path.to_path_buf(), source })
}

/// The largest relevance, of either sign.
pub fn strongest(pictures: &[PictureRegions]) -> f32 {
    pictures.iter().flat_map(|regions| &regions.relevance).fold(0.0, |most, relevance| most.max(relevance.abs()))
}

/// A picture, of that height, under its regions.
///
/// # Errors
/// It cannot be read any more.
fn drawn(regions: &PictureRegions, strongest: f32, height: u32) -> Result<RgbImage> {
    let picture = read_picture(&regions.path).map_err(ImageError::from)?.rgb;
    let width = (u64::from(picture.width()) * u64::from(height) / u64::from(picture.height().max(1))).max(1) as u32;
    let mut picture = image::imageops::thumbnail(&picture, width, height);
    let overlay = overlay(regions, strongest);
    let cell = |at: u32, side: u32, cells: u32| (u64::from(at) * u64::from(cells) / u64::from(side)) as u32;
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let Rgba([r, g, b, a]) = *overlay.get_pixel(cell(x, width, overlay.width()), cell(y, height, overlay.height()));
        let over = |under: u8, colour: u8| {
            ((u32::from(under) * (255 - u32::from(a)) + u32::from(colour) * u32::from(a)) / 255) as u8
        };
        let Rgb([under_r, under_g, under_b]) = *pixel;
        *pixel = Rgb([over(under_r, r), over(under_g, g), over(under_b, b)]);
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_for_the_answer_is_orange_and_what_against_is_blue() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        RgbImage::from_pixel(60, 30, Rgb([200; 3])).save(&path).unwrap();
        let regions = PictureRegions { path, size: (60, 30), rows: 1, columns: 3, relevance: vec![2.0, 0.0, -1.0] };
        assert_eq!(overlay(&regions, 2.0).get_pixel(2, 0).0, [0, 90, 255, 95]);
        let file = folder.path().join("map.png");
        write(&[regions.clone(), regions], &file).unwrap();
        let drawn = image::open(&file).unwrap().into_rgb8();
        assert_eq!(drawn.dimensions(), (120, 30));
        let [left, middle, right] = [70, 90, 110].map(|x| drawn.get_pixel(x, 15).0);
        assert!(left[0] > 230 && left[2] < 60, "{left:?}");
        assert_eq!(middle, [200; 3]);
        assert!(right[2] > right[0] && right[2] > 210, "{right:?}");
    }
}
