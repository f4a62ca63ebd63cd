//! Packing: operands laid out in the order in which the register tile reads them. K-major operands are packed in
//! squares that are transposed; of MN-major ones, sixteen rows are interleaved for a panel and then for the next. All
//! functions fall under [`Simd`]'s contract.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::simd::{Lane, MAX_LANES, MAX_STEP, Reads, Simd};
use crate::source::{Factor, Major, Source};

/// Vectors in a row of the register tile.
pub(crate) const VECTORS: usize = 2;
/// The most elements of a row that are packed at once.
pub(crate) const MAX_RUN: usize = 512;
/// Elements of a staging buffer.
pub(crate) const STAGING: usize = MAX_RUN * MAX_LANES;
/// Contracted rows that are packed together, while the next ones are fetched.
const TOGETHER: usize = STAGING / MAX_RUN;

/// The width of the register tile, and so of a panel: a packed strip of W, whose lane (p, j) is at `p * width + j`.
pub(crate) const fn panel_width<V: Simd>() -> usize {
    VECTORS * V::LANES
}

/// The width of a packed strip of x: the height of the register tile in whole vectors. Lane (i, p) is at
/// `p * width + i`.
pub(crate) const fn strip_width<V: Simd>() -> usize {
    V::ROWS.next_multiple_of(V::LANES)
}

/// Packs a row of x as it is; `lanes` has room for exactly that.
#[inline(always)]
pub(crate) fn pack_row<L: Lane>(x: &[f32], lanes: &mut [L], rounded: bool) {
    for (x, lane) in x.chunks(L::DEPTH).zip(lanes) {
        *lane = L::pack(x, rounded);
    }
}

/// How panels lie in memory and in the matrix.
#[derive(Clone, Copy)]
pub(crate) struct Panels {
    /// Elements of the free dimension from one panel to the next.
    pub(crate) pitch: usize,
    /// Lanes of a panel to each lane of the contraction, whole vectors.
    pub(crate) width: usize,
    /// Lanes from one panel to the next.
    pub(crate) len: usize,
}

/// Packs panels of the part `free` (at most [`MAX_RUN`]) of a factor's free dimension and the part `depth` of what is
/// contracted. Lanes past a panel's pitch get arbitrary values, as do those past `depth` up to the next whole vector;
/// half a lane past it is zero.
#[inline(always)]
pub(crate) unsafe fn pack<V, S>(
    factor: &Factor<S>,
    free: Range<usize>,
    depth: Range<usize>,
    to: &mut [V::Lane],
    panels: Panels,
    staging: &mut [S::Elem],
) where
    S: Source,
    V: Reads<S::Elem>,
{
    // SAFETY: the caller is within `run`.
    unsafe {
        match factor.major {
            Major::K => {
                for (j, panel) in free.clone().step_by(panels.pitch).zip(to.chunks_mut(panels.len)) {
                    let rows = j..free.end.min(j + panels.pitch);
                    pack_rows::<V, S>(&factor.source, rows, free.end, depth.clone(), panel, panels.width, staging);
                }
            }
            Major::MN => pack_columns::<V, S>(&factor.source, free, depth, to, panels, staging),
        }
    }
}

/// A panel whose free dimension are rows, a square at a time. The rows up to `end` will be packed next.
#[inline(always)]
unsafe fn pack_rows<V, S>(
    source: &S,
    rows: Range<usize>,
    end: usize,
    depth: Range<usize>,
    panel: &mut [V::Lane],
    width: usize,
    staging: &mut [S::Elem],
) where
    S: Source,
    V: Reads<S::Elem>,
{
    let (start, step) = (depth.start, V::LANES * V::Lane::DEPTH);
    for (square, first) in rows.clone().step_by(V::LANES).enumerate() {
        let panel = &mut panel[square * V::LANES..];
        for from in depth.clone().step_by(MAX_RUN) {
            let depth = from..depth.end.min(from + MAX_RUN);
            let panel = &mut panel[(from - start) / V::Lane::DEPTH * width..];
            let mut staging = staging.chunks_exact_mut(MAX_RUN);
            // A loop, since a closure would not be compiled for the instruction set.
            let mut runs: [&[S::Elem]; MAX_LANES] = [&[]; MAX_LANES];
            for i in 0..V::LANES {
                let row = first + i;
                // Past the last row, that row stands in.
                runs[i] = if row < rows.end {
                    source.run(row, depth.clone(), staging.next().unwrap_or_default())
                } else {
                    runs[i - 1]
                };
                if row + V::LANES < end {
                    source.fetch(row + V::LANES, depth.clone());
                }
            }
            let whole = depth.len() / step;
            // SAFETY: the caller is within `run`.
            unsafe {
                for p in 0..whole {
                    V::transpose(&runs, p * step, &mut panel[p * V::LANES * width..], width);
                }
                if whole * step < depth.len() {
                    let mut filled = [[S::Elem::zeroed(); MAX_STEP]; MAX_LANES];
                    for (filled, run) in filled.iter_mut().zip(runs).take(V::LANES) {
                        let rest = &run[whole * step..];
                        filled[..rest.len()].copy_from_slice(rest);
                    }
                    V::transpose(&filled.each_ref().map(|f| &f[..]), 0, &mut panel[whole * V::LANES * width..], width);
                }
            }
        }
    }
}

/// Panels whose free dimension are columns: some rows that are contracted, a panel after the other.
#[inline(always)]
unsafe fn pack_columns<V, S>(
    source: &S,
    columns: Range<usize>,
    depth: Range<usize>,
    to: &mut [V::Lane],
    panels: Panels,
    staging: &mut [S::Elem],
) where
    S: Source,
    V: Reads<S::Elem>,
{
    let zeros = [S::Elem::zeroed(); MAX_RUN];
    for (block, row) in depth.clone().step_by(TOGETHER).enumerate() {
        let end = depth.end.min(row + TOGETHER);
        for later in end..depth.end.min(end + TOGETHER) {
            source.fetch(later, columns.clone());
        }
        let mut staging = staging.chunks_exact_mut(MAX_RUN);
        // Half a lane that is left over gets zeros.
        let mut runs = [&zeros[..columns.len()]; TOGETHER];
        for (run, row) in runs.iter_mut().zip(row..end) {
            *run = source.run(row, columns.clone(), staging.next().unwrap_or_default());
        }
        let first_lane = block * TOGETHER / V::Lane::DEPTH;
        let lanes = (end - row).div_ceil(V::Lane::DEPTH);
        for (first, panel) in (0..columns.len()).step_by(panels.pitch).zip(to.chunks_mut(panels.len)) {
            let places = &mut panel[first_lane * panels.width..][..lanes * panels.width];
            for (runs, places) in runs.chunks_exact(V::Lane::DEPTH).zip(places.chunks_exact_mut(panels.width)) {
                let (a, b) = (&runs[0][first..], &runs[V::Lane::DEPTH - 1][first..]);
                // SAFETY: the caller is within `run`.
                unsafe {
                    if a.len() >= panels.width {
                        stack::<V, S::Elem>(a, b, places);
                    } else {
                        let mut filled = [[S::Elem::zeroed(); VECTORS * MAX_LANES]; 2];
                        filled[0][..a.len()].copy_from_slice(a);
                        filled[1][..b.len()].copy_from_slice(b);
                        stack::<V, S::Elem>(&filled[0], &filled[1], places);
                    }
                }
            }
        }
    }
}

/// [`Reads::stack`] for whole vectors of lanes.
#[inline(always)]
unsafe fn stack<V: Reads<E>, E: Pod>(a: &[E], b: &[E], places: &mut [V::Lane]) {
    for v in (0..places.len()).step_by(V::LANES) {
        // SAFETY: the caller is within `run`.
        unsafe { V::store(V::stack(&a[v..], &b[v..]), &mut places[v..]) };
    }
}
