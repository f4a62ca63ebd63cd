//! Weights in 4 or 8 bits, in the layouts of bitsandbytes, and how a run of them is read.
//!
//! A matmul, forward or backward, decodes a run of codes where it would have read a run of the checkpoint
//! ([`decoding`](crate::decoding)), so that a whole decoded matrix never exists. Activations stay as they are: LLM.int8
//! rounds them, too, and is not followed in that.

#[cfg(target_arch = "x86_64")]
mod avx512;

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use avx512::Nf4Element;

#[cfg(not(target_arch = "x86_64"))]
use crate::decoding::Decoded as Nf4Element;
use crate::decoding::{Decode, Decoded};

/// Elements that share an absmax in [`Nf4`].
pub const NF4_BLOCK: usize = 64;
/// Blocks whose absmax share a scale in [`Nf4`].
pub const NF4_GROUP: usize = 256;

/// The values of NF4's codes, ascending: quantiles of a normal distribution, scaled to [-1, 1], with an exact 0.
/// Dettmers et al. 2023 (arXiv 2305.14314), appendix E.
pub const NF4_VALUES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// The values of the 8-bit dynamic codes that absmax is kept in, ascending: ±10^(i - 6) (0.1 + 0.9 (j + ½) / 2^i) for
/// j below 2^i and i from 0 to 6, with 0 and 1. Dettmers 2016 (arXiv 1511.04561). bitsandbytes computes them in f32,
/// and their last digit there depends on the CPU.
pub static DYNAMIC_VALUES: [f32; 256] = dynamic_values();

/// A matrix in NF4 with double quantization. Its rows lie end to end; element i is
/// `NF4_VALUES[codes[i]] · (DYNAMIC_VALUES[absmax[i / 64]] · scales[i / 64 / 256] + offset)`, computed in f32.
#[derive(Clone, Copy, Debug)]
pub struct Nf4<'a> {
    len: usize,
    codes: &'a [u8],
    absmax: &'a [u8],
    scales: &'a [f32],
    offset: f32,
}

/// A matrix in 8 bits, as LLM.int8 (Dettmers et al. 2022, arXiv 2208.07339) keeps weights: element (i, j) is
/// `codes[i, j] · absmax[i] / 127`, computed in f32.
#[derive(Clone, Copy, Debug)]
pub struct Int8<'a> {
    codes: &'a [i8],
    absmax: &'a [f32],
    cols: usize,
}

impl<'a> Nf4<'a> {
    /// `len` elements. `codes` holds two in a byte, the first of them in the high half; `absmax` one a block, `scales`
    /// one a group.
    ///
    /// # Panics
    /// If a slice is not as long as that.
    pub fn new(len: usize, codes: &'a [u8], absmax: &'a [u8], scales: &'a [f32], offset: f32) -> Self {
        let blocks = len.div_ceil(NF4_BLOCK);
        let expected = [len.div_ceil(2), blocks, blocks.div_ceil(NF4_GROUP)];
        assert_eq!([codes.len(), absmax.len(), scales.len()], expected, "codes, absmax and scales of {len} elements");
        Self { len, codes, absmax, scales, offset }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads the elements from `start` into `out`.
    ///
    /// # Panics
    /// If they are not all there.
    pub fn read(&self, start: usize, out: &mut [f32]) {
        self.decode(start, out);
    }

    fn decode<E: Nf4Element>(&self, start: usize, out: &mut [E]) {
        assert!(start <= self.len && out.len() <= self.len - start, "{} of {} elements", start + out.len(), self.len);
        // A byte of which only the second half is wanted.
        let (half, out) = out.split_at_mut(out.len().min(start % 2));
        if let [value] = half {
            let code = self.codes[start / 2] & 15;
            *value = E::rounded(NF4_VALUES[usize::from(code)] * self.absmax(start / NF4_BLOCK));
        }
        let start = start + half.len();
        #[cfg(target_arch = "x86_64")]
        if avx512::is_there() {
            // SAFETY: this CPU has what the function is compiled for.
            return unsafe { avx512::decode(self, start, out) };
        }
        self.decode_portable(start, out);
    }

    /// `start` is even.
    fn decode_portable<E: Decoded>(&self, start: usize, out: &mut [E]) {
        for (block, part) in parts(start, out.len(), NF4_BLOCK) {
            let absmax = self.absmax(block);
            let table = NF4_VALUES.map(|value| E::rounded(value * absmax));
            let codes = &self.codes[(start + part.start) / 2..];
            for (out, code) in out[part].chunks_mut(2).zip(codes) {
                out[0] = table[usize::from(code >> 4)];
                if let Some(second) = out.get_mut(1) {
                    *second = table[usize::from(code & 15)];
                }
            }
        }
    }

    /// Two elements a byte, the first of them in the high half.
    pub fn codes(&self) -> &'a [u8] {
        self.codes
    }

    /// The scale of a block.
    #[inline(always)]
    pub fn absmax(&self, block: usize) -> f32 {
        DYNAMIC_VALUES[usize::from(self.absmax[block])] * self.scales[block / NF4_GROUP] + self.offset
    }
}

impl<'a> Int8<'a> {
    /// `absmax` holds one a row; `codes` are row-major.
    ///
    /// # Panics
    /// If the rows are not equally long.
    pub fn new(codes: &'a [i8], absmax: &'a [f32]) -> Self {
        let cols = codes.len() / absmax.len().max(1);
        assert_eq!(codes.len(), cols * absmax.len(), "{} codes in {} rows", codes.len(), absmax.len());
        Self { codes, absmax, cols }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Row by row.
    pub fn codes(&self) -> &'a [i8] {
        self.codes
    }

    /// The scale of each row.
    pub fn absmax(&self) -> &'a [f32] {
        self.absmax
    }

    /// Reads the elements from `start` into `out`.
    ///
    /// # Panics
    /// If they are not all there.
    pub fn read(&self, start: usize, out: &mut [f32]) {
        self.decode(start, out);
    }

    #[inline(always)]
    fn decode<E: Decoded>(&self, start: usize, out: &mut [E]) {
        let codes = &self.codes[start..start + out.len()];
        for (row, part) in parts(start, out.len(), self.cols) {
            let absmax = self.absmax[row];
            for (out, &code) in out[part.clone()].iter_mut().zip(&codes[part]) {
                // In this order: bitsandbytes rounds after either product.
                *out = E::rounded(f32::from(code) * absmax * (1.0 / 127.0));
            }
        }
    }
}

/// Cuts `len` elements from `start` where blocks of `block` elements end: the block of each part, and its place
/// counted from `start`.
#[inline(always)]
fn parts(start: usize, len: usize, block: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        (done < len).then(|| {
            let index = (start + done) / block;
            let part = done..len.min((index + 1) * block - start);
            done = part.end;
            (index, part)
        })
    })
}

impl<E: Nf4Element> Decode<E> for Nf4<'_> {
    #[inline(always)]
    fn decode_run(self, cols: usize, row: usize, columns: Range<usize>, out: &mut [E]) {
        self.decode(row * cols + columns.start, out);
    }
}

impl<E: Decoded> Decode<E> for Int8<'_> {
    #[inline(always)]
    fn decode_run(self, cols: usize, row: usize, columns: Range<usize>, out: &mut [E]) {
        self.decode(row * cols + columns.start, out);
    }
}

const fn dynamic_values() -> [f32; 256] {
    const POWERS: [f64; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
    const ZERO: usize = 127;
    let mut values = [0.0; 256];
    values[255] = 1.0;
    let mut i = 0;
    while i < POWERS.len() {
        let count = 1 << i;
        let mut j = 0;
        while j < count {
            let value = (POWERS[i] * (0.1 + 0.9 * (j as f64 + 0.5) / count as f64)) as f32;
            values[ZERO + count + j] = value;
            values[ZERO - count - j] = -value;
            j += 1;
        }
        i += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::tests::random;

    #[test]
    fn every_start_and_length_reads_what_the_formula_says() {
        let (len, offset) = (20_001usize, 0.03);
        let bytes =
            |count: usize, seed| random(count, seed).iter().map(|&v: &f32| (v * 1e6) as i64 as u8).collect::<Vec<_>>();
        let (codes, absmax) = (bytes(len.div_ceil(2), 1), bytes(len.div_ceil(NF4_BLOCK), 2));
        let scales = [0.01, 0.02];
        let w = Nf4::new(len, &codes, &absmax, &scales, offset);
        let value = |i: usize| {
            let code = codes[i / 2] >> (4 * (1 - i % 2)) & 15;
            let absmax = DYNAMIC_VALUES[usize::from(absmax[i / 64])] * scales[i / 64 / 256] + offset;
            NF4_VALUES[usize::from(code)] * absmax
        };
        for (start, count) in [(0, len), (0, 0), (1, 1), (63, 2), (62, 1), (7, 121), (16_383, 2), (100, 64), (64, 1999)]
        {
            let mut out = vec![0.0; count];
            w.read(start, &mut out);
            assert!((0..count).all(|i| out[i] == value(start + i)), "{count} from {start}");
            let mut out = vec![bf16::ZERO; count];
            w.decode(start, &mut out);
            assert!((0..count).all(|i| out[i] == bf16::from_f32(value(start + i))), "{count} from {start} in bf16");
            if start % 2 == 0 {
                out.fill(bf16::ZERO);
                w.decode_portable(start, &mut out);
                assert!(
                    (0..count).all(|i| out[i] == bf16::from_f32(value(start + i))),
                    "{count} from {start} portably"
                );
            }
        }
    }

    #[test]
    fn rows_of_8_bits_have_their_own_scale() {
        let w = Int8::new(&[127, -127, 0, 64, 1, -128], &[2.0, 0.5]);
        let mut out = [0.0; 5];
        w.read(1, &mut out);
        let expected = [-2.0, 0.0, 64.0 * 0.5 / 127.0, 0.5 / 127.0, -128.0 * 0.5 / 127.0];
        assert!(out.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() <= 1e-7 * b.abs()), "{out:?}");
    }

    #[test]
    fn dynamic_values_ascend_through_zero() {
        assert!(DYNAMIC_VALUES.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!([DYNAMIC_VALUES[127], DYNAMIC_VALUES[255], DYNAMIC_VALUES[254]], [0.0, 1.0, 0.992_968_74]);
        assert_eq!(DYNAMIC_VALUES[128], 0.55e-6);
    }

    #[test]
    #[should_panic(expected = "codes, absmax and scales of 65 elements")]
    fn a_part_that_is_missing_is_noticed() {
        Nf4::new(65, &[0; 33], &[0], &[1.0], 0.0);
    }
}
