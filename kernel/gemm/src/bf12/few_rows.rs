//! `y = x Wᵀ` for a few rows of x, as in decoding: bound by reading W, which happens once, a row of it after the other.

use std::array;
use std::ops::Range;

use bytemuck::cast_slice_mut;
use half::bf16;

use super::{BLOCK, Bf12, Block, avx2, pairs};
use crate::few_rows::{MAX_ROWS, dots, in_tasks};
use crate::pack::pack_row;
use crate::precision::Precision;
use crate::product::{Dims, Product};
use crate::scratch::{Scratch, Staging};
use crate::simd::{Avx2, Job, Reads, Simd};
use crate::source::{Rows, Source};

/// Rows of W whose sums are written together.
const TOGETHER: usize = 8;

/// Computes a matmul of at most [`MAX_ROWS`] rows; under bf16 in pairs of elements, if they are wanted. b: `[width, rank]`.
pub(crate) fn multiply<B: Source>(simd: Avx2, product: &Product<'_>, w: &Bf12, b: B, in_pairs: bool)
where
    Avx2: Reads<B::Elem>,
{
    let Dims { rows, depth, rank, .. } = product.dims;
    let rounded = product.precision == Precision::Bf16;
    let lanes = [depth.next_multiple_of(BLOCK), rank.next_multiple_of(Avx2::LANES)];
    let mut packed = Scratch::<f32>::new(rows * (lanes[0] + lanes[1]));
    let mut staging = Scratch::<f32>::new(depth);
    for (row, lanes_of_row) in packed.chunks_exact_mut(lanes[0] + lanes[1]).enumerate() {
        let (of_x, of_h) = lanes_of_row.split_at_mut(lanes[0]);
        for (source, depth, lanes) in [(product.x.source, depth, of_x), (Rows::F32(product.h), rank, of_h)] {
            if depth > 0 {
                pack_row(source.wide(row, depth, &mut staging), lanes, rounded);
                lanes[depth..].fill(0.0);
            }
        }
    }
    let (x, h): (Vec<&[f32]>, Vec<&[f32]>) =
        packed.chunks_exact(lanes[0] + lanes[1]).map(|row| row.split_at(lanes[0])).unzip();
    let mut placed = Scratch::<u32>::new(rows * lanes[0] / 2);
    let placed: Vec<&[bf16]> = match rounded && in_pairs && pairs::are_there() {
        true => {
            let placed: &mut [bf16] = cast_slice_mut(&mut placed);
            for (x, placed) in x.iter().zip(placed.chunks_exact_mut(lanes[0])) {
                x.iter().enumerate().for_each(|(i, x)| placed[pairs::place(i)] = bf16::from_f32(*x));
            }
            placed.chunks_exact(lanes[0]).collect()
        }
        false => Vec::new(),
    };
    in_tasks(product, TOGETHER, |rows| simd.run(Dots { product, x: &x, placed: &placed, h: &h, w, b, rows }));
}

/// The products of x with some rows of W.
struct Dots<'a, B> {
    product: &'a Product<'a>,
    x: &'a [&'a [f32]],
    /// The rows of x in the order of pairs; none where they are not multiplied in pairs.
    placed: &'a [&'a [bf16]],
    h: &'a [&'a [f32]],
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
            let mut sums = [[0.0; TOGETHER]; MAX_ROWS];
            for (r, row) in rows.clone().enumerate() {
                let (blocks, top): (&[Block], u8) = (self.w.row(row), self.w.tops[row]);
                // SAFETY: the caller is within `run`, so that this CPU has AVX2 and FMA; where there are pairs, it can multiply
                // them.
                unsafe {
                    match self.placed {
                        [] => in_f32(self.x, blocks, top, r, &mut sums),
                        placed => in_pairs(placed, blocks, top, r, &mut sums),
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

/// Sums of some rows of x with some rows of W.
type Sums = [[f32; TOGETHER]; MAX_ROWS];

/// The products of all rows of x with a row of W, exceptions aside, as the `r`-th sums.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn in_f32(x: &[&[f32]], blocks: &[Block], top: u8, r: usize, sums: &mut Sums) {
    for (x, sums) in x.chunks(2).zip(sums.chunks_mut(2)) {
        match x {
            [x] => put(avx2::dots([x], blocks, top), r, sums),
            _ => put(avx2::dots::<2>(array::from_fn(|m| x[m]), blocks, top), r, sums),
        }
    }
}

/// The same in pairs.
#[inline]
#[target_feature(enable = "avx2,avx512bw,avx512bf16")]
fn in_pairs(x: &[&[bf16]], blocks: &[Block], top: u8, r: usize, sums: &mut Sums) {
    match x.len() {
        1 => put(pairs::dots::<1>(array::from_fn(|m| x[m]), blocks, top), r, sums),
        2 => put(pairs::dots::<2>(array::from_fn(|m| x[m]), blocks, top), r, sums),
        3 => put(pairs::dots::<3>(array::from_fn(|m| x[m]), blocks, top), r, sums),
        4 => put(pairs::dots::<4>(array::from_fn(|m| x[m]), blocks, top), r, sums),
        5 => put(pairs::dots::<5>(array::from_fn(|m| x[m]), blocks, top), r, sums),
        6 => put(pairs::dots::<6>(array::from_fn(|m| x[m]), blocks, top), r, sums),
        7 => put(pairs::dots::<7>(array::from_fn(|m| x[m]), blocks, top), r, sums),
        _ => put(pairs::dots::<8>(array::from_fn(|m| x[m]), blocks, top), r, sums),
    }
}

#[inline(always)]
fn put<const M: usize>(dots: [f32; M], r: usize, sums: &mut [[f32; TOGETHER]]) {
    for (sums, dot) in sums.iter_mut().zip(dots) {
        sums[r] = dot;
    }
}
