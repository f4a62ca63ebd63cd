//! Products with many rows: strips of W are packed into a buffer that stays in the L2 cache, and multiplied with
//! packed rows of x, one register tile at a time.

use std::ops::Range;

use bytemuck::Zeroable;
use rayon::prelude::*;

use crate::output::Output;
use crate::pack::{MAX_RUN, VECTORS, pack_columns, pack_rows, pack_x, panel_width};
use crate::scratch::Scratch;
use crate::simd::{Job, Lane, MAX_LANES, Reads, Simd};
use crate::source::Source;

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

/// Which side of W is contracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contract {
    /// `x Wᵀ`: the elements of a row of W, which is `[width, depth]`.
    RowElements,
    /// `x W`: the rows of W, which is `[depth, width]`.
    Rows,
}

/// The sizes of a product. x: `[rows, depth]`, y: `[rows, width]`; none is 0.
#[derive(Clone, Copy)]
pub(crate) struct Dims {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) depth: usize,
}

/// `y = x Wᵀ` or `y = x W`. `rounded` says to round x to bf16.
pub(crate) fn multiply<V, S>(simd: V, x: &[f32], w: S, contract: Contract, y: &mut [f32], dims: Dims, rounded: bool)
where
    S: Source,
    V: Reads<S::Elem>,
{
    let Dims { rows, width, depth } = dims;
    let block = rows.div_ceil(rows.div_ceil(ROWS)).next_multiple_of(V::ROWS);
    let lanes_per_row = depth.div_ceil(V::Lane::DEPTH);
    let mut packed = Scratch::<V::Lane>::new(block.min(rows) * lanes_per_row);
    for (x, y) in x.chunks(block * depth).zip(y.chunks_mut(block * width)) {
        let rows = x.len() / depth;
        let alone = rows * width * depth <= ALONE;
        let (to_len, x_len) = (V::ROWS * lanes_per_row, V::ROWS * depth);
        let pack = |(to, x)| simd.run(PackTile { x, to, depth, rounded });
        if alone {
            packed.chunks_mut(to_len).zip(x.chunks(x_len)).for_each(pack);
        } else {
            packed.par_chunks_mut(to_len).zip(x.par_chunks(x_len)).for_each(pack);
        }

        let (x, y) = (&packed[..rows * lanes_per_row], &Output::new(y, width));
        let [rows_per_task, columns_per_task] = task_size::<V>(rows, width);
        let tasks_down = rows.div_ceil(rows_per_task);
        let tasks = 0..tasks_down * width.div_ceil(columns_per_task);
        let compute = |task: usize| {
            let (i, j) = (task % tasks_down * rows_per_task, task / tasks_down * columns_per_task);
            let rows = i..rows.min(i + rows_per_task);
            let columns = j..width.min(j + columns_per_task);
            simd.run(Region { x, w, contract, y, width, depth, rows, columns });
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

/// Packs as many rows of x as a register tile is high, or the fewer that are left: lane p of row i goes to
/// `to[p * rows + i]`.
struct PackTile<'a, L> {
    x: &'a [f32],
    to: &'a mut [L],
    depth: usize,
    rounded: bool,
}

impl<V: Simd> Job<V> for PackTile<'_, V::Lane> {
    #[inline(always)]
    unsafe fn run(self) {
        let height = self.x.len() / self.depth;
        for (i, x) in self.x.chunks_exact(self.depth).enumerate() {
            pack_x(x, &mut self.to[i..], height, self.rounded);
        }
    }
}

/// A region of the output, computed by one thread.
struct Region<'a, L, S> {
    x: &'a [L],
    w: S,
    contract: Contract,
    y: &'a Output<'a>,
    width: usize,
    depth: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<V: Reads<S::Elem>, S: Source> Job<V> for Region<'_, V::Lane, S> {
    #[inline(always)]
    unsafe fn run(self) {
        let lanes_per_row = self.depth.div_ceil(V::Lane::DEPTH);
        let panel_len = DEPTH * panel_width::<V>();
        let panels = self.columns.len().div_ceil(panel_width::<V>());
        let mut staging = vec![S::Elem::zeroed(); if S::STAGED { MAX_RUN * MAX_LANES } else { 0 }];
        let mut packed = Scratch::new(panels * panel_len);
        let packed = &mut packed[..];
        for first in (0..lanes_per_row).step_by(DEPTH) {
            let lanes = DEPTH.min(lanes_per_row - first);
            let depth = first * V::Lane::DEPTH..self.depth.min((first + lanes) * V::Lane::DEPTH);
            // SAFETY: the caller is within `run`.
            unsafe { self.pack::<V>(depth, packed, panel_len, &mut staging) };
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
                        // SAFETY: tasks have disjoint regions, and this one holds one part at a time.
                        let y = unsafe { self.y.row(i + row, columns.clone()) };
                        if first == 0 {
                            y.copy_from_slice(&sums[..columns.len()]);
                        } else {
                            y.iter_mut().zip(sums).for_each(|(y, sum)| *y += sum);
                        }
                    }
                }
            }
        }
    }
}

impl<L, S: Source> Region<'_, L, S> {
    /// Packs this region's columns of W, or of Wᵀ, for a part of the contraction.
    ///
    /// # Safety
    /// That of [`Simd`].
    #[inline(always)]
    unsafe fn pack<V>(&self, depth: Range<usize>, packed: &mut [L], panel_len: usize, staging: &mut [S::Elem])
    where
        V: Reads<S::Elem> + Simd<Lane = L>,
    {
        // SAFETY: the caller is within `run`.
        unsafe {
            match self.contract {
                Contract::RowElements => {
                    for (j, panel) in self.columns.clone().step_by(panel_width::<V>()).zip(packed.chunks_mut(panel_len))
                    {
                        let rows = j..self.columns.end.min(j + panel_width::<V>());
                        pack_rows::<V, S>(&self.w, self.depth, rows, depth.clone(), panel, staging);
                    }
                }
                Contract::Rows => {
                    pack_columns::<V, S>(&self.w, self.width, self.columns.clone(), depth, packed, panel_len, staging);
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
