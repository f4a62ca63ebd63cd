//! How kernels read a matrix: a run of neighbours in a row at a time, as stored if the kernel takes that type,
//! otherwise converted into a staging buffer. Whatever weights are stored as, this is the only place that knows.

use std::ops::Range;

use bytemuck::Pod;
use half::bf16;

use crate::view::{Activations, Shape, View};

/// A matrix with contiguous rows that reads as elements of type `Elem`.
pub(crate) trait Source: Copy + Send + Sync {
    type Elem: Pod + Send + Sync;
    /// Whether `run` needs its staging buffer.
    const STAGED: bool;

    /// Neighbours in a row. `staging` has at least as many elements if `STAGED`.
    fn run<'s>(&'s self, row: usize, columns: Range<usize>, staging: &'s mut [Self::Elem]) -> &'s [Self::Elem];

    /// Has a run that will be read soon brought into the caches, if there is a way: where the rows of a matrix end, the
    /// prefetchers of the CPU lose track. AMD's CPUs take a hint for the L2 cache alone as one for the L3 cache.
    #[inline(always)]
    fn fetch(&self, row: usize, columns: Range<usize>) {
        let _ = (row, columns);
    }
}

/// Bytes that are fetched together.
pub(crate) const CACHE_LINE: usize = 64;

/// A part of a matrix that is fetched a cache line at a time while something else is computed: the lines of all of it,
/// asked for at once, would have to wait for each other.
pub(crate) struct Lines<'a, S> {
    source: &'a S,
    rows: Range<usize>,
    columns: Range<usize>,
    column: usize,
}

impl<'a, S: Source> Lines<'a, S> {
    pub(crate) fn new(source: &'a S, rows: Range<usize>, columns: Range<usize>) -> Self {
        let rows = if columns.is_empty() { 0..0 } else { rows };
        Lines { source, rows, column: columns.start, columns }
    }

    /// Fetches the next line, if there is one.
    #[inline(always)]
    pub(crate) fn fetch_next(&mut self) {
        if self.rows.is_empty() {
            return;
        }
        let end = self.column + CACHE_LINE / size_of::<S::Elem>();
        self.source.fetch(self.rows.start, self.column..end.min(self.columns.end));
        self.column = end;
        if end >= self.columns.end {
            self.column = self.columns.start;
            self.rows.start += 1;
        }
    }
}

/// Which dimension of an operand is contiguous in memory: K, that of the contraction, or the other one, which is M for
/// the left operand and N for the right one. The words are CUTLASS's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Major {
    /// The elements of a row are contracted, as in `x Wᵀ`: a matrix is `[free, contracted]` in memory.
    K,
    /// The rows are contracted, as W's in `x W`: it is `[contracted, free]` in memory.
    MN,
}

/// An operand of a matmul.
#[derive(Clone, Copy)]
pub(crate) struct Factor<S> {
    pub(crate) source: S,
    pub(crate) major: Major,
}

impl<'a> Factor<Rows<'a>> {
    /// The matrix, `[free, contracted]`; none if neither its rows nor its columns are contiguous.
    pub(crate) fn of(operand: View<'a>) -> Option<Self> {
        Factor::lying(operand, Major::K).or_else(|| Factor::lying(operand, Major::MN))
    }

    /// The matrix, `[free, contracted]`; none if it does not lie so.
    pub(crate) fn lying(operand: View<'a>, major: Major) -> Option<Self> {
        let Shape { rows, cols, row_stride, col_stride } = operand.shape;
        let (stride, unit) = if major == Major::K { (row_stride, col_stride) } else { (col_stride, row_stride) };
        let lies_so = unit == 1 || rows == 0 || cols == 0;
        lies_so.then(|| Factor { source: Rows::new(operand.data, stride), major })
    }

    /// The matrix of these sizes, `[free, contracted]`.
    pub(crate) fn view(self, dims: [usize; 2]) -> View<'a> {
        let (data, stride) = match self.source {
            Rows::F32(rows) => (Activations::F32(rows.data), rows.stride),
            Rows::Bf16(rows) => (Activations::Bf16(rows.data), rows.stride),
        };
        let strides = if self.major == Major::K { [stride, 1] } else { [1, stride] };
        View { data, shape: Shape::new(data.len(), dims, strides) }
    }
}

/// Elements that are used as they are stored; row i starts at `data[i * stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a, E> {
    pub(crate) data: &'a [E],
    pub(crate) stride: usize,
}

impl<E> Stored<'_, E> {
    /// The rows from `row` on.
    pub(crate) fn rows_from(self, row: usize) -> Self {
        Stored { data: &self.data[row * self.stride..], stride: self.stride }
    }
}

impl<E> Default for Stored<'_, E> {
    fn default() -> Self {
        Stored { data: &[], stride: 0 }
    }
}

impl<E: Pod + Send + Sync> Source for Stored<'_, E> {
    type Elem = E;
    const STAGED: bool = false;

    #[inline(always)]
    fn run<'s>(&'s self, row: usize, columns: Range<usize>, _staging: &'s mut [E]) -> &'s [E] {
        &self.data[row * self.stride..][columns]
    }

    #[inline(always)]
    fn fetch(&self, row: usize, columns: Range<usize>) {
        #[cfg(target_arch = "x86_64")]
        for line in self.run(row, columns, &mut []).chunks(CACHE_LINE / size_of::<E>()) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: every x86-64 has the instruction, and it takes any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (row, columns);
    }
}

/// Activations with contiguous rows, as they are stored.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    F32(Stored<'a, f32>),
    Bf16(Stored<'a, bf16>),
}

impl<'a> Rows<'a> {
    /// Row i starts at `data[i * stride]`.
    pub(crate) fn new(data: Activations<'a>, stride: usize) -> Self {
        match data {
            Activations::F32(data) => Rows::F32(Stored { data, stride }),
            Activations::Bf16(data) => Rows::Bf16(Stored { data, stride }),
        }
    }

    /// The first elements of a row, which are widened into `staging` if need be.
    #[inline(always)]
    pub(crate) fn wide<'s>(&'s self, row: usize, columns: usize, staging: &'s mut [f32]) -> &'s [f32] {
        match self {
            Rows::F32(rows) => rows.run(row, 0..columns, &mut []),
            Rows::Bf16(rows) => {
                let staging = &mut staging[..columns];
                for (wide, narrow) in staging.iter_mut().zip(rows.run(row, 0..columns, &mut [])) {
                    // Not `to_f32`, which branches to keep NaNs quiet.
                    *wide = f32::from_bits(u32::from(narrow.to_bits()) << 16);
                }
                staging
            }
        }
    }
}

/// f32 elements, rounded to bf16 as they are read.
#[derive(Clone, Copy)]
pub(crate) struct Rounded<'a>(pub(crate) Stored<'a, f32>);

impl<'a> From<Stored<'a, f32>> for Rounded<'a> {
    fn from(wide: Stored<'a, f32>) -> Self {
        Rounded(wide)
    }
}

impl Source for Rounded<'_> {
    type Elem = bf16;
    const STAGED: bool = true;

    #[inline(always)]
    fn run<'s>(&'s self, row: usize, columns: Range<usize>, staging: &'s mut [bf16]) -> &'s [bf16] {
        let staging = &mut staging[..columns.len()];
        for (narrow, &wide) in staging.iter_mut().zip(self.0.run(row, columns, &mut [])) {
            *narrow = round(wide);
        }
        staging
    }

    #[inline(always)]
    fn fetch(&self, row: usize, columns: Range<usize>) {
        self.0.fetch(row, columns);
    }
}

/// As `bf16::from_f32`, to nearest with ties to even, but without a branch, so that loops over it vectorise.
#[inline(always)]
pub fn round(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let quiet_nan = bits >> 16 | 0x40;
    bf16::from_bits(if x.is_nan() { quiet_nan } else { rounded } as u16)
}
