//! `y = x Wᵀ` for a few rows of x, as in decoding: bound by reading W from memory, which happens once, straight
//! from where it is stored.
//!
//! One row of W after another is multiplied with all rows of x, so that memory is read in the order in which it lies
//! there, and prefetched [`AHEAD`]. The product of a row of x has the same bits, however many rows there are beside it.

use std::array;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use crate::pack::pack_row;
use crate::precision::Precision;
use crate::product::{Dims, Product};
use crate::scratch::{Scratch, Staging};
use crate::simd::{Job, Lane, Reads, Simd};
use crate::source::{Rows, Source};

/// The most rows of x for which this beats packing W into panels.
pub(crate) const MAX_ROWS: usize = 8;
/// The most rows of x for which this beats tiles.
#[cfg(target_arch = "x86_64")]
pub(crate) const MAX_ROWS_BESIDE_TILES: usize = 4;
/// Rows of W whose sums are written together.
const TOGETHER: usize = 4;
/// Elements of a row that are decoded at a time, where it has to be decoded.
const CHUNK: usize = 2048;
/// How many bytes ahead of the one at hand W is prefetched where it is read in the order of memory. The CPU's own
/// prefetchers keep fewer lines on the way than memory can deliver: with this distance a Xeon of the fourth generation
/// reads W 1.6 times as fast as with 200 bytes. 3 to 9 KiB are alike.
pub(crate) const AHEAD: usize = 6 << 10;
/// Elements of W in a task: small enough to balance threads, large enough for the prefetchers.
const TASK: usize = 1 << 16;

/// Computes a matmul of at most [`MAX_ROWS`] rows. w: `[width, depth]`, b: `[width, rank]`.
pub(crate) fn multiply<V, W, B>(simd: V, product: &Product<'_>, w: W, b: B)
where
    W: Source,
    B: Source,
    V: Reads<W::Elem> + Reads<B::Elem>,
{
    let Dims { rows: m, depth, rank, .. } = product.dims;
    let lanes = [depth, rank].map(|depth| depth.div_ceil(V::Lane::DEPTH).next_multiple_of(V::LANES));
    let mut packed = Scratch::new(m * (lanes[0] + lanes[1]));
    simd.run(PackRows { product, packed: &mut packed, lanes });
    let packed: &[V::Lane] = &packed;
    in_tasks(product, TOGETHER, |rows| simd.run(Dots { product, packed, lanes, w, b, rows }));
}

/// Calls `task` with the rows of W, a task's at a time, in multiples of `together`.
pub(crate) fn in_tasks(product: &Product<'_>, together: usize, task: impl Fn(Range<usize>) + Sync) {
    let Dims { width, depth, .. } = product.dims;
    let rows_per_task = (TASK / depth.max(1)).next_multiple_of(together).max(together);
    let task = |t: usize| task(t * rows_per_task..width.min((t + 1) * rows_per_task));
    match width.div_ceil(rows_per_task) {
        tasks if tasks == 1 || !product.threads => (0..tasks).for_each(task),
        tasks => (0..tasks).into_par_iter().for_each(task),
    }
}

/// Packs x row by row, each row of x, and then of h, filled up with zeros to as many lanes.
struct PackRows<'a, L> {
    product: &'a Product<'a>,
    packed: &'a mut [L],
    lanes: [usize; 2],
}

impl<V: Simd> Job<V> for PackRows<'_, V::Lane> {
    #[inline(always)]
    unsafe fn run(self) {
        let Product { x, h, dims, precision, .. } = self.product;
        let mut staging = Scratch::<f32>::new(dims.depth);
        for (row, lanes) in self.packed.chunks_exact_mut(self.lanes[0] + self.lanes[1]).enumerate() {
            let (of_x, of_h) = lanes.split_at_mut(self.lanes[0]);
            for (x, depth, lanes) in [(x.source, dims.depth, of_x), (Rows::F32(*h), dims.rank, of_h)] {
                if depth > 0 {
                    pack_row(x.wide(row, depth, &mut staging), lanes, *precision == Precision::Bf16);
                    lanes[depth.div_ceil(V::Lane::DEPTH)..].fill(V::Lane::zeroed());
                }
            }
        }
    }
}

/// The products of all of x with some rows of W.
struct Dots<'a, L, W, B> {
    product: &'a Product<'a>,
    packed: &'a [L],
    lanes: [usize; 2],
    w: W,
    b: B,
    rows: Range<usize>,
}

impl<V, W, B> Job<V> for Dots<'_, V::Lane, W, B>
where
    W: Source,
    B: Source,
    V: Reads<W::Elem> + Reads<B::Elem>,
{
    #[inline(always)]
    unsafe fn run(self) {
        let Product { dims, y, epilogue, .. } = self.product;
        let mut staging = Staging::new::<W>(CHUNK);
        let mut staging_of_b = Staging::new::<B>(CHUNK);
        for j in self.rows.clone().step_by(TOGETHER) {
            let mut sums = [[0.0; TOGETHER]; MAX_ROWS];
            // SAFETY: the caller is within `run`.
            unsafe {
                self.add_product::<V, W>(&self.w, j, dims.depth, 0, &mut staging, &mut sums);
                self.add_product::<V, B>(&self.b, j, dims.rank, self.lanes[0], &mut staging_of_b, &mut sums);
            }
            let columns = j..self.rows.end.min(j + TOGETHER);
            for (i, sums) in sums.iter().enumerate().take(dims.rows) {
                // SAFETY: tasks have disjoint rows of W, thus columns of y, and this one holds one part at a time.
                unsafe { epilogue.write(true, sums.iter().copied(), y.row(i, columns.clone()), columns.clone()) };
            }
        }
    }
}

impl<L: Lane, W, B> Dots<'_, L, W, B> {
    /// Adds the products of `TOGETHER` rows of w, `depth` long, and all rows of x or h, whose lanes begin at
    /// `first_lane`.
    ///
    /// # Safety
    /// That of [`Simd`].
    #[inline(always)]
    unsafe fn add_product<V, S>(
        &self,
        w: &S,
        row: usize,
        depth: usize,
        first_lane: usize,
        staging: &mut [S::Elem],
        sums: &mut [[f32; TOGETHER]; MAX_ROWS],
    ) where
        S: Source,
        V: Reads<S::Elem> + Simd<Lane = L>,
    {
        let stride = self.lanes[0] + self.lanes[1];
        let x = |i: usize, from: usize| &self.packed[i * stride + first_lane + from / L::DEPTH..(i + 1) * stride];
        for r in 0..TOGETHER.min(self.rows.end - row) {
            let chunk = if S::STAGED { CHUNK } else { depth.max(1) };
            for from in (0..depth).step_by(chunk) {
                let run = w.run(row + r, from..depth.min(from + chunk), staging);
                for i in (0..self.product.dims.rows).step_by(V::FEW_ROWS) {
                    let height = V::FEW_ROWS.min(self.product.dims.rows - i);
                    // SAFETY: the caller is within `run`.
                    unsafe {
                        match height {
                            1 => add_dots::<V, S::Elem, 1>(array::from_fn(|m| x(i + m, from)), run, r, &mut sums[i..]),
                            2 => add_dots::<V, S::Elem, 2>(array::from_fn(|m| x(i + m, from)), run, r, &mut sums[i..]),
                            3 => add_dots::<V, S::Elem, 3>(array::from_fn(|m| x(i + m, from)), run, r, &mut sums[i..]),
                            _ => add_dots::<V, S::Elem, 4>(array::from_fn(|m| x(i + m, from)), run, r, &mut sums[i..]),
                        }
                    }
                }
            }
        }
    }
}

/// Adds the dot products of `M` rows of x and a run of W to the `r`-th sum of each row.
///
/// # Safety
/// That of [`Simd`].
#[inline(always)]
unsafe fn add_dots<V, E, const M: usize>(x: [&[V::Lane]; M], w: &[E], r: usize, sums: &mut [[f32; TOGETHER]])
where
    V: Reads<E>,
    E: Pod,
{
    // SAFETY: the caller is within `run`.
    let dots = unsafe { dots::<V, E, M>(x, w) };
    for (sums, dot) in sums.iter_mut().zip(dots) {
        sums[r] += dot;
    }
}

/// The dot products of rows of x and a run of W, each in four sums, so that one need not wait for the other; so that the
/// product of a row has the same bits, however many rows there are. The rows of x go on with zeros to a whole vector.
///
/// # Safety
/// That of [`Simd`].
#[inline(always)]
pub(crate) unsafe fn dots<V, E, const M: usize>(x: [&[V::Lane]; M], w: &[E]) -> [f32; M]
where
    V: Reads<E>,
    E: Pod,
{
    let step = V::LANES * V::Lane::DEPTH;
    let (whole, last) = (w.len() / step, w.len() % step);
    // SAFETY: the caller is within `run`.
    unsafe {
        // By index: iterators over `totals` would keep it in memory instead of registers.
        let mut totals = [[V::zero(); 4]; M];
        for p in (0..whole / 4 * 4).step_by(4) {
            for i in 0..4 {
                prefetch(w.as_ptr().wrapping_add((p + i) * step).wrapping_byte_add(AHEAD));
                let w = V::read(&w[(p + i) * step..]);
                for m in 0..M {
                    totals[m][i] = V::dot(totals[m][i], V::load(&x[m][(p + i) * V::LANES..]), w);
                }
            }
        }
        for p in whole / 4 * 4..whole {
            let w = V::read(&w[p * step..]);
            for m in 0..M {
                totals[m][0] = V::dot(totals[m][0], V::load(&x[m][p * V::LANES..]), w);
            }
        }
        if last > 0 {
            let w = V::read_fewer(&w[whole * step..]);
            for m in 0..M {
                totals[m][0] = V::dot(totals[m][0], V::load(&x[m][whole * V::LANES..]), w);
            }
        }
        let mut dots = [0.0; M];
        for m in 0..M {
            let [a, b, c, d] = totals[m];
            // A short run, such as a row of LoRA's B, has one sum.
            dots[m] = match whole < 4 {
                true => V::total(a),
                false => (V::total(a) + V::total(b)) + (V::total(c) + V::total(d)),
            };
        }
        dots
    }
}

/// Brings the cache line of an address into the caches, if there is one and the CPU can.
#[inline(always)]
pub(crate) fn prefetch<E>(address: *const E) {
    // SAFETY: every x86-64 has the instruction, and it takes any address.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
