//! Products with many rows: strips of W are packed into a buffer that stays in the L2 cache, and multiplied with
//! packed rows of x, one register tile at a time.

use std::ops::Range;

use bytemuck::Zeroable;
use rayon::prelude::*;

use crate::Precision;
use crate::pack::{MAX_RUN, VECTORS, pack_columns, pack_rows, pack_x, panel_width};
use crate::product::{Dims, Product};
use crate::scratch::Scratch;
use crate::simd::{Job, Lane, MAX_LANES, Reads, Simd};
use crate::source::{Contract, Factor, Source};

/// Lanes along the contraction that are packed at a time.
const DEPTH: usize = 256;
/// The most columns of the output in a task; its packed weights take `DEPTH * COLUMNS` lanes, 256 KiB.
const COLUMNS: usize = 256;
/// The most rows of x that are packed at a time: bounds the buffer, and is enough for packing W to cost nothing.
const ROWS: usize = 1024;
/// Splitting rows among tasks means packing W once more; this many rows are worth it.
const ROWS_PER_TASK: usize = 96;
/// Multiplications that other threads need not be woken for.
const ALONE: usize = 1 << 18;
/// The tallest register tile.
const MAX_HEIGHT: usize = 12;

const _: () = assert!(DEPTH * 2 <= MAX_RUN && COLUMNS <= MAX_RUN && DEPTH.is_multiple_of(MAX_LANES));

/// Computes a product whose x and h are contracted along their rows. b's factor is contracted as w is.
pub(crate) fn multiply<V, W, B>(simd: V, product: &Product<'_>, w: Factor<W>, b: B)
where
    W: Source,
    B: Source,
    V: Reads<W::Elem> + Reads<B::Elem>,
{
    let Product { dims, threads, .. } = product;
    let lanes = [dims.depth, dims.rank].map(|depth| depth.div_ceil(V::Lane::DEPTH));
    let lanes_per_row = lanes[0] + lanes[1];
    let block = dims.rows.div_ceil(dims.rows.div_ceil(ROWS)).next_multiple_of(V::ROWS);
    let mut packed = Scratch::<V::Lane>::new(block.min(dims.rows) * lanes_per_row);
    for first in (0..dims.rows).step_by(block) {
        let rows = first..dims.rows.min(first + block);
        let alone = !threads || rows.len() * dims.width * (dims.depth + dims.rank) <= ALONE;
        let pack = |(tile, to): (usize, &mut [V::Lane])| {
            let start = first + tile * V::ROWS;
            simd.run(PackTile { product, rows: start..rows.end.min(start + V::ROWS), to });
        };
        let packed = &mut packed[..rows.len() * lanes_per_row];
        let tile_len = V::ROWS * lanes_per_row;
        if alone {
            packed.chunks_mut(tile_len).enumerate().for_each(pack);
        } else {
            packed.par_chunks_mut(tile_len).enumerate().for_each(pack);
        }

        let x = &*packed;
        let [rows_per_task, columns_per_task] = task_size::<V>(rows.len(), dims.width);
        let tasks_down = rows.len().div_ceil(rows_per_task);
        let tasks = 0..tasks_down * dims.width.div_ceil(columns_per_task);
        let compute = |task: usize| {
            let (i, j) = (task % tasks_down * rows_per_task, task / tasks_down * columns_per_task);
            let tiles = i..rows.len().min(i + rows_per_task);
            let columns = j..dims.width.min(j + columns_per_task);
            simd.run(Region { product, x, lanes, w, b, first_row: first, rows: tiles, columns });
        };
        if alone { tasks.for_each(compute) } else { tasks.into_par_iter().for_each(compute) }
    }
}

/// Rows and columns of the output to make one task of, so that each thread gets several if there is work enough.
fn task_size<V: Simd>(rows: usize, width: usize) -> [usize; 2] {
    let wanted = 3 * rayon::current_num_threads();
    let mut columns = COLUMNS;
    while width.div_ceil(columns) < wanted && columns > panel_width::<V>() {
        columns /= 2;
    }
    let splits = wanted.div_ceil(width.div_ceil(columns)).min(rows / ROWS_PER_TASK).max(1);
    [rows.div_ceil(splits).next_multiple_of(V::ROWS), columns]
}

/// Packs as many rows of x and h as a register tile is high, or the fewer that are left: lane p of row i goes to
/// `to[p * rows + i]`, those of h after those of x.
struct PackTile<'a, L> {
    product: &'a Product<'a>,
    rows: Range<usize>,
    to: &'a mut [L],
}

impl<V: Simd> Job<V> for PackTile<'_, V::Lane> {
    #[inline(always)]
    unsafe fn run(self) {
        let Product { x, h, dims, precision, .. } = self.product;
        let height = self.rows.len();
        let rounded = *precision == Precision::Bf16;
        let (x_to, h_to) = self.to.split_at_mut(dims.depth.div_ceil(V::Lane::DEPTH) * height);
        for (i, row) in self.rows.enumerate() {
            if dims.depth > 0 {
                pack_x(x.source.run(row, 0..dims.depth, &mut []), &mut x_to[i..], height, rounded);
            }
            if dims.rank > 0 {
                pack_x(h.run(row, 0..dims.rank, &mut []), &mut h_to[i..], height, rounded);
            }
        }
    }
}

/// A region of the output, computed by one thread.
struct Region<'a, L, W, B> {
    product: &'a Product<'a>,
    /// Packed x and h.
    x: &'a [L],
    /// A row's lanes of x and of h.
    lanes: [usize; 2],
    w: Factor<W>,
    b: B,
    /// The row of the output that `rows` are counted from.
    first_row: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<V, W, B> Job<V> for Region<'_, V::Lane, W, B>
where
    W: Source,
    B: Source,
    V: Reads<W::Elem> + Reads<B::Elem>,
{
    #[inline(always)]
    unsafe fn run(self) {
        let panels = self.columns.len().div_ceil(panel_width::<V>());
        let mut packed = Scratch::new(panels * DEPTH * panel_width::<V>());
        let b = Factor { source: self.b, contract: self.w.contract };
        let Dims { depth, rank, .. } = self.product.dims;
        // SAFETY: the caller is within `run`.
        unsafe {
            self.add_product::<V, W>(self.w, depth, 0, &mut packed);
            self.add_product::<V, B>(b, rank, self.lanes[0], &mut packed);
        }
    }
}

impl<L: Lane, W, B> Region<'_, L, W, B> {
    /// Adds the product of `depth` elements of x or h, whose lanes begin at `first_lane`, and `w`.
    ///
    /// # Safety
    /// That of [`Simd`].
    #[inline(always)]
    unsafe fn add_product<V, S>(&self, w: Factor<S>, depth: usize, first_lane: usize, packed: &mut [L])
    where
        S: Source,
        V: Reads<S::Elem> + Simd<Lane = L>,
    {
        let panel_len = DEPTH * panel_width::<V>();
        let mut staging = vec![S::Elem::zeroed(); if S::STAGED { MAX_RUN * MAX_LANES } else { 0 }];
        for from in (0..depth).step_by(DEPTH * L::DEPTH) {
            let depth = from..depth.min(from + DEPTH * L::DEPTH);
            let (first, lanes) = (first_lane + from / L::DEPTH, depth.len().div_ceil(L::DEPTH));
            // SAFETY: the caller is within `run`.
            unsafe {
                self.pack::<V, S>(&w, depth, packed, panel_len, &mut staging);
                self.multiply_packed::<V>(first, lanes, packed, panel_len);
            }
        }
    }

    /// Multiplies `lanes` lanes of x, from `first`, with panels that have been packed.
    ///
    /// # Safety
    /// That of [`Simd`].
    #[inline(always)]
    unsafe fn multiply_packed<V: Simd<Lane = L>>(&self, first: usize, lanes: usize, packed: &[L], panel_len: usize) {
        let Product { y, ending, .. } = self.product;
        let lanes_per_row = self.lanes[0] + self.lanes[1];
        for i in self.rows.clone().step_by(V::ROWS) {
            let height = V::ROWS.min(self.rows.end - i);
            let x = &self.x[i * lanes_per_row + first * height..][..lanes * height];
            for (j, panel) in self.columns.clone().step_by(panel_width::<V>()).zip(packed.chunks(panel_len)) {
                let columns = j..self.columns.end.min(j + panel_width::<V>());
                let w = &panel[..lanes * panel_width::<V>()];
                let mut sums = [0.0; MAX_HEIGHT * VECTORS * MAX_LANES];
                // SAFETY: the caller is within `run`.
                unsafe { tile_of_height::<V>(height, x, w, &mut sums) };
                for (row, sums) in sums.chunks_exact(panel_width::<V>()).take(height).enumerate() {
                    // SAFETY: tasks have disjoint regions, and this one holds one part at a time; the first lanes
                    // come before the others.
                    unsafe {
                        let y = y.row(self.first_row + i + row, columns.clone());
                        ending.write(first == 0, &sums[..columns.len()], y, columns.clone());
                    }
                }
            }
        }
    }

    /// Packs this region's columns of W, or of Wᵀ, for a part of the contraction.
    ///
    /// # Safety
    /// That of [`Simd`].
    #[inline(always)]
    unsafe fn pack<V, S>(
        &self,
        w: &Factor<S>,
        depth: Range<usize>,
        packed: &mut [L],
        panel_len: usize,
        staging: &mut [S::Elem],
    ) where
        S: Source,
        V: Reads<S::Elem> + Simd<Lane = L>,
    {
        // SAFETY: the caller is within `run`.
        unsafe {
            match w.contract {
                Contract::RowElements => {
                    for (j, panel) in self.columns.clone().step_by(panel_width::<V>()).zip(packed.chunks_mut(panel_len))
                    {
                        let rows = j..self.columns.end.min(j + panel_width::<V>());
                        pack_rows::<V, S>(&w.source, rows, depth.clone(), panel, staging);
                    }
                }
                Contract::Rows => {
                    pack_columns::<V, S>(&w.source, self.columns.clone(), depth, packed, panel_len, staging);
                }
            }
        }
    }
}

/// [`tile`] for a height that is known only now; no more heights are compiled than `V` uses.
///
/// # Safety
/// That of [`Simd`].
#[inline(always)]
unsafe fn tile_of_height<V: Simd>(height: usize, x: &[V::Lane], w: &[V::Lane], sums: &mut [f32]) {
    macro_rules! tiles {
        ($($height:literal)*) => {
            match height {
                $($height if V::ROWS >= $height => tile::<V, $height>(x, w, sums),)*
                _ => {}
            }
        };
    }
    // SAFETY: the caller is within `run`.
    unsafe { tiles!(1 2 3 4 5 6 7 8 9 10 11 12) }
}

/// The product of `M` packed rows of x and a panel of W: sum (i, j) goes to `sums[i * panel_width + j]`.
///
/// # Safety
/// That of [`Simd`].
#[inline(always)]
unsafe fn tile<V: Simd, const M: usize>(x: &[V::Lane], w: &[V::Lane], sums: &mut [f32]) {
    // SAFETY: the caller is within `run`.
    unsafe {
        let mut totals = [[V::zero(); VECTORS]; M];
        for (x, w) in x.chunks_exact(M).zip(w.chunks_exact(panel_width::<V>())) {
            let w = [V::load(&w[..V::LANES]), V::load(&w[V::LANES..])];
            for (totals, &x) in totals.iter_mut().zip(x) {
                let x = V::splat(x);
                for (total, w) in totals.iter_mut().zip(w) {
                    *total = V::dot(*total, x, w);
                }
            }
        }
        // By index: iterators over `totals` would keep it in memory instead of registers.
        for i in 0..M {
            for v in 0..VECTORS {
                V::store_sums(totals[i][v], &mut sums[(i * VECTORS + v) * V::LANES..]);
            }
        }
    }
}
