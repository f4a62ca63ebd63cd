//! Resizing 8-bit pictures bit for bit as Pillow and torch do.
//!
//! Both use Keys' cubic filter with a = -0.5 (Keys 1981), stretched when shrinking so that it antialiases, in two
//! passes with 8-bit values between: first along rows, then along columns. They differ only in how the filter's
//! weights are rounded to integers. (Pillow 13 goes along columns first where that is much cheaper, which the
//! resizes needed here, proportional or of one side, never are.)

use std::borrow::Cow;

use image::RgbImage;
use rayon::prelude::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resample {
    /// The nearest pixel, which is what Pillow does to pictures with a palette.
    Nearest,
    /// Bicubic, as Pillow's `ImagingResample`: weights with 22 bits behind the point.
    Pillow,
    /// Bicubic, as torch's `_upsample_bicubic2d_aa` on uint8 (which torchvision, and so transformers' default image
    /// processor, calls): weights with as many bits as let the largest one fit an i16, at most 22.
    Torch,
}

/// The source pixels that one destination pixel is made of: `weights[i]` times pixel `first + i`.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

struct Filter {
    taps: Vec<Taps>,
    /// Bits behind the point of the weights.
    precision: u32,
}

/// Resizes to `width` × `height` (both at least 1).
pub(crate) fn resize(image: &RgbImage, width: u32, height: u32, resample: Resample) -> RgbImage {
    if resample == Resample::Nearest {
        return nearest_pixels(image, width, height);
    }
    let mut image = Cow::Borrowed(image);
    if width != image.width() {
        image = Cow::Owned(resize_rows(&image, width, resample));
    }
    if height != image.height() {
        image = Cow::Owned(resize_columns(&image, height, resample));
    }
    image.into_owned()
}

fn nearest_pixels(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let columns = nearest_positions(image.width(), width);
    let rows = nearest_positions(image.height(), height);
    RgbImage::from_fn(width, height, |x, y| *image.get_pixel(columns[x as usize], rows[y as usize]))
}

/// Where each of `to` pixels is taken from. The steps are added up, as in Pillow, with the same rounding.
fn nearest_positions(from: u32, to: u32) -> Vec<u32> {
    let step = f64::from(from) / f64::from(to);
    std::iter::successors(Some(step * 0.5), |at| Some(at + step))
        .take(to as usize)
        .map(|at| (at as u32).min(from - 1))
        .collect()
}

fn resize_rows(image: &RgbImage, width: u32, resample: Resample) -> RgbImage {
    let filter = Filter::new(image.width(), width, resample);
    let mut resized = RgbImage::new(width, image.height());
    let (source_row, row) = (image.width() as usize * 3, width as usize * 3);
    resized.par_chunks_mut(row).zip(image.par_chunks(source_row)).for_each(|(to, from)| {
        for (to, taps) in to.as_chunks_mut::<3>().0.iter_mut().zip(&filter.taps) {
            let mut sum = [filter.half(); 3];
            let from = &from.as_chunks::<3>().0[taps.first..];
            for (pixel, weight) in from.iter().zip(&taps.weights) {
                for c in 0..3 {
                    sum[c] += i32::from(pixel[c]) * weight;
                }
            }
            *to = sum.map(|sum| filter.round(sum));
        }
    });
    resized
}

fn resize_columns(image: &RgbImage, height: u32, resample: Resample) -> RgbImage {
    let filter = Filter::new(image.height(), height, resample);
    let mut resized = RgbImage::new(image.width(), height);
    let row = image.width() as usize * 3;
    resized.par_chunks_mut(row).zip(&filter.taps).for_each_init(
        || vec![0; row],
        |sums, (to, taps)| {
            sums.fill(filter.half());
            let from = image.as_raw()[taps.first * row..].chunks_exact(row);
            for (from, weight) in from.zip(&taps.weights) {
                for (sum, value) in sums.iter_mut().zip(from) {
                    *sum += i32::from(*value) * weight;
                }
            }
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = filter.round(*sum);
            }
        },
    );
    resized
}

impl Filter {
    fn new(from: u32, to: u32, resample: Resample) -> Self {
        let taps: Vec<_> = (0..to).map(|x| float_taps(from, to, x)).collect();
        let precision = match resample {
            Resample::Nearest | Resample::Pillow => 22,
            Resample::Torch => {
                let largest = taps.iter().flat_map(|(_, w)| w).copied().fold(0.0, f64::max);
                (0..22).find(|bits| (0.5 + largest * f64::from(1u32 << (bits + 1))) as i32 >= 1 << 15).unwrap_or(22)
            }
        };
        let one = f64::from(1u32 << precision);
        Self {
            taps: taps
                .into_iter()
                .map(|(first, weights)| Taps { first, weights: weights.iter().map(|w| nearest(w * one)).collect() })
                .collect(),
            precision,
        }
    }

    fn half(&self) -> i32 {
        1 << self.precision.saturating_sub(1)
    }

    fn round(&self, sum: i32) -> u8 {
        (sum >> self.precision).clamp(0, 255) as u8
    }
}

/// C's `(int)(x ± 0.5)`.
fn nearest(x: f64) -> i32 {
    (x + 0.5_f64.copysign(x)) as i32
}

/// First source pixel and normalised weights of destination pixel `x`.
fn float_taps(from: u32, to: u32, x: u32) -> (usize, Vec<f64>) {
    let scale = f64::from(from) / f64::from(to);
    let stretch = scale.max(1.0);
    let support = 2.0 * stretch;
    let center = (f64::from(x) + 0.5) * scale;
    let first = (center - support + 0.5).max(0.0) as usize;
    let end = ((center + support + 0.5) as usize).min(from as usize);

    let inverse = 1.0 / stretch;
    let mut weights: Vec<f64> = (first..end).map(|at| cubic((at as f64 - center + 0.5) * inverse)).collect();
    let total: f64 = weights.iter().sum();
    if total != 0.0 {
        weights.iter_mut().for_each(|weight| *weight /= total);
    }
    (first, weights)
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;
    use crate::fixtures;

    fn picture(file: &SafeTensors, stage: &str) -> Option<RgbImage> {
        let tensor = file.tensor(stage).ok()?;
        let (height, width) = (tensor.shape()[0] as u32, tensor.shape()[1] as u32);
        RgbImage::from_raw(width, height, tensor.data().to_vec())
    }

    /// The very bytes of Pillow's and torchvision's resizes.
    #[test]
    fn pictures_are_pillows_and_torchvisions() {
        let (mut pillow, mut torch) = (0, 0);
        for case in fixtures::json("images/cases.json")["cases"].as_array().unwrap() {
            let name = case["file"].as_str().unwrap();
            let bytes = std::fs::read(fixtures::path("images").join(name)).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let source = picture(&file, "source").unwrap();
            let pre_resized = picture(&file, "pre_resized");
            if let Some(expected) = &pre_resized
                // A side of 28 shows that LLaMA-Factory resized twice.
                && expected.width().min(expected.height()) != 28
            {
                let indexed = case["mode"] == "P" || case["mode"] == "1";
                let resample = match indexed && case["image"] != "palette_alpha.png" {
                    true => Resample::Nearest,
                    false => Resample::Pillow,
                };
                let found = resize(&source, expected.width(), expected.height(), resample);
                assert!(found == *expected, "{name}: other pixels than Pillow's");
                pillow += 1;
            }
            if let Some(expected) = picture(&file, "resized") {
                let source = pre_resized.unwrap_or(source);
                let found = resize(&source, expected.width(), expected.height(), Resample::Torch);
                assert!(found == expected, "{name}: other pixels than torchvision's");
                torch += 1;
            }
        }
        assert!(pillow >= 8 && torch >= 15, "{pillow} {torch}");
    }
}
