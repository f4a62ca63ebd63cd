//! bf16 in 12 bits, without loss: a matmul that is bound by memory reads a quarter less of it. A token of an answer
//! takes as long as reading all weights takes.
//!
//! The high byte of a bf16 is its sign and seven of its exponent's eight bits. In these seven, almost all elements of a
//! row of trained weights have the row's largest value or one of the six below it, a range of 2¹⁴. So a code of four
//! bits stands for the high byte, and the low byte is kept as it is. The few elements that are smaller, and yet not
//! zero, are kept aside. That the exponents of trained weights say little is known from DFloat11 (Zhang et al. 2025,
//! arXiv 2504.11651); its codes are shorter, and of varying length.
//!
//! A byte shuffle of AVX2 looks the codes up. Other CPUs have no fast way to decode them and go on with bf16
//! ([`Bf12::pays`]). With many rows, where arithmetic counts, a training step is 3 to 6 % slower with these weights
//! than with bf16, and their memory cannot be given back to the system as that of a mapped file can.
//!
//! A few rows of x are multiplied with a row or two of W after the other (`few_rows`), in the order in which they lie in memory,
//! which is prefetched as far ahead as [`AHEAD`](crate::few_rows::AHEAD) says.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod few_rows;
#[cfg(target_arch = "x86_64")]
mod tiles;

use std::ops::Range;

use bytemuck::Zeroable;
use bytemuck::allocation::zeroed_vec;
use half::bf16;
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use avx2::Bf12Element;
#[cfg(target_arch = "x86_64")]
pub(crate) use few_rows::multiply as multiply_few_rows;
#[cfg(target_arch = "x86_64")]
pub(crate) use tiles::RowsOfBlocks;

#[cfg(not(target_arch = "x86_64"))]
use crate::decoding::Decoded as Bf12Element;
use crate::decoding::{Decode, Decoded};
#[cfg(target_arch = "x86_64")]
use crate::simd::Avx2;
use crate::simd::{Job, Portable, Simd};

/// Elements of a block.
const BLOCK: usize = 64;
/// The code, without its sign, of elements whose high byte is zero; those below it count down from the row's top.
const ZERO: u8 = 7;
/// One exception among so many elements is too many: a matrix that has more is not packed.
const ENOUGH: usize = 64;

/// A matrix of bf16 in 12 bits an element, see [the module](self).
#[derive(Debug)]
pub struct Bf12 {
    cols: usize,
    /// Each row's, one after the other; the last of a row is filled up with zeros.
    blocks: Vec<Block>,
    /// The largest high byte of each row, without the sign.
    tops: Vec<u8>,
    /// By row and column.
    exceptions: Vec<Exception>,
    /// Where the exceptions of each row end.
    ends: Vec<u32>,
}

/// 64 elements of a row. Element i of a half lies at [`place`] of it, which is what vector instructions find in order
/// when they join bytes to elements.
#[derive(Clone, Copy, Debug, Zeroable)]
#[repr(C, align(32))]
struct Block {
    low: [u8; BLOCK],
    /// Those of the first half in the low halves of the bytes.
    codes: [u8; BLOCK / 2],
}

/// An element that has no code; in its block it is zero.
#[derive(Clone, Copy, Debug)]
struct Exception {
    column: u32,
    value: bf16,
}

impl Bf12 {
    /// Packs rows of `cols` elements; nothing if too many of them would be exceptions, as where a weight is not finite.
    pub fn new(w: &[bf16], cols: usize) -> Option<Self> {
        let (rows, in_a_row) = (w.len() / cols.max(1), cols.div_ceil(BLOCK));
        assert_eq!(w.len(), rows * cols, "{} elements in rows of {cols}", w.len());
        // Not `vec!`, which would have one thread write zeros first.
        let mut blocks: Vec<Block> = zeroed_vec(rows * in_a_row);
        let mut tops = vec![0; rows];
        let packed = blocks.par_chunks_mut(in_a_row.max(1)).zip(&mut tops).zip(w.par_chunks(cols.max(1)));
        let found: Vec<Vec<Exception>> = packed
            .map(|((blocks, top), row)| {
                let mut exceptions = Vec::new();
                with_vectors(PackRow { row, blocks, top, exceptions: &mut exceptions });
                exceptions
            })
            .collect();
        let mut end = 0;
        let ends = found.iter().map(|row| {
            end += row.len() as u32;
            end
        });
        let ends = ends.collect();
        let exceptions: Vec<_> = found.into_iter().flatten().collect();
        (exceptions.len() <= w.len() / ENOUGH).then_some(Self { cols, blocks, tops, exceptions, ends })
    }

    /// Whether matmuls of a few rows of x gain by it on this CPU.
    pub fn pays() -> bool {
        #[cfg(target_arch = "x86_64")]
        return Avx2::detect().is_some();
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.tops.len() * self.cols
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it takes in memory, in bytes.
    pub fn size(&self) -> usize {
        size_of_val(&self.blocks[..])
            + size_of_val(&self.tops[..])
            + size_of_val(&self.exceptions[..])
            + size_of_val(&self.ends[..])
    }

    /// Reads the elements from `start`, counted over all rows, into `out`.
    ///
    /// # Panics
    /// If they are not all there.
    pub fn read(&self, start: usize, out: &mut [f32]) {
        let (mut row, mut column, mut out) = (start / self.cols.max(1), start % self.cols.max(1), out);
        while !out.is_empty() {
            let (now, later) = out.split_at_mut(out.len().min(self.cols - column));
            self.decode(row, column..column + now.len(), now);
            (row, column, out) = (row + 1, 0, later);
        }
    }

    fn decode<E: Bf12Element>(&self, row: usize, columns: Range<usize>, out: &mut [E]) {
        let (top, blocks) = (self.tops[row], self.row(row));
        let mut out_of_block = &mut *out;
        let mut column = columns.start;
        while column < columns.end {
            let (block, within) = (&blocks[column / BLOCK], column % BLOCK);
            let (now, later) = out_of_block.split_at_mut((columns.end - column).min(BLOCK - within));
            match <&mut [E; BLOCK]>::try_from(&mut *now) {
                Ok(whole) => block.decode(top, whole),
                Err(_) => {
                    let mut whole = [E::zeroed(); BLOCK];
                    block.decode(top, &mut whole);
                    now.copy_from_slice(&whole[within..within + now.len()]);
                }
            }
            (column, out_of_block) = (column + now.len(), later);
        }
        for exception in self.exceptions(row) {
            let column = exception.column as usize;
            if columns.contains(&column) {
                out[column - columns.start] = E::rounded(exception.value.to_f32());
            }
        }
    }

    #[inline(always)]
    fn row(&self, row: usize) -> &[Block] {
        let in_a_row = self.cols.div_ceil(BLOCK);
        &self.blocks[row * in_a_row..(row + 1) * in_a_row]
    }

    #[inline(always)]
    fn exceptions(&self, row: usize) -> &[Exception] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.exceptions[start as usize..self.ends[row] as usize]
    }
}

impl Block {
    #[inline(always)]
    fn decode<E: Bf12Element>(&self, top: u8, out: &mut [E; BLOCK]) {
        #[cfg(target_arch = "x86_64")]
        if Avx2::detect().is_some() {
            // SAFETY: this CPU has what the function is compiled for.
            return unsafe { E::decode_avx2(self, top, out) };
        }
        self.decode_portable(top, out);
    }

    fn decode_portable<E: Decoded>(&self, top: u8, out: &mut [E; BLOCK]) {
        for (i, out) in out.iter_mut().enumerate() {
            let place = place(i % 32);
            let code = self.codes[place] >> (i / 32 * 4) & 15;
            // As `avx2::table` has it.
            let high = if code & 7 == ZERO { 0 } else { top.saturating_sub(code & 7) } | code >> 3 << 7;
            let low = self.low[i / 32 * 32 + place];
            *out = E::rounded(bf16::from_bits(u16::from_le_bytes([low, high])).to_f32());
        }
    }
}

/// Where element i of 32 lies: vector instructions interleave the halves of 16 bytes, then of 8 elements, and so undo
/// it.
#[inline(always)]
const fn place(i: usize) -> usize {
    i / 4 % 2 * 16 + i / 8 * 4 + i % 4
}

/// Packs one row; it is compiled for the vectors that the CPU has.
struct PackRow<'a> {
    row: &'a [bf16],
    blocks: &'a mut [Block],
    top: &'a mut u8,
    exceptions: &'a mut Vec<Exception>,
}

fn with_vectors(job: PackRow) {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = Avx2::detect() {
        return avx2.run(job);
    }
    Portable.run(job);
}

impl<V> Job<V> for PackRow<'_> {
    #[inline(always)]
    unsafe fn run(self) {
        let high = |w: bf16| (w.to_bits() >> 8 & 127) as u8;
        let top = self.row.iter().fold(0, |top, &w| top.max(high(w)));
        *self.top = top;
        for (b, (block, row)) in self.blocks.iter_mut().zip(self.row.chunks(BLOCK)).enumerate() {
            let mut w = [bf16::ZERO; BLOCK];
            w[..row.len()].copy_from_slice(row);
            // Loops over bytes, one thing at a time, so that they become vector instructions.
            let (mut high, mut low) = ([0; BLOCK], [0; BLOCK]);
            for i in 0..BLOCK {
                [low[i], high[i]] = w[i].to_bits().to_le_bytes();
            }
            let (mut codes, mut without_code) = ([0; BLOCK], [false; BLOCK]);
            for i in 0..BLOCK {
                let below = top.wrapping_sub(high[i] & 127);
                codes[i] = below.min(ZERO) | high[i] >> 7 << 3;
                without_code[i] = (below >= ZERO) & (high[i] & 127 != 0);
                low[i] = if without_code[i] { 0 } else { low[i] };
            }
            let mut pairs = [0; BLOCK / 2];
            for i in 0..BLOCK / 2 {
                pairs[i] = codes[i] | codes[BLOCK / 2 + i] << 4;
            }
            // Groups of four stay together in their places.
            for i in (0..BLOCK / 2).step_by(4) {
                let place = place(i);
                block.codes[place..place + 4].copy_from_slice(&pairs[i..i + 4]);
                for half in [0, BLOCK / 2] {
                    block.low[half + place..][..4].copy_from_slice(&low[half + i..][..4]);
                }
            }
            if without_code.iter().fold(false, |any, &one| any | one) {
                let exceptions = (0..row.len()).filter(|&i| without_code[i]);
                let at = |i: usize| Exception { column: (b * BLOCK + i) as u32, value: row[i] };
                self.exceptions.extend(exceptions.map(at));
            }
        }
    }
}

impl<E: Bf12Element> Decode<E> for &Bf12 {
    #[inline(always)]
    fn decode_run(self, _cols: usize, row: usize, columns: Range<usize>, out: &mut [E]) {
        self.decode(row, columns, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::random;

    fn check(w: &[bf16], cols: usize) -> Bf12 {
        let packed = Bf12::new(w, cols).unwrap();
        let mut found = vec![0.0; w.len()];
        packed.read(0, &mut found);
        let same = |a: &f32, b: &bf16| a.to_bits() == b.to_f32().to_bits();
        assert!(found.iter().zip(w).all(|(a, b)| same(a, b)), "rows of {cols}");
        for (start, len) in [(1, 5), (cols - 1, cols), (63, 66), (w.len() - 3, 3)] {
            let len = len.min(w.len() - start);
            let mut found = vec![0.0; len];
            packed.read(start, &mut found);
            assert!(found.iter().zip(&w[start..]).all(|(a, b)| same(a, b)), "rows of {cols} from {start}");
        }
        for row in 0..w.len() / cols {
            for (block, w) in packed.row(row).iter().zip(w[row * cols..(row + 1) * cols].chunks(BLOCK)) {
                let (mut portable, mut vectors) = ([0f32; BLOCK], [bf16::ZERO; BLOCK]);
                block.decode_portable(packed.tops[row], &mut portable);
                block.decode(packed.tops[row], &mut vectors);
                assert_eq!(portable.map(f32::to_bits), vectors.map(|w| w.to_f32().to_bits()));
                assert!(portable[w.len()..].iter().all(|&w| w.to_bits() == 0));
            }
        }
        packed
    }

    #[test]
    fn every_element_is_read_as_it_was() {
        for (rows, cols) in [(9, 1), (5, 63), (5, 64), (3, 65), (7, 200), (2, 1024)] {
            let mut w: Vec<bf16> = random(rows * cols, 5).into_iter().map(bf16::from_f32).collect();
            // Zeros of both signs, and numbers far below the largest: exceptions.
            let last = w.len() - 1;
            w[0] = bf16::from_f32(-0.0);
            w[last / 2] = bf16::from_f32(-1e-9);
            w[last] = bf16::from_f32(3e-7);
            if rows * cols >= 2 * ENOUGH {
                let packed = check(&w, cols);
                assert!(packed.exceptions.len() >= 2, "{:?}", packed.exceptions);
            }
        }
    }

    #[test]
    fn rows_of_any_size_of_number_are_packed() {
        let values: Vec<bf16> = random(4 * 256, 6).into_iter().map(bf16::from_f32).collect();
        let sizes = [1.0, 1e-38, 2e38, 0.0];
        let w: Vec<bf16> =
            values.iter().enumerate().map(|(i, w)| bf16::from_f32(w.to_f32() * sizes[i / 256])).collect();
        check(&w, 256);
    }

    #[test]
    fn what_has_too_many_exceptions_stays_as_it_is() {
        let mut w = vec![bf16::from_f32(1e-3); 256];
        assert!(Bf12::new(&w, 256).is_some());
        w[7] = bf16::INFINITY;
        assert!(Bf12::new(&w, 256).is_none());
        assert!(Bf12::new(&[], 0).unwrap().is_empty());
    }

    #[test]
    fn normally_distributed_weights_take_twelve_bits() {
        let uniform = random(8 * 64 * 896, 7);
        let w: Vec<bf16> = uniform.chunks(8).map(|eight| bf16::from_f32(eight.iter().sum())).collect();
        let bits = 8.0 * Bf12::new(&w, 896).unwrap().size() as f64 / w.len() as f64;
        assert!((12.0..12.2).contains(&bits), "{bits}");
    }
}
