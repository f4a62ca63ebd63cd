//! The image processor of a model folder: from a picture file to the model's input.

use std::path::Path;

use image::RgbImage;

use super::file::{dimensions, read_rgb};
use super::patches::patches;
use super::resize::{Weights, resize};
use super::{Grid, ImageError, ImageRef, Pixels};

/// LLaMA-Factory's default of `image_max_pixels`.
pub const DEFAULT_IMAGE_MAX_PIXELS: usize = 768 * 768;
/// LLaMA-Factory's default of `image_min_pixels`.
pub const DEFAULT_IMAGE_MIN_PIXELS: usize = 32 * 32;

/// LLaMA-Factory's pre-resize (`image_max_pixels`, `image_min_pixels`), then transformers' `Qwen2VLImageProcessor`
/// by the numbers of the model folder.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessor {
    pub patch_size: usize,
    pub temporal_patch_size: usize,
    /// Side of the square of patches that becomes one token.
    pub merge_size: usize,
    /// Limits of the second resize (transformers' `smart_resize`).
    pub min_pixels: usize,
    pub max_pixels: usize,
    pub rescale_factor: f64,
    pub image_mean: [f64; 3],
    pub image_std: [f64; 3],
    /// Limits of the pre-resize: settings, not part of the model folder.
    pub image_max_pixels: usize,
    pub image_min_pixels: usize,
}

impl ImageProcessor {
    /// The same with other limits of the pre-resize.
    ///
    /// # Errors
    /// `image_min_pixels` above `image_max_pixels`.
    pub fn with_limits(self, image_max_pixels: usize, image_min_pixels: usize) -> Result<Self, ImageError> {
        if image_min_pixels > image_max_pixels {
            return Err(ImageError::Limits { min: image_min_pixels, max: image_max_pixels });
        }
        Ok(Self { image_max_pixels, image_min_pixels, ..self })
    }

    /// How many tokens stand for a picture: t·h·w / merge_size².
    pub fn tokens(&self, grid: Grid) -> usize {
        grid.patches() / (self.merge_size * self.merge_size)
    }

    /// The grid that a picture file will have, from its header alone.
    ///
    /// # Errors
    /// A file that is missing, cut off, or no picture.
    pub fn look(&self, path: &Path) -> Result<ImageRef, ImageError> {
        let (width, height) = dimensions(path)?;
        let sizes = self.sizes(width, height);
        let (width, height) = sizes.last().copied().map_or((width, height), |(size, _)| size);
        Ok(ImageRef { path: path.to_owned(), grid: self.grid(width, height) })
    }

    /// Reads a picture as the model takes it.
    ///
    /// # Errors
    /// A file that cannot be decoded, or whose grid is no longer the one that it was encoded with.
    pub fn load(&self, image: &ImageRef) -> Result<Pixels, ImageError> {
        let pixels = patches(self, &self.resized(&image.path)?);
        match pixels.grid == image.grid {
            true => Ok(pixels),
            false => Err(ImageError::Changed { path: image.path.clone(), before: image.grid, now: pixels.grid }),
        }
    }

    /// The picture as the model sees it: upright, on white, in its final size.
    ///
    /// # Errors
    /// A file that cannot be decoded.
    pub fn resized(&self, path: &Path) -> Result<RgbImage, ImageError> {
        let mut image = read_rgb(path)?;
        for ((width, height), weights) in self.sizes(image.width(), image.height()) {
            image = resize(&image, width, height, weights);
        }
        Ok(image)
    }

    /// The sizes that a picture takes on, one resize after the other.
    fn sizes(&self, width: u32, height: u32) -> Vec<((u32, u32), Weights)> {
        let mut sizes = Vec::new();
        let mut size = (width, height);
        for next in self.pre_sizes(size) {
            sizes.push((next, Weights::Pillow));
            size = next;
        }
        sizes.push((self.smart_resize(size), Weights::Torch));
        sizes
    }

    /// LLaMA-Factory's steps before the image processor: within the pixel limits, no side below 28, no side 200
    /// times the other.
    fn pre_sizes(&self, mut size: (u32, u32)) -> Vec<(u32, u32)> {
        let mut sizes = Vec::new();
        let mut to = |next: (u32, u32)| {
            sizes.push(next);
            next
        };
        if area(size) > self.image_max_pixels as u64 {
            size = to(scaled(size, self.image_max_pixels));
        }
        if area(size) < self.image_min_pixels as u64 {
            size = to(scaled(size, self.image_min_pixels));
        }
        let factor = self.factor() as u32;
        if size.0.min(size.1) < factor {
            size = to((size.0.max(factor), size.1.max(factor)));
        }
        if size.0 > size.1.saturating_mul(200) {
            size = to((size.1 * 180, size.1));
        }
        if size.1 > size.0.saturating_mul(200) {
            to((size.0, size.0 * 180));
        }
        sizes
    }

    /// transformers' `smart_resize`: each side to the nearest multiple (halves to the even one) of
    /// patch_size · merge_size, the area within min_pixels..=max_pixels, the shape nearly kept.
    fn smart_resize(&self, (width, height): (u32, u32)) -> (u32, u32) {
        let factor = self.factor() as f64;
        let (w, h) = (f64::from(width), f64::from(height));
        let nearest = |side: f64| (side / factor).round_ties_even() * factor;
        let (mut to_w, mut to_h) = (nearest(w), nearest(h));
        if to_w * to_h > self.max_pixels as f64 {
            let beta = (h * w / self.max_pixels as f64).sqrt();
            let below = |side: f64| ((side / beta / factor).floor() * factor).max(factor);
            (to_w, to_h) = (below(w), below(h));
        } else if to_w * to_h < self.min_pixels as f64 {
            let beta = (self.min_pixels as f64 / (h * w)).sqrt();
            let above = |side: f64| (side * beta / factor).ceil() * factor;
            (to_w, to_h) = (above(w), above(h));
        }
        (to_w as u32, to_h as u32)
    }

    fn grid(&self, width: u32, height: u32) -> Grid {
        Grid { t: 1, h: height as usize / self.patch_size, w: width as usize / self.patch_size }
    }

    /// Sides are multiples of this.
    fn factor(&self) -> usize {
        self.patch_size * self.merge_size
    }
}

fn area((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

/// Proportionally to about `pixels`, sides rounded down.
fn scaled(size: (u32, u32), pixels: usize) -> (u32, u32) {
    let factor = (pixels as f64 / area(size) as f64).sqrt();
    let side = |side: u32| ((f64::from(side) * factor) as u32).max(1);
    (side(size.0), side(size.1))
}
