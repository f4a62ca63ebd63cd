//! `y = x Wᵀ` for one row of x, as in decoding: bound by reading W, which happens once, a row of it after the other.

use std::ops::Range;

use super::{BLOCK, Bf12, Block, avx2};
use crate::few_rows::{dot, in_tasks};
use crate::pack::pack_row;
use crate::precision::Precision;
use crate::product::{Dims, Product};
use crate::scratch::{Scratch, Staging};
use crate::simd::{Avx2, Job, Reads, Simd};
use crate::source::{Rows, Source};

/// Sums that are written together.
const TOGETHER: usize = 8;
/// The longest x that stays in the L1 cache while W passes by. Up to there, one row of W is read after the other.
const IN_L1: usize = 4096;
/// How many blocks ahead are fetched then: the prefetchers of the CPU are late by as much.
const NEXT: usize = 2;
/// Rows of W that are multiplied with a longer x together, so that it is read less often; the same number of rows ahead
/// is fetched.
const ROWS: usize = 4;

/// Computes a matmul of one row. b: `[width, rank]`.
pub(crate) fn multiply<B: Source>(simd: Avx2, product: &Product<'_>, w: &Bf12, b: B)
where
    Avx2: Reads<B::Elem>,
{
    let Dims { depth, rank, .. } = product.dims;
    let lanes = [depth.next_multiple_of(BLOCK), rank.next_multiple_of(Avx2::LANES)];
    let mut packed = Scratch::<f32>::new(lanes[0] + lanes[1]);
    let (of_x, of_h) = packed.split_at_mut(lanes[0]);
    let mut staging = Scratch::<f32>::new(depth);
    for (row, depth, lanes) in [(product.x.source, depth, of_x), (Rows::F32(product.h), rank, of_h)] {
        if depth > 0 {
            pack_row(row.wide(0, depth, &mut staging), lanes, product.precision == Precision::Bf16);
            lanes[depth..].fill(0.0);
        }
    }
    let (x, h) = packed.split_at(lanes[0]);
    in_tasks(product, TOGETHER, |rows| simd.run(Dots { product, x, h, w, b, rows }));
}

/// The products of x with some rows of W.
struct Dots<'a, B> {
    product: &'a Product<'a>,
    x: &'a [f32],
    h: &'a [f32],
    w: &'a Bf12,
    b: B,
    rows: Range<usize>,
}

impl<B: Source> Job<Avx2> for Dots<'_, B>
where
    Avx2: Reads<B::Elem>,
{
    #[inline(always)]
    unsafe fn run(self) {
        let Product { dims, y, epilogue, .. } = self.product;
        let mut staging = Staging::new::<B>(dims.rank);
        for first in self.rows.clone().step_by(TOGETHER) {
            let rows = first..self.rows.end.min(first + TOGETHER);
            let mut sums = [0.0; TOGETHER];
            // SAFETY: the caller is within `run`, so that this CPU has AVX2 and FMA.
            unsafe { self.multiply_blocks(rows.clone(), &mut sums) };
            for (sum, row) in sums.iter_mut().zip(rows.clone()) {
                for exception in self.w.exceptions(row) {
                    *sum += self.x[exception.column as usize] * exception.value.to_f32();
                }
                if dims.rank > 0 {
                    // SAFETY: the caller is within `run`.
                    *sum += unsafe { dot::<Avx2, B::Elem>(self.h, self.b.run(row, 0..dims.rank, &mut staging)) };
                }
            }
            // SAFETY: tasks have disjoint rows of W, thus columns of y, and this one holds one part at a time.
            unsafe { epilogue.write(true, sums.iter().copied(), y.row(0, rows.clone()), rows) };
        }
    }
}

impl<B> Dots<'_, B> {
    /// The products of x with rows of W, exceptions aside.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn multiply_blocks(&self, rows: Range<usize>, sums: &mut [f32; TOGETHER]) {
        if self.x.len() <= IN_L1 {
            for (sum, row) in sums.iter_mut().zip(rows) {
                [*sum] = avx2::dots::<1, 4>(self.x, [self.w.row(row)], [self.w.tops[row]], NEXT);
            }
            return;
        }
        let later = ROWS * self.x.len() / BLOCK;
        for (sums, first) in sums.as_chunks_mut::<ROWS>().0.iter_mut().zip(rows.clone().step_by(ROWS)) {
            let (mut blocks, mut tops): ([&[Block]; ROWS], _) = ([&[]; ROWS], [0; ROWS]);
            for r in 0..ROWS {
                // Past the last row, that row is read again; what comes of it is dropped.
                let row = (first + r).min(rows.end - 1);
                (blocks[r], tops[r]) = (self.w.row(row), self.w.tops[row]);
            }
            *sums = avx2::dots::<ROWS, 2>(self.x, blocks, tops, later);
        }
    }
}
