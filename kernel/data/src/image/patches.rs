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
    let whole = 1.0 / processor.rescale_factor;
    let mean = (processor.image_mean[channel] * whole) as f32;
    let std = (processor.image_std[channel] * whole) as f32;
    std::array::from_fn(|value| (value as f32 - mean) / std)
}
