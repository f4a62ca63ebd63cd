//! `y = x Wᵀ` for a few rows of x, as in decoding: bound by reading W, which happens once, a row of it after the other.

use std::array;
use std::ops::Range;

use super::{BLOCK, Bf12, Block, avx2};
use crate::few_rows::{MAX_ROWS, dots, in_tasks};
use crate::pack::pack_row;
use crate::precision::Precision;
use crate::product::{Dims, Product};
use crate::scratch::{Scratch, Staging};
use crate::simd::{Avx2, Job, Reads, Simd};
use crate::source::{Rows, Source};

/// Rows of W whose sums are written together.
const TOGETHER: usize = 8;

/// Computes a matmul of at most [`MAX_ROWS`] rows. b: `[width, rank]`.
pub(crate) fn multiply<B: Source>(simd: Avx2, product: &Product<'_>, w: &Bf12, b: B)
where
    Avx2: Reads<B::Elem>,
{
    let Dims { rows, depth, rank, .. } = product.dims;
    let lanes = [depth.next_multiple_of(BLOCK), rank.next_multiple_of(Avx2::LANES)];
    let mut packed = Scratch::<f32>::new(rows * (lanes[0] + lanes[1]));
    let mut staging = Scratch::<f32>::new(depth);
    for (row, lanes_of_row) in packed.chunks_exact_mut(lanes[0] + lanes[1]).enumerate() {
        let (of_x, of_h) = lanes_of_row.split_at_mut(lanes[0]);
        for (source, depth, lanes) in [(product.x.source, depth, of_x), (Rows::F32(product.h), rank, of_h)] {
            if depth > 0 {
                pack_row(source.wide(row, depth, &mut staging), lanes, product.precision == Precision::Bf16);
                lanes[depth..].fill(0.0);
            }
        }
    }
    let (x, h): (Vec<&[f32]>, Vec<&[f32]>) =
        packed.chunks_exact(lanes[0] + lanes[1]).map(|row| row.split_at(lanes[0])).unzip();
    let many_registers = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
    in_tasks(product, TOGETHER, |rows| simd.run(Dots { product, x: &x, h: &h, w, b, rows, many_registers }));
}

/// The products of x with some rows of W.
struct Dots<'a, B> {
    product: &'a Product<'a>,
    x: &'a [&'a [f32]],
    h: &'a [&'a [f32]],
    w: &'a Bf12,
    b: B,
    rows: Range<usize>,
    many_registers: bool,
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
            let mut sums = [[0.0; TOGETHER]; MAX_ROWS];
            for (r, row) in rows.clone().enumerate() {
                // SAFETY: the caller is within `run`, so that this CPU has AVX2 and FMA, and the other registers are used
                // where it has them.
                unsafe {
                    if self.many_registers {
                        self.multiply_row_avx512vl(row, r, &mut sums);
                    } else {
                        self.multiply_row(row, r, &mut sums);
                    }
                }
                let factor = if dims.rank > 0 { self.b.run(row, 0..dims.rank, &mut staging) } else { &[] };
                for (m, x) in self.x.iter().enumerate() {
                    let sum = &mut sums[m][r];
                    for exception in self.w.exceptions(row) {
                        *sum += x[exception.column as usize] * exception.value.to_f32();
                    }
                    if dims.rank > 0 {
                        // SAFETY: the caller is within `run`.
                        *sum += unsafe { dots::<Avx2, B::Elem, 1>([self.h[m]], factor)[0] };
                    }
                }
            }
            for (m, sums) in sums.iter().enumerate().take(dims.rows) {
                // SAFETY: tasks have disjoint rows of W, thus columns of y, and this one holds one part at a time.
                unsafe { epilogue.write(true, sums.iter().copied(), y.row(m, rows.clone()), rows.clone()) };
            }
        }
    }
}

impl<B> Dots<'_, B> {
    /// The products of all rows of x with a row of W, exceptions aside, as the `r`-th sums.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn multiply_row(&self, row: usize, r: usize, sums: &mut [[f32; TOGETHER]; MAX_ROWS]) {
        let (blocks, top): (&[Block], u8) = (self.w.row(row), self.w.tops[row]);
        for (x, sums) in self.x.chunks(2).zip(sums.chunks_mut(2)) {
            match x {
                [x] => put(avx2::dots([x], blocks, top), r, sums),
                _ => put(avx2::dots::<2>(array::from_fn(|m| x[m]), blocks, top), r, sums),
            }
        }
    }

    /// The same with twice the registers.
    #[inline]
    #[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
    fn multiply_row_avx512vl(&self, row: usize, r: usize, sums: &mut [[f32; TOGETHER]; MAX_ROWS]) {
        let (blocks, top): (&[Block], u8) = (self.w.row(row), self.w.tops[row]);
        for (x, sums) in self.x.chunks(4).zip(sums.chunks_mut(4)) {
            match x {
                [x] => put(avx2::dots_avx512vl([x], blocks, top), r, sums),
                [_, _] => put(avx2::dots_avx512vl::<2>(array::from_fn(|m| x[m]), blocks, top), r, sums),
                [_, _, _] => put(avx2::dots_avx512vl::<3>(array::from_fn(|m| x[m]), blocks, top), r, sums),
                _ => put(avx2::dots_avx512vl::<4>(array::from_fn(|m| x[m]), blocks, top), r, sums),
            }
        }
    }
}

#[inline(always)]
fn put<const M: usize>(dots: [f32; M], r: usize, sums: &mut [[f32; TOGETHER]]) {
    for (sums, dot) in sums.iter_mut().zip(dots) {
        sums[r] = dot;
    }
}
