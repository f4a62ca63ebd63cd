//! The image processor of a model folder: from a picture file to the model's input.

use std::path::Path;

use image::RgbImage;

use super::file::{MOST_PIXELS, dimensions, read_picture};
use super::patches::patches;
use super::resize::{Resample, resize};
use super::{Grid, ImageError, ImageRef, PictureError, PictureFault, Pixels};
use crate::Sizes;

/// LLaMA-Factory's default of `image_max_pixels`.
pub const DEFAULT_IMAGE_MAX_PIXELS: usize = 768 * 768;
/// LLaMA-Factory's default of `image_min_pixels`.
pub const DEFAULT_IMAGE_MIN_PIXELS: usize = 32 * 32;
/// Shortest side that LLaMA-Factory hands to the processor of a Qwen model, whatever the size of its patches.
const SHORTEST_SIDE: u32 = 28;

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

/// LLaMA-Factory's resizes, and the final size by transformers' `smart_resize`.
struct Resizes {
    before: Vec<((u32, u32), Resample)>,
    last: (u32, u32),
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

    /// Number of tokens of an image: t·h·w / merge_size².
    pub fn tokens(&self, grid: Grid) -> usize {
        grid.patches() / (self.merge_size * self.merge_size)
    }

    /// The grid of an image file, from its header alone.
    ///
    /// # Errors
    /// A file that is missing, cut off, or no picture.
    pub fn look(&self, path: &Path) -> Result<ImageRef, PictureError> {
        let size = dimensions(path)?;
        let steps = self.resizes(size, false).map_err(|fault| fault.of(path))?;
        let (width, height) = steps.last;
        Ok(ImageRef { path: path.to_owned(), size, grid: self.grid(width, height) })
    }

    /// The sizes of an image in the file and before the model.
    pub fn sizes(&self, image: &ImageRef) -> Sizes {
        let [width, height] = [image.grid.w, image.grid.h].map(|patches| (patches * self.patch_size) as u32);
        Sizes { file: image.size, resized: (width, height) }
    }

    /// Reads an image as the model takes it.
    ///
    /// # Errors
    /// A file that cannot be decoded, or whose grid is no longer the one that it was encoded with.
    pub fn load(&self, image: &ImageRef) -> Result<Pixels, ImageError> {
        let pixels = patches(self, &self.resized(&image.path)?);
        match pixels.grid == image.grid {
            true => Ok(pixels),
            false => Err(PictureFault::Changed { before: image.grid, now: pixels.grid }.of(&image.path).into()),
        }
    }

    /// The image as the model sees it: upright, on white, in its final size.
    ///
    /// # Errors
    /// A file that cannot be decoded.
    pub fn resized(&self, path: &Path) -> Result<RgbImage, PictureError> {
        let picture = read_picture(path)?;
        let mut image = picture.rgb;
        let steps = self.resizes(image.dimensions(), picture.indexed).map_err(|fault| fault.of(path))?;
        for ((width, height), resample) in steps.before {
            image = resize(&image, width, height, resample);
        }
        let (width, height) = steps.last;
        Ok(resize(&image, width, height, Resample::Torch))
    }

    /// All resizes of an image.
    ///
    /// # Errors
    /// It would be enlarged to more pixels than any picture may have.
    fn resizes(&self, size: (u32, u32), indexed: bool) -> Result<Resizes, PictureFault> {
        let before = self.pre_resizes(size, indexed);
        let last = self.smart_resize(before.last().map_or(size, |(size, _)| *size));
        match before.iter().map(|(size, _)| *size).chain([last]).find(|size| area(*size) > MOST_PIXELS) {
            Some((width, height)) => Err(PictureFault::EnlargedTooMuch { width, height }),
            None => Ok(Resizes { before, last }),
        }
    }

    /// LLaMA-Factory's steps before the image processor: within the pixel limits (while a picture with a palette
    /// still has it), no side below 28, no side 200 times the other.
    fn pre_resizes(&self, mut size: (u32, u32), indexed: bool) -> Vec<((u32, u32), Resample)> {
        let mut steps = Vec::new();
        let mut to = |next: (u32, u32), resample| {
            steps.push((next, resample));
            next
        };
        let limits = if indexed { Resample::Nearest } else { Resample::Pillow };
        if area(size) > self.image_max_pixels as u64 {
            size = to(scaled(size, self.image_max_pixels), limits);
        }
        if area(size) < self.image_min_pixels as u64 {
            size = to(scaled(size, self.image_min_pixels), limits);
        }
        if size.0.min(size.1) < SHORTEST_SIDE {
            size = to((size.0.max(SHORTEST_SIDE), size.1.max(SHORTEST_SIDE)), Resample::Pillow);
        }
        if size.0 > size.1.saturating_mul(200) {
            size = to((size.1 * 180, size.1), Resample::Pillow);
        }
        if size.1 > size.0.saturating_mul(200) {
            to((size.0, size.0 * 180), Resample::Pillow);
        }
        steps
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

#[cfg(test)]
pub(super) mod tests {
    use safetensors::SafeTensors;

    use super::*;
    use crate::fixtures;

    /// The numbers that the published Qwen2-VL and Qwen2.5-VL models carry.
    pub(in crate::image) fn hub() -> ImageProcessor {
        ImageProcessor {
            patch_size: 14,
            temporal_patch_size: 2,
            merge_size: 2,
            min_pixels: 3136,
            max_pixels: 12845056,
            rescale_factor: 1.0 / 255.0,
            image_mean: [0.48145466, 0.4578275, 0.40821073],
            image_std: [0.26862954, 0.26130258, 0.27577711],
            image_max_pixels: DEFAULT_IMAGE_MAX_PIXELS,
            image_min_pixels: DEFAULT_IMAGE_MIN_PIXELS,
        }
    }

    /// Those of Qwen3-VL.
    pub(in crate::image) fn qwen3_vl() -> ImageProcessor {
        ImageProcessor {
            patch_size: 16,
            min_pixels: 65536,
            max_pixels: 16777216,
            image_mean: [0.5; 3],
            image_std: [0.5; 3],
            ..hub()
        }
    }

    type Processor = fn() -> ImageProcessor;

    /// The folders of the fixtures, and the numbers with which they were made.
    const FAMILIES: [(&str, Processor); 2] = [("images", hub), ("images-qwen3-vl", qwen3_vl)];

    fn pre_size(processor: &ImageProcessor, size: (u32, u32)) -> (u32, u32) {
        processor.pre_resizes(size, false).last().map_or(size, |(size, _)| *size)
    }

    #[test]
    fn nothing_is_enlarged_without_end() {
        let path = fixtures::path("pictures/wide.png");
        for pixels in [1_000_000_000, 1_000_000_000_000, 9_000_000_000_000_000_000] {
            let by_settings = hub().with_limits(pixels, pixels).unwrap();
            let by_folder = ImageProcessor { min_pixels: pixels, max_pixels: pixels, ..hub() };
            for processor in [by_settings, by_folder] {
                let expected = |fault| matches!(fault, PictureFault::EnlargedTooMuch { .. });
                assert!(expected(processor.look(&path).unwrap_err().fault), "{pixels}");
                assert!(expected(processor.resized(&path).unwrap_err().fault), "{pixels}");
            }
        }
        assert!(hub().with_limits(usize::MAX, 1).unwrap().look(&path).is_ok());
    }

    fn final_size(processor: &ImageProcessor, width: u32, height: u32) -> ((u32, u32), usize) {
        let size = processor.resizes((width, height), false).unwrap().last;
        (size, processor.tokens(processor.grid(size.0, size.1)))
    }

    /// What LLaMA-Factory with transformers makes of these sizes.
    #[test]
    fn sizes_and_tokens_are_llamafactorys() {
        let default = hub();
        let examples = hub().with_limits(262144, DEFAULT_IMAGE_MIN_PIXELS).unwrap();
        for ((width, height), by_default, by_examples) in [
            ((32, 32), ((56, 56), 4), None),
            ((64, 64), ((56, 56), 4), None),
            ((300, 300), ((308, 308), 121), None),
            ((475, 475), ((476, 476), 289), None),
            ((640, 480), ((644, 476), 391), Some(((588, 448), 336))),
            ((768, 768), ((756, 756), 729), Some(((504, 504), 324))),
            ((1024, 768), ((896, 672), 768), Some(((588, 448), 336))),
            ((4000, 3000), ((896, 672), 768), Some(((588, 448), 336))),
            ((1920, 1080), ((1036, 588), 777), Some(((672, 392), 336))),
            ((10, 500), ((28, 504), 18), None),
            ((5, 2000), ((28, 1988), 71), None),
            ((20, 20), ((56, 56), 4), None),
        ] {
            assert_eq!(final_size(&default, width, height), by_default, "{width}x{height}");
            if let Some(expected) = by_examples {
                assert_eq!(final_size(&examples, width, height), expected, "{width}x{height}");
            }
        }
        assert_eq!(pre_size(&default, (4000, 3000)), (886, 665));
        assert_eq!(pre_size(&default, (1920, 1080)), (1024, 576));
        assert_eq!(pre_size(&default, (20, 20)), (32, 32));
        assert_eq!(pre_size(&default, (640, 480)), (640, 480));
    }

    /// The same for Qwen3-VL, whose tokens are 32 pixels wide, which LLaMA-Factory's own resizes do not know.
    #[test]
    fn sizes_and_tokens_of_qwen3_vl_are_llamafactorys() {
        let default = qwen3_vl();
        let examples = qwen3_vl().with_limits(262144, DEFAULT_IMAGE_MIN_PIXELS).unwrap();
        for ((width, height), by_default, by_examples) in [
            ((20, 20), ((256, 256), 64), ((256, 256), 64)),
            ((64, 64), ((256, 256), 64), ((256, 256), 64)),
            ((48, 80), ((224, 352), 77), ((224, 352), 77)),
            ((272, 240), ((256, 256), 64), ((256, 256), 64)),
            ((300, 300), ((288, 288), 81), ((288, 288), 81)),
            ((475, 475), ((480, 480), 225), ((480, 480), 225)),
            ((640, 480), ((640, 480), 300), ((576, 448), 252)),
            ((768, 768), ((768, 768), 576), ((512, 512), 256)),
            ((1024, 768), ((896, 672), 588), ((576, 448), 252)),
            ((4000, 3000), ((896, 672), 588), ((576, 448), 252)),
            ((1920, 1080), ((1024, 576), 576), ((672, 384), 252)),
            ((10, 500), ((64, 1088), 68), ((64, 1088), 68)),
            ((28, 500), ((64, 1088), 68), ((64, 1088), 68)),
            ((30, 400), ((96, 960), 90), ((96, 960), 90)),
            ((5, 2000), ((32, 2176), 68), ((32, 2176), 68)),
            ((2000, 5), ((2176, 32), 68), ((2176, 32), 68)),
        ] {
            assert_eq!(final_size(&default, width, height), by_default, "{width}x{height}");
            assert_eq!(final_size(&examples, width, height), by_examples, "{width}x{height}");
        }
        assert_eq!(pre_size(&default, (10, 500)), (28, 500));
    }

    /// The same, of more sizes, measured.
    #[test]
    fn sizes_are_the_references() {
        let pair = |value: &serde_json::Value| {
            let number = |index: usize| value[index].as_u64().unwrap() as u32;
            (number(0), number(1))
        };
        for (folder, of_family) in FAMILIES {
            for case in fixtures::json(&format!("{folder}/sizes.json"))["sizes"].as_array().unwrap() {
                let max_pixels = case["image_max_pixels"].as_u64().unwrap() as usize;
                let processor = of_family().with_limits(max_pixels, DEFAULT_IMAGE_MIN_PIXELS).unwrap();
                let (width, height) = pair(&case["image"]);
                assert_eq!(pre_size(&processor, (width, height)), pair(&case["pre_resized"]), "{case}");
                let (size, tokens) = final_size(&processor, width, height);
                assert_eq!(size, pair(&case["resized"]), "{case}");
                assert_eq!(tokens as u64, case["image_tokens"].as_u64().unwrap(), "{case}");
            }
        }
    }

    /// From the file to the model's input, every step included.
    #[test]
    fn pictures_come_out_as_the_references() {
        let [with_pixels, _] = FAMILIES.map(|(folder, of_family)| compare_pictures(folder, of_family));
        assert!(with_pixels >= 8);
    }

    /// Returns how many were compared up to the model's input.
    fn compare_pictures(folder: &str, of_family: fn() -> ImageProcessor) -> usize {
        let mut with_pixels = 0;
        for case in fixtures::json(&format!("{folder}/cases.json"))["cases"].as_array().unwrap() {
            let bytes = std::fs::read(fixtures::path(folder).join(case["file"].as_str().unwrap())).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let name = case["image"].as_str().unwrap();
            let path = fixtures::path("pictures").join(name);
            let max_pixels = case["image_max_pixels"].as_u64().unwrap() as usize;
            let processor = of_family().with_limits(max_pixels, DEFAULT_IMAGE_MIN_PIXELS).unwrap();

            let image = processor.resized(&path).unwrap();
            let stage = ["resized", "pre_resized", "source"].iter().find_map(|stage| file.tensor(stage).ok());
            let expected = stage.unwrap();
            assert_eq!([image.height() as usize, image.width() as usize, 3], expected.shape(), "{name}");
            assert!(image.as_raw() == expected.data(), "{name}: other pixels");

            if let Ok(tensor) = file.tensor("pixel_values") {
                let image = processor.look(&path).unwrap();
                let found = processor.load(&image).unwrap().patches;
                let expected = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                assert!(found.into_iter().eq(expected), "{name}: other pixel_values");
                with_pixels += 1;
            }
        }
        with_pixels
    }

    #[test]
    fn halves_go_to_the_even_multiple() {
        // 70 / 28 = 2.5 and 98 / 28 = 3.5.
        assert_eq!(final_size(&hub(), 70, 98).0, (56, 112));
    }

    #[test]
    fn thin_pictures_do_not_break_anything() {
        for size in [(1, 1), (1, 60000), (60000, 1), (65535, 65535)] {
            let (size, tokens) = final_size(&hub(), size.0, size.1);
            assert!(size.0 % 28 == 0 && size.1 % 28 == 0 && tokens > 0, "{size:?}");
        }
    }

    #[test]
    fn limits_that_exclude_each_other_are_refused() {
        let error = hub().with_limits(1000, 2000).unwrap_err();
        assert!(error.to_string().contains("image_min_pixels 2000"), "{error}");
    }
}
