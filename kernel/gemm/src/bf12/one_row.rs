//! `y = x Wᵀ` for one row of x, as in decoding: bound by reading W, which happens once, a row of it after the other.

use std::ops::Range;

use super::{BLOCK, Bf12, avx2};
use crate::few_rows::{dot, in_tasks};
use crate::pack::pack_row;
use crate::precision::Precision;
use crate::product::{Dims, Product};
use crate::scratch::{Scratch, Staging};
use crate::simd::{Avx2, Job, Reads, Simd};
use crate::source::{Rows, Source};

/// Sums that are written together.
const TOGETHER: usize = 8;

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
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = avx2::dot(self.x, self.w.row(row), self.w.tops[row]);
        }
    }
}
