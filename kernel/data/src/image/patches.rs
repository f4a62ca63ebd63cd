//! Pixels to rows of patches.

use image::RgbImage;
use rayon::prelude::*;

use super::{Grid, ImageProcessor, Pixels};

/// Normalises a picture whose sides are multiples of patch_size · merge_size and cuts it into patches.
///
/// A value becomes (value - mean/rescale_factor) / (std/rescale_factor). Rows: blocks of merge × merge patches in
/// raster order, inside a block raster order. Columns: channel, frame (a still picture is repeated
/// temporal_patch_size times), row, column. Source: transformers' `Qwen2VLImageProcessor`.
pub(crate) fn patches(processor: &ImageProcessor, image: &RgbImage) -> Pixels {
    let (size, merge) = (processor.patch_size, processor.merge_size);
    let grid = Grid { t: 1, h: image.height() as usize / size, w: image.width() as usize / size };
    let values = [0, 1, 2].map(|channel| normalised(processor, channel));
    let pixels = image.as_raw().as_chunks::<3>().0;
    let width = image.width() as usize;
    let square = size * size;
    let frames = processor.temporal_patch_size;
    let row = 3 * frames * square;

    let mut patches = vec![0.0; grid.patches() * row];
    patches.par_chunks_mut(row).enumerate().for_each(|(index, patch)| {
        let (block, inside) = (index / (merge * merge), index % (merge * merge));
        let blocks_wide = grid.w / merge;
        let top = (block / blocks_wide * merge + inside / merge) * size;
        let left = (block % blocks_wide * merge + inside % merge) * size;
        for (channel, planes) in patch.chunks_exact_mut(frames * square).enumerate() {
            let (first, repeats) = planes.split_at_mut(square);
            for (y, line) in first.chunks_exact_mut(size).enumerate() {
                let start = (top + y) * width + left;
                for (value, pixel) in line.iter_mut().zip(&pixels[start..]) {
                    *value = values[channel][usize::from(pixel[channel])];
                }
            }
            for repeat in repeats.chunks_exact_mut(square) {
                repeat.copy_from_slice(first);
            }
        }
    });
    Pixels { patches, grid }
}

/// What each of the 256 values of a channel becomes. transformers folds rescaling into mean and std and computes
/// in f32; so does this.
fn normalised(processor: &ImageProcessor, channel: usize) -> [f32; 256] {
    let whole = (1.0 / processor.rescale_factor) as f32;
    let mean = processor.image_mean[channel] as f32 * whole;
    let std = processor.image_std[channel] as f32 * whole;
    std::array::from_fn(|value| (value as f32 - mean) / std)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::image::processor::tests::{hub, qwen3_vl};

    #[test]
    fn blocks_of_merged_patches_come_one_after_the_other() {
        let image = RgbImage::from_fn(56, 56, |x, y| match x >= 28 && y < 28 {
            true => Rgb([255, 255, 255]),
            false => Rgb([0, 0, 0]),
        });
        let pixels = patches(&hub(), &image);
        assert_eq!(pixels.grid, Grid { t: 1, h: 4, w: 4 });
        let first: Vec<f32> = pixels.patches.chunks_exact(1176).map(|row| row[0]).collect();
        for (row, value) in first.iter().enumerate() {
            let expected = if (4..8).contains(&row) { 1.9303 } else { -1.7923 };
            assert!((value - expected).abs() < 1e-4, "row {row}: {value}");
        }
    }

    #[test]
    fn columns_are_channel_frame_row_column() {
        let image = RgbImage::from_fn(28, 28, |x, y| Rgb([x as u8, y as u8, 7]));
        let processor = ImageProcessor { rescale_factor: 1.0, image_mean: [0.0; 3], image_std: [1.0; 3], ..hub() };
        let pixels = patches(&processor, &image);
        // Patch 1 is the upper right one.
        let at = |patch: usize, channel: usize, frame: usize, y: usize, x: usize| {
            pixels.patches[patch * 1176 + ((channel * 2 + frame) * 14 + y) * 14 + x]
        };
        assert_eq!(at(1, 0, 0, 3, 5), 19.0);
        assert_eq!(at(1, 0, 1, 3, 5), 19.0);
        assert_eq!(at(1, 1, 1, 3, 5), 3.0);
        assert_eq!(at(2, 1, 0, 3, 5), 17.0);
        assert_eq!(at(3, 2, 1, 13, 13), 7.0);
    }

    /// transformers' values of the same picture.
    #[test]
    fn patches_of_qwen3_vl_have_16_pixels_between_minus_one_and_one() {
        let image = RgbImage::from_fn(256, 256, |x, y| Rgb([x as u8, y as u8, (x * y % 256) as u8]));
        let pixels = patches(&qwen3_vl(), &image);
        assert_eq!((pixels.grid, pixels.patches.len()), (Grid { t: 1, h: 16, w: 16 }, 256 * 1536));
        let row = |row: usize| &pixels.patches[row * 1536..];
        assert_eq!(row(1)[..3], [-0.874_509_8, -0.866_666_7, -0.858_823_54]);
        assert_eq!(row(5)[2 * 256 + 17], -0.99215686);
    }
}
