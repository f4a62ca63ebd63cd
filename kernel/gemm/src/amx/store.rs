//! Writing sums: out of the order in which the tiles hold them, with what is to become of them.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::pack::column;
use super::tiles::{SUMS, TILE};
use crate::epilogue::Epilogue;
use crate::output::Output;
use crate::simd::transpose_lanes;

/// Writes the product of a panel of A and one of B, where A is the left operand: sums of rows are neighbours.
///
/// # Safety
/// The caller is compiled for avx512f; nobody else uses this part of the output. If it accumulates, the output has
/// been written before.
#[inline(always)]
pub(super) unsafe fn as_it_is(
    sums: &[f32],
    y: &Output<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    epilogue: Epilogue<'_>,
) {
    assert!(sums.len() == SUMS);
    let orders = [natural_order(0), natural_order(16)];
    // SAFETY: by the caller; 64 bytes are read out of arrays of 16 lanes.
    let (writer, order) = unsafe {
        let order = [_mm512_loadu_si512(orders[0].as_ptr().cast()), _mm512_loadu_si512(orders[1].as_ptr().cast())];
        (Writer::new(&columns, epilogue), order)
    };
    for (i, row) in rows.enumerate() {
        let place = i / 16 * 2 * TILE + i % 16 * 16;
        // SAFETY: by the caller.
        unsafe {
            let (first, second) = (load(&sums[place..]), load(&sums[place + TILE..]));
            let sums =
                [_mm512_permutex2var_ps(first, order[0], second), _mm512_permutex2var_ps(first, order[1], second)];
            writer.write(sums, y.row(row, columns.clone()));
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
    epilogue: Epilogue<'_>,
) {
    assert!(sums.len() == SUMS);
    // SAFETY: by the caller.
    let writer = unsafe { Writer::new(&columns, epilogue) };
    for half in 0..2 {
        // SAFETY: by the caller.
        let (first, second) = unsafe {
            (transposed_tile(&sums[half * TILE..][..TILE]), transposed_tile(&sums[(2 + half) * TILE..][..TILE]))
        };
        for (lane, (first, second)) in first.into_iter().zip(second).enumerate() {
            let row = rows.start + column(half, lane);
            if row < rows.end {
                // SAFETY: by the caller.
                unsafe { writer.write([first, second], y.row(row, columns.clone())) };
            }
        }
    }
}

/// Where the columns from `first` of a panel are in B's two tiles, as `_mm512_permutex2var_ps` counts: what
/// [`column()`] says, the other way round.
fn natural_order(first: usize) -> [i32; 16] {
    std::array::from_fn(|i| {
        let column = first + i;
        (column / 4 % 2 * 16 + column / 8 * 4 + column % 4) as i32
    })
}

/// # Safety
/// The caller is compiled for avx512f.
#[inline(always)]
unsafe fn transposed_tile(tile: &[f32]) -> [__m512; 16] {
    // In loops: a closure that `map` calls is not compiled into this function, nor for its instructions.
    // SAFETY: by the caller.
    unsafe {
        let mut lanes = [_mm512_setzero_si512(); 16];
        for (lanes, row) in lanes.iter_mut().zip(tile.chunks_exact(16)) {
            *lanes = _mm512_castps_si512(load(row));
        }
        let mut columns = [_mm512_setzero_ps(); 16];
        for (column, lanes) in columns.iter_mut().zip(transpose_lanes(lanes)) {
            *column = _mm512_castsi512_ps(lanes);
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

/// Writes pieces of rows that have the same, at most 32, columns.
struct Writer {
    width: usize,
    masks: [u16; 2],
    bias: [__m512; 2],
    scale: __m512,
    accumulate: bool,
}

impl Writer {
    /// # Safety
    /// The caller is compiled for avx512f.
    #[inline(always)]
    unsafe fn new(columns: &Range<usize>, epilogue: Epilogue<'_>) -> Self {
        let width = columns.len();
        assert!(width <= 32);
        let mask = u32::MAX.checked_shr(32 - width as u32).unwrap_or_default();
        let masks = [mask as u16, (mask >> 16) as u16];
        // SAFETY: the masks confine reads to as many biases as there are columns.
        unsafe {
            let mut bias = [_mm512_setzero_ps(); 2];
            if let Some(all) = epilogue.bias {
                let from = all[columns.clone()].as_ptr();
                bias = [_mm512_maskz_loadu_ps(masks[0], from), _mm512_maskz_loadu_ps(masks[1], from.wrapping_add(16))];
            }
            Writer { width, masks, bias, scale: _mm512_set1_ps(epilogue.alpha), accumulate: epilogue.accumulate }
        }
    }

    /// # Safety
    /// The caller is compiled for avx512f. If it accumulates, y has been written before.
    #[inline(always)]
    unsafe fn write(&self, sums: [__m512; 2], y: &mut [MaybeUninit<f32>]) {
        assert!(y.len() == self.width);
        let to: *mut f32 = y.as_mut_ptr().cast();
        let to = [to, to.wrapping_add(16)];
        // SAFETY: the masks confine reads and writes to `y`.
        unsafe {
            for half in 0..2 {
                let mut start = self.bias[half];
                if self.accumulate {
                    start = _mm512_add_ps(start, _mm512_maskz_loadu_ps(self.masks[half], to[half]));
                }
                let result = _mm512_fmadd_ps(sums[half], self.scale, start);
                _mm512_mask_storeu_ps(to[half], self.masks[half], result);
            }
        }
    }
}
