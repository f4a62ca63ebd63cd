//! Bicubic resizing with antialiasing, bit for bit as Pillow and torch do it on 8-bit pictures.
//!
//! Both use Keys' cubic filter with a = -0.5 (Keys 1981), stretched when shrinking, in two passes with 8-bit
//! values between: first along rows, then along columns. They differ only in how the filter's weights are
//! rounded to integers ([`Weights`]). (Pillow 13 goes along columns first where that is much cheaper, which the
//! resizes needed here, proportional or of one side, never are.)

use image::RgbImage;
use rayon::prelude::*;

/// How the filter's weights become integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weights {
    /// Pillow's `ImagingResample`: 22 bits behind the point.
    Pillow,
    /// torch's `_upsample_bicubic2d_aa` on uint8 (which torchvision, and so transformers' default image
    /// processor, calls): as many bits as let the largest weight fit an i16, at most 22.
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
pub(crate) fn resize(image: &RgbImage, width: u32, height: u32, weights: Weights) -> RgbImage {
    let mut image = image.clone();
    if width != image.width() {
        image = resize_rows(&image, width, weights);
    }
    if height != image.height() {
        image = resize_columns(&image, height, weights);
    }
    image
}

fn resize_rows(image: &RgbImage, width: u32, weights: Weights) -> RgbImage {
    let filter = Filter::new(image.width(), width, weights);
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

fn resize_columns(image: &RgbImage, height: u32, weights: Weights) -> RgbImage {
    let filter = Filter::new(image.height(), height, weights);
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
    fn new(from: u32, to: u32, weights: Weights) -> Self {
        let taps: Vec<_> = (0..to).map(|x| float_taps(from, to, x)).collect();
        let precision = match weights {
            Weights::Pillow => 22,
            Weights::Torch => {
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
