//! Dropout whose mask is a function of a seed, so that a backward pass makes it again instead of keeping it.

use std::iter;

use candle_core::{Result, Tensor};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::buffer::{borrow, matrix, new_rows, written};
use super::error::OpError;
use super::on_device::is_on_device;
use super::vector::vectorized;

const OP: &str = "dropout";

/// Zeroes each element with probability `p` and scales the others by 1 / (1 - p).
///
/// The mask is a stretch of the ChaCha8 key stream: `seed` is the key, `stream` tells apart the places and steps
/// that draw masks, and an element's position picks its word. The same three give the same mask on any machine
/// and with any number of threads. Srivastava et al. 2014 (JMLR 15), inverted as in `torch.nn.Dropout`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    pub p: f32,
    pub seed: u64,
    pub stream: u64,
}

impl Dropout {
    /// dropout(x), `[T, width]`; and of dy, its gradient. A probability outside [0, 1) is an error.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, width) = matrix(OP, "x", x)?;
        if !(0.0..1.0).contains(&self.p) {
            let problem = format!("the probability must lie in [0, 1), but is {}", self.p);
            return Err(OpError::Argument { op: OP, problem }.into());
        }
        if is_on_device(x) {
            let [mask] = new_rows(rows, width, |row, mask| {
                let [mask] = written(mask, iter::repeat([1.0]));
                self.mask(row * width, mask);
                [mask]
            })?;
            return x * mask.to_device(x.device())?;
        }
        let x = x.contiguous()?;
        let x = borrow(OP, "x", &x)?;
        let [y] = new_rows(rows, width, |row, [y]| {
            let y = y.write_copy_of_slice(&x[row * width..][..width]);
            self.mask(row * width, y);
            [y]
        })?;
        Ok(y)
    }

    /// Multiplies `values`, which start at element `first` of the whole, by the mask and 1 / (1 - p).
    fn mask(&self, first: usize, values: &mut [f32]) {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(self.stream);
        generator.set_word_pos(first as u128);
        // The probability in units of 2^-32, the distance of two words.
        let threshold = (f64::from(self.p) * 2f64.powi(32)) as u32;
        let kept = 1.0 / (1.0 - self.p);
        let mut words = [0u32; 256];
        for values in values.chunks_mut(words.len()) {
            let words = &mut words[..values.len()];
            generator.fill_bytes(bytemuck::cast_slice_mut(words));
            vectorized(
                #[inline(always)]
                || {
                    for (value, word) in values.iter_mut().zip(words.iter()) {
                        *value = if u32::from_le(*word) < threshold { 0.0 } else { *value * kept };
                    }
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::both_ways;
    use super::*;

    #[test]
    fn the_mask_depends_on_seed_stream_and_position_only() {
        let mask = |seed, stream, range: std::ops::Range<usize>| {
            let mut values = vec![1f32; range.len()];
            Dropout { p: 0.5, seed, stream }.mask(range.start, &mut values);
            values
        };
        let whole = mask(1, 2, 0..1000);
        assert_eq!(whole, mask(1, 2, 0..1000));
        assert_eq!(whole[333..777], mask(1, 2, 333..777));
        assert_ne!(whole, mask(1, 3, 0..1000));
        assert_ne!(whole, mask(2, 2, 0..1000));
    }

    #[test]
    fn the_mean_is_kept_and_the_given_share_is_dropped() {
        for p in [0.0f32, 0.05, 0.5, 0.9] {
            let n = 100_000;
            let mut values = vec![1f32; n];
            Dropout { p, seed: 7, stream: 0 }.mask(0, &mut values);
            let dropped = values.iter().filter(|&&v| v == 0.0).count() as f64 / n as f64;
            assert!((dropped - f64::from(p)).abs() < 0.005, "{dropped} dropped for p = {p}");
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n as f64;
            assert!((mean - 1.0).abs() < 0.03, "mean {mean} for p = {p}");
        }
    }

    #[test]
    fn a_matrix_is_masked_by_position_whatever_the_blocks() {
        let (rows, width) = (300, 257);
        let dropout = Dropout { p: 0.3, seed: 5, stream: 6 };
        let x = Tensor::ones((rows, width), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        let mut expected = vec![1f32; rows * width];
        dropout.mask(0, &mut expected);
        for dropped in both_ways(|| dropout.apply(&x).unwrap()) {
            assert_eq!(dropped.flatten_all().unwrap().to_vec1::<f32>().unwrap(), expected);
        }
        for p in [1.0, -0.1, f32::NAN] {
            let message = Dropout { p, ..dropout }.apply(&x).unwrap_err().to_string();
            assert!(message.contains("[0, 1)") && message.contains(&p.to_string()), "{message}");
        }
    }
}
