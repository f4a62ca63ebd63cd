//! `y = x Wᵀ` for a few rows of x, as in decoding: bound by reading W, which happens once, a row or two after the other.

use std::array;
use std::ops::Range;

use super::avx512::{LANES, LowRank, Part};
use super::{BLOCK, Bf12, Block, avx2, avx512};
use crate::few_rows::{AHEAD, MAX_ROWS, dots, in_tasks};
use crate::pack::pack_row;
use crate::precision::Precision;
use crate::product::{Dims, Product};
use crate::scratch::{Scratch, Staging};
use crate::simd::{Avx2, Job, Reads, Simd};
use crate::source::{Rounded, Rows, Source, Stored};

/// Rows of W whose sums are written together.
const TOGETHER: usize = 8;
/// Blocks of a row that are multiplied with all rows of x at a time by AVX-512: what x has for them stays in the L1 cache.
const RUN: usize = 16;
/// How many blocks ahead shorter rows are prefetched.
const BLOCKS_AHEAD: usize = AHEAD / size_of::<Block>();

/// Computes a matmul of at most [`MAX_ROWS`] rows, with AVX-512 if that is wanted and there. b: `[width, rank]`.
pub(crate) fn multiply(simd: Avx2, product: &Product<'_>, w: &Bf12, b: Stored<'_, f32>, wide: bool) {
    let Dims { rows, depth, rank, .. } = product.dims;
    let wide = wide && avx512::is_there();
    let lanes = [depth.next_multiple_of(BLOCK), rank.next_multiple_of(LANES)];
    let mut packed = Scratch::<f32>::new(rows * (lanes[0] + lanes[1]));
    let (x, h) = packed.split_at_mut(rows * lanes[0]);
    let sources = [(product.x.source, depth, lanes[0], &mut *x), (Rows::F32(product.h), rank, lanes[1], &mut *h)];
    for (i, (source, depth, lanes, to)) in sources.into_iter().enumerate().filter(|(_, (_, depth, ..))| *depth > 0) {
        let (mut row, mut staging) = (Scratch::<f32>::new(lanes), Scratch::<f32>::new(depth));
        for m in 0..rows {
            pack_row(source.wide(m, depth, &mut staging), &mut row, product.precision == Precision::Bf16);
            row[depth..].fill(0.0);
            match (wide, i) {
                (true, 0) => avx512::place(&row, m, rows, to),
                (true, _) => avx512::place_vectors(&row, m, rows, to),
                (false, _) => to[m * lanes..][..lanes].copy_from_slice(&row),
            }
        }
    }
    let few = Few { product, x, h, w };
    in_tasks(product, TOGETHER, |rows| match (wide, product.precision) {
        // SAFETY: this CPU has AVX-512, and AVX2 beside it; tasks have disjoint rows of W, thus columns of y.
        (true, _) => unsafe { few.wide(b, rows) },
        (false, Precision::F32) => simd.run(Dots { few, b, rows }),
        (false, Precision::Bf16) => simd.run(Dots { few, b: Rounded(b), rows }),
    });
}

/// The product of a few rows, packed row after row, or as [`avx512::dots`] takes them.
#[derive(Clone, Copy)]
struct Few<'a> {
    product: &'a Product<'a>,
    x: &'a [f32],
    h: &'a [f32],
    w: &'a Bf12,
}

/// Sums of some rows of x with some rows of W.
type Sums = [[f32; TOGETHER]; MAX_ROWS];

impl Few<'_> {
    /// Multiplies with some rows of W.
    ///
    /// # Safety
    /// The CPU has the features; nobody else uses these columns of y.
    #[target_feature(enable = "avx2,avx512f,avx512bw")]
    unsafe fn wide(self, b: Stored<'_, f32>, rows: Range<usize>) {
        let m = self.product.dims.rows;
        for first in rows.clone().step_by(TOGETHER) {
            let rows = first..rows.end.min(first + TOGETHER);
            let mut sums = [[0.0; TOGETHER]; MAX_ROWS];
            // Two rows of W for a vector of x, while the registers suffice.
            match m {
                1 => self.dots::<1, 2>(b, &rows, &mut sums),
                2 => self.dots::<2, 2>(b, &rows, &mut sums),
                3 => self.dots::<3, 2>(b, &rows, &mut sums),
                4 => self.dots::<4, 2>(b, &rows, &mut sums),
                5 => self.dots::<5, 1>(b, &rows, &mut sums),
                6 => self.dots::<6, 1>(b, &rows, &mut sums),
                7 => self.dots::<7, 1>(b, &rows, &mut sums),
                _ => self.dots::<8, 1>(b, &rows, &mut sums),
            }
            // SAFETY: by the caller.
            unsafe { self.finish(rows, &mut sums, |row, column| avx512::placed(self.x, row, m, column)) };
        }
    }

    /// The products of all `M` rows of x with some rows of W, `R` at a time, exceptions aside.
    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512bw")]
    fn dots<const M: usize, const R: usize>(self, b: Stored<'_, f32>, rows: &Range<usize>, sums: &mut Sums) {
        let Product { dims, precision, .. } = self.product;
        let rounded = *precision == Precision::Bf16;
        let in_a_row = dims.depth.div_ceil(BLOCK);
        let (ahead, below) = if in_a_row <= RUN { (BLOCKS_AHEAD, R) } else { (RUN, TOGETHER) };
        for first in (0..in_a_row.max(1)).step_by(RUN) {
            let blocks = RUN.min(in_a_row - first);
            let rank = if first + blocks == in_a_row { dims.rank } else { 0 };
            let h = if rank > 0 { self.h } else { &[] };
            for row in rows.clone().step_by(R) {
                // The last one stands in for a row that is not there.
                let of_w: [usize; R] = array::from_fn(|r| (row + r).min(rows.end - 1));
                let part = Part {
                    rows: of_w.map(|row| self.w.row(row)),
                    tops: of_w.map(|row| self.w.tops[row]),
                    first,
                    blocks,
                    ahead,
                    below,
                    low_rank: of_w.map(|row| LowRank { b: b.run(row, 0..rank, &mut []), rounded }),
                };
                let found = avx512::dots::<M, R>(self.x, h, part);
                for (sums, found) in sums.iter_mut().zip(found) {
                    for (r, dot) in found.into_iter().enumerate().take(rows.end - row) {
                        sums[row + r - rows.start] += dot;
                    }
                }
            }
        }
    }

    /// Adds the exceptions, and writes sums. `x` reads an element.
    ///
    /// # Safety
    /// Nobody else uses these columns of y.
    #[inline(always)]
    unsafe fn finish(self, rows: Range<usize>, sums: &mut Sums, x: impl Fn(usize, usize) -> f32) {
        let Product { dims, y, epilogue, .. } = self.product;
        for (r, row) in rows.clone().enumerate() {
            for exception in self.w.exceptions(row) {
                for (m, sums) in sums.iter_mut().enumerate().take(dims.rows) {
                    sums[r] += x(m, exception.column as usize) * exception.value.to_f32();
                }
            }
        }
        for (m, sums) in sums.iter().enumerate().take(dims.rows) {
            // SAFETY: by the caller; this one holds one part at a time.
            unsafe { epilogue.write(true, sums.iter().copied(), y.row(m, rows.clone()), rows.clone()) };
        }
    }
}

/// The products of x with some rows of W, by AVX2.
struct Dots<'a, B> {
    few: Few<'a>,
    b: B,
    rows: Range<usize>,
}

impl<B: Source> Job<Avx2> for Dots<'_, B>
where
    Avx2: Reads<B::Elem>,
{
    #[inline(always)]
    unsafe fn run(self) {
        let Few { product, x, h, w } = self.few;
        let Dims { rows: m, depth, rank, .. } = product.dims;
        let lanes = depth.next_multiple_of(BLOCK);
        let x: Vec<&[f32]> = (0..m).map(|m| &x[m * lanes..][..lanes]).collect();
        let mut staging = Staging::new::<B>(rank);
        for first in self.rows.clone().step_by(TOGETHER) {
            let rows = first..self.rows.end.min(first + TOGETHER);
            let mut sums = [[0.0; TOGETHER]; MAX_ROWS];
            for (r, row) in rows.clone().enumerate() {
                let (blocks, top) = (w.row(row), w.tops[row]);
                for (x, sums) in x.chunks(2).zip(sums.chunks_mut(2)) {
                    // SAFETY: the caller is within `run`, so that this CPU has AVX2 and FMA.
                    unsafe {
                        match x {
                            [x] => put(avx2::dots([x], blocks, top), r, sums),
                            _ => put(avx2::dots::<2>(array::from_fn(|m| x[m]), blocks, top), r, sums),
                        }
                    }
                }
                if rank > 0 {
                    let b = self.b.run(row, 0..rank, &mut staging);
                    for (h, sums) in h.chunks_exact(rank.next_multiple_of(LANES)).zip(&mut sums) {
                        // SAFETY: the caller is within `run`.
                        sums[r] += unsafe { dots::<Avx2, B::Elem, 1>([h], b)[0] };
                    }
                }
            }
            // SAFETY: tasks have disjoint rows of W, thus columns of y.
            unsafe { self.few.finish(rows, &mut sums, |row, column| x[row][column]) };
        }
    }
}

#[inline(always)]
fn put<const M: usize>(dots: [f32; M], r: usize, sums: &mut [[f32; TOGETHER]]) {
    for (sums, dot) in sums.iter_mut().zip(dots) {
        sums[r] = dot;
    }
}
