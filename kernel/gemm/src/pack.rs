//! Packing: operands laid out in the order in which the register tile reads them. All functions fall under
//! [`Simd`](crate::simd::Simd)'s contract.

use std::ops::Range;

use bytemuck::Zeroable;

use crate::simd::{Lane, MAX_LANES, MAX_STEP, Reads, Simd};
use crate::source::Source;

/// Vectors in a row of the register tile.
pub(crate) const VECTORS: usize = 2;
/// The most elements of a row of W that are packed at once.
pub(crate) const MAX_RUN: usize = 512;

/// The width of the register tile, and so of a panel: a packed strip of W, whose lane (p, j) is at `p * width + j`.
pub(crate) const fn panel_width<V: Simd>() -> usize {
    VECTORS * V::LANES
}

/// Packs a row of x: its lane p goes to `to[p * height]`.
#[inline(always)]
pub(crate) fn pack_x<L: Lane>(x: &[f32], to: &mut [L], height: usize, rounded: bool) {
    // In two steps: rounding vectorises, spreading does not.
    let mut lanes = [L::zeroed(); 64];
    for (x, to) in x.chunks(64 * L::DEPTH).zip(to.chunks_mut(64 * height)) {
        let whole = x.chunks_exact(L::DEPTH);
        let rest = whole.remainder();
        let count = x.len().div_ceil(L::DEPTH);
        for (lane, x) in lanes.iter_mut().zip(whole) {
            *lane = L::pack(x, rounded);
        }
        if !rest.is_empty() {
            lanes[count - 1] = L::pack(rest, rounded);
        }
        for (to, lane) in to.iter_mut().step_by(height).zip(&lanes[..count]) {
            *to = *lane;
        }
    }
}

/// Packs a panel of Wᵀ, for `x Wᵀ`: of the rows `rows` of W (at most a panel's width), the elements `depth` (at
/// most [`MAX_RUN`]), which are contracted. Lanes of `panel` past `rows` and `depth` get arbitrary values, up to the
/// next whole vector along `depth`.
#[inline(always)]
pub(crate) unsafe fn pack_rows<V, S>(
    w: &S,
    rows: Range<usize>,
    depth: Range<usize>,
    panel: &mut [V::Lane],
    staging: &mut [S::Elem],
) where
    S: Source,
    V: Reads<S::Elem>,
{
    let step = V::LANES * V::Lane::DEPTH;
    for (half, first) in rows.clone().step_by(V::LANES).enumerate() {
        let panel = &mut panel[half * V::LANES..];
        let mut staging = staging.chunks_exact_mut(MAX_RUN);
        // A loop, since a closure would not be compiled for the instruction set.
        let mut runs: [&[S::Elem]; MAX_LANES] = [&[]; MAX_LANES];
        for (i, run) in runs.iter_mut().enumerate().take(V::LANES) {
            // Past the last row, that row is read again.
            let row = (first + i).min(rows.end - 1);
            *run = w.run(row, depth.clone(), staging.next().unwrap_or_default());
        }
        let whole = depth.len() / step;
        // SAFETY: the caller is within `run`.
        unsafe {
            for p in 0..whole {
                V::transpose(&runs, p * step, &mut panel[p * V::LANES * panel_width::<V>()..], panel_width::<V>());
            }
            if whole * step < depth.len() {
                let mut filled = [[S::Elem::zeroed(); MAX_STEP]; MAX_LANES];
                for (filled, run) in filled.iter_mut().zip(runs).take(V::LANES) {
                    let rest = &run[whole * step..];
                    filled[..rest.len()].copy_from_slice(rest);
                }
                let rest = &mut panel[whole * V::LANES * panel_width::<V>()..];
                V::transpose(&filled.each_ref().map(|f| &f[..]), 0, rest, panel_width::<V>());
            }
        }
    }
}

/// Packs panels of W, for `dy W`: of the rows `depth` of W, which are contracted, the elements `columns` (at most
/// [`MAX_RUN`]), in panels that lie `panel_len` lanes apart. Lanes past `columns` get arbitrary values.
#[inline(always)]
pub(crate) unsafe fn pack_columns<V, S>(
    w: &S,
    columns: Range<usize>,
    depth: Range<usize>,
    panels: &mut [V::Lane],
    panel_len: usize,
    staging: &mut [S::Elem],
) where
    S: Source,
    V: Reads<S::Elem>,
{
    let (staging_a, staging_b) = staging.split_at_mut(staging.len() / 2);
    let zeros = [S::Elem::zeroed(); MAX_RUN];
    for (p, row) in depth.clone().step_by(V::Lane::DEPTH).enumerate() {
        let a = w.run(row, columns.clone(), &mut *staging_a);
        let b = if V::Lane::DEPTH == 1 {
            a
        } else if row + 1 < depth.end {
            w.run(row + 1, columns.clone(), &mut *staging_b)
        } else {
            &zeros[..columns.len()]
        };
        let places = panels
            .chunks_mut(panel_len)
            .flat_map(|panel| panel[p * panel_width::<V>()..(p + 1) * panel_width::<V>()].chunks_exact_mut(V::LANES));
        for ((a, b), place) in a.chunks(V::LANES).zip(b.chunks(V::LANES)).zip(places) {
            // SAFETY: the caller is within `run`.
            unsafe {
                if a.len() == V::LANES {
                    V::store(V::stack(a, b), place);
                } else {
                    let mut filled = [[S::Elem::zeroed(); MAX_LANES]; 2];
                    filled[0][..a.len()].copy_from_slice(a);
                    filled[1][..b.len()].copy_from_slice(b);
                    V::store(V::stack(&filled[0], &filled[1]), place);
                }
            }
        }
    }
}
