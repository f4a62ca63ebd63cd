//! Writing sums: out of the order in which the tiles hold them, with what is to become of them.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::pack::column;
use super::tiles::{SUMS, TILE};
use crate::output::{Ending, Output};
use crate::simd::transpose_lanes;

/// Writes the product of a panel of A and one of B, where A is the left operand: sums of rows are neighbours.
///
/// # Safety
/// The caller is compiled for avx512f; nobody else uses this part of the output.
#[inline(always)]
pub(super) unsafe fn as_it_is(
    sums: &[f32],
    y: &Output<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    ending: Ending<'_>,
) {
    assert!(sums.len() == SUMS);
    // SAFETY: by the caller; 64 bytes are read out of an array of 16 lanes.
    let order = unsafe {
        [_mm512_loadu_si512(natural_order(0).as_ptr().cast()), _mm512_loadu_si512(natural_order(16).as_ptr().cast())]
    };
    for (i, row) in rows.enumerate() {
        let place = i / 16 * 2 * TILE + i % 16 * 16;
        // SAFETY: by the caller.
        unsafe {
            let halves = [load(&sums[place..]), load(&sums[place + TILE..])];
            for (order, first) in order.into_iter().zip(columns.clone().step_by(16)) {
                let columns = first..columns.end.min(first + 16);
                let sums = _mm512_permutex2var_ps(halves[0], order, halves[1]);
                write(sums, y.row(row, columns.clone()), columns, ending);
            }
        }
    }
}

/// Writes the product of a panel of A and one of B, where A is the right operand: sums of columns are neighbours.
///
/// # Safety
/// That of [`as_it_is`].
#[inline(always)]
pub(super) unsafe fn transposed(
    sums: &[f32],
    y: &Output<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    ending: Ending<'_>,
) {
    assert!(sums.len() == SUMS);
    for half in 0..2 {
        // SAFETY: by the caller.
        let lanes = unsafe {
            [transposed_tile(&sums[half * TILE..][..TILE]), transposed_tile(&sums[(2 + half) * TILE..][..TILE])]
        };
        for lane in 0..16 {
            let row = rows.start + column(half, lane);
            if row >= rows.end {
                continue;
            }
            for (lanes, first) in lanes.iter().zip(columns.clone().step_by(16)) {
                let columns = first..columns.end.min(first + 16);
                // SAFETY: by the caller.
                unsafe { write(lanes[lane], y.row(row, columns.clone()), columns, ending) };
            }
        }
    }
}

/// Where the columns from `first` of a panel are in B's two tiles, as `_mm512_permutex2var_ps` counts.
fn natural_order(first: usize) -> [i32; 16] {
    let mut order = [0; 16];
    for half in 0..2 {
        for lane in 0..16 {
            if let Some(place) = column(half, lane).checked_sub(first).and_then(|column| order.get_mut(column)) {
                *place = (16 * half + lane) as i32;
            }
        }
    }
    order
}

/// # Safety
/// The caller is compiled for avx512f.
#[inline(always)]
unsafe fn transposed_tile(tile: &[f32]) -> [__m512; 16] {
    // By index: a closure that `map` calls is not compiled into this function, nor for its instructions.
    // SAFETY: by the caller.
    unsafe {
        let mut lanes = [_mm512_setzero_si512(); 16];
        for i in 0..16 {
            lanes[i] = _mm512_castps_si512(load(&tile[i * 16..]));
        }
        let lanes = transpose_lanes(lanes);
        let mut columns = [_mm512_setzero_ps(); 16];
        for i in 0..16 {
            columns[i] = _mm512_castsi512_ps(lanes[i]);
        }
        columns
    }
}

/// # Safety
/// The caller is compiled for avx512f.
#[inline(always)]
unsafe fn load(from: &[f32]) -> __m512 {
    // SAFETY: sixteen floats are read out of a slice of sixteen; the caller is compiled for the instruction.
    unsafe { _mm512_loadu_ps(from[..16].as_ptr()) }
}

/// Writes sums of up to 16 columns, which `y` is the place of.
///
/// # Safety
/// The caller is compiled for avx512f. If it accumulates, y has been written before.
#[inline(always)]
unsafe fn write(sums: __m512, y: &mut [MaybeUninit<f32>], columns: Range<usize>, ending: Ending<'_>) {
    assert!(y.len() <= 16 && y.len() == columns.len());
    let mask = ((1u32 << y.len()) - 1) as u16;
    let to: *mut f32 = y.as_mut_ptr().cast();
    // SAFETY: the mask confines reads and writes to `y` and to as many biases; the caller is compiled for the
    // instructions.
    unsafe {
        let mut start = _mm512_setzero_ps();
        if let Some(bias) = ending.bias {
            start = _mm512_maskz_loadu_ps(mask, bias[columns].as_ptr());
        }
        if ending.accumulate {
            start = _mm512_add_ps(start, _mm512_maskz_loadu_ps(mask, to));
        }
        _mm512_mask_storeu_ps(to, mask, _mm512_fmadd_ps(sums, _mm512_set1_ps(ending.scale), start));
    }
}
