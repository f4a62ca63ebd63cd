//! `y = x Wᵀ` for a few rows of x, as in decoding: bound by reading W from memory, which happens once, straight
//! from where it is stored.

use std::array;
use std::ops::Range;

use bytemuck::Zeroable;
use rayon::prelude::*;

use crate::blocked::Dims;
use crate::output::Output;
use crate::pack::pack_x;
use crate::scratch::Scratch;
use crate::simd::{Job, Lane, MAX_STEP, Reads, Simd};
use crate::source::Source;

/// The most rows of x for which this beats packing W.
pub(crate) const MAX_ROWS: usize = 8;
/// Rows of W that are multiplied together: enough independent sums to keep the multipliers busy.
const TOGETHER: usize = 4;
/// Elements of a row that are multiplied at a time, so that `TOGETHER` rows of W stay in the L1 cache for all of x.
const CHUNK: usize = 2048;
/// Elements of W in a task: small enough to balance threads, large enough for the prefetchers.
const TASK: usize = 1 << 17;

/// `y = x Wᵀ` for at most [`MAX_ROWS`] rows. w: `[width, depth]`. `rounded` says to round x to bf16.
pub(crate) fn multiply<V, S>(simd: V, x: &[f32], w: S, y: &mut [f32], dims: Dims, rounded: bool)
where
    S: Source,
    V: Reads<S::Elem>,
{
    let Dims { rows: m, width: n, depth: k } = dims;
    let stride = k.div_ceil(V::Lane::DEPTH).next_multiple_of(V::LANES);
    let mut lanes = Scratch::new(m * stride);
    simd.run(PackRows { x, lanes: &mut lanes, k, stride, rounded });
    let (x, y): (&[V::Lane], _) = (&lanes, &Output::new(y, n));
    let rows_per_task = (TASK / k).next_multiple_of(TOGETHER).max(TOGETHER);
    let task = |t: usize| {
        let rows = t * rows_per_task..n.min((t + 1) * rows_per_task);
        simd.run(Dots { x, w, y, m, k, stride, rows });
    };
    match n.div_ceil(rows_per_task) {
        1 => task(0),
        tasks => (0..tasks).into_par_iter().for_each(task),
    }
}

/// Packs x row by row, each filled up to `stride` lanes with zeros.
struct PackRows<'a, L> {
    x: &'a [f32],
    lanes: &'a mut [L],
    k: usize,
    stride: usize,
    rounded: bool,
}

impl<V: Simd> Job<V> for PackRows<'_, V::Lane> {
    #[inline(always)]
    unsafe fn run(self) {
        for (lanes, x) in self.lanes.chunks_exact_mut(self.stride).zip(self.x.chunks_exact(self.k)) {
            pack_x(x, lanes, 1, self.rounded);
            lanes[self.k.div_ceil(V::Lane::DEPTH)..].fill(V::Lane::zeroed());
        }
    }
}

/// The products of all of x with some rows of W.
struct Dots<'a, L, S> {
    x: &'a [L],
    w: S,
    y: &'a Output<'a>,
    m: usize,
    k: usize,
    stride: usize,
    rows: Range<usize>,
}

impl<V: Reads<S::Elem>, S: Source> Job<V> for Dots<'_, V::Lane, S> {
    #[inline(always)]
    unsafe fn run(self) {
        let mut staging = [[S::Elem::zeroed(); CHUNK]; TOGETHER];
        for j in self.rows.clone().step_by(TOGETHER) {
            let mut sums = [[0.0; TOGETHER]; MAX_ROWS];
            for from in (0..self.k).step_by(CHUNK) {
                let len = CHUNK.min(self.k - from);
                let mut staging = staging.iter_mut();
                // Past the last row, that row is read again; what comes of it is dropped.
                let w: [&[S::Elem]; TOGETHER] = array::from_fn(|r| {
                    let row = (j + r).min(self.rows.end - 1);
                    let staging = staging.next().map_or(&mut [][..], |s| &mut s[..]);
                    self.w.run(row * self.k + from, len, staging)
                });
                for i in (0..self.m).step_by(V::FEW_ROWS) {
                    let height = V::FEW_ROWS.min(self.m - i);
                    let x = |i: usize| &self.x[i * self.stride + from / V::Lane::DEPTH..(i + 1) * self.stride];
                    let sums = &mut sums[i..i + height];
                    // SAFETY: the caller is within `run`.
                    unsafe {
                        match height {
                            1 => dots::<V, S::Elem, 1>(array::from_fn(|r| x(i + r)), w, sums),
                            2 => dots::<V, S::Elem, 2>(array::from_fn(|r| x(i + r)), w, sums),
                            3 => dots::<V, S::Elem, 3>(array::from_fn(|r| x(i + r)), w, sums),
                            _ => dots::<V, S::Elem, 4>(array::from_fn(|r| x(i + r)), w, sums),
                        }
                    }
                }
            }
            let columns = j..self.rows.end.min(j + TOGETHER);
            for (i, sums) in sums.iter().enumerate().take(self.m) {
                // SAFETY: tasks have disjoint rows of W, thus columns of y, and this one holds one part at a time.
                unsafe { self.y.row(i, columns.clone()) }.copy_from_slice(&sums[..columns.len()]);
            }
        }
    }
}

/// Adds the dot products of `M` rows of x and `TOGETHER` runs of W to `sums`. The runs are equally long; rows of x
/// go on with zeros to a whole vector.
///
/// # Safety
/// That of [`Simd`].
#[inline(always)]
unsafe fn dots<V, E, const M: usize>(x: [&[V::Lane]; M], w: [&[E]; TOGETHER], sums: &mut [[f32; TOGETHER]])
where
    V: Reads<E>,
    E: Zeroable + Copy,
{
    let step = V::LANES * V::Lane::DEPTH;
    let whole = w[0].len() / step;
    // By index: iterators over `totals` would keep it in memory instead of registers.
    // SAFETY: the caller is within `run`.
    unsafe {
        let mut totals = [[V::zero(); TOGETHER]; M];
        for p in 0..whole {
            let w = read_all::<V, E>(w, p * step);
            for i in 0..M {
                let x = V::load(&x[i][p * V::LANES..]);
                for r in 0..TOGETHER {
                    totals[i][r] = V::dot(totals[i][r], x, w[r]);
                }
            }
        }
        if whole * step < w[0].len() {
            let mut filled = [[E::zeroed(); MAX_STEP]; TOGETHER];
            for r in 0..TOGETHER {
                let rest = &w[r][whole * step..];
                filled[r][..rest.len()].copy_from_slice(rest);
            }
            let w = read_all::<V, E>(filled.each_ref().map(|filled| &filled[..]), 0);
            for i in 0..M {
                let x = V::load(&x[i][whole * V::LANES..]);
                for r in 0..TOGETHER {
                    totals[i][r] = V::dot(totals[i][r], x, w[r]);
                }
            }
        }
        for i in 0..M {
            for r in 0..TOGETHER {
                sums[i][r] += V::total(totals[i][r]);
            }
        }
    }
}

/// # Safety
/// That of [`Simd`].
#[inline(always)]
unsafe fn read_all<V: Reads<E>, E>(w: [&[E]; TOGETHER], from: usize) -> [V::Operand; TOGETHER] {
    // SAFETY: the caller is within `run`.
    unsafe { [V::read(&w[0][from..]), V::read(&w[1][from..]), V::read(&w[2][from..]), V::read(&w[3][from..])] }
}
