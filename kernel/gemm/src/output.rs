//! A row-major matrix that several threads write, each to places of its own.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;

/// Where the results of a matmul are written, row-major.
#[derive(Debug)]
pub enum OutputMut<'a> {
    /// As they are summed.
    F32(&'a mut [MaybeUninit<f32>]),
    /// Rounded once, to nearest with ties to even.
    Bf16(&'a mut [MaybeUninit<bf16>]),
}

impl OutputMut<'_> {
    /// The number of results.
    pub fn len(&self) -> usize {
        match self {
            OutputMut::F32(y) => y.len(),
            OutputMut::Bf16(y) => y.len(),
        }
    }

    /// Whether there are no results.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How elements lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Row i starts `i * stride` elements after the first.
    Rows,
    /// Column i does.
    Columns,
    /// Rows of bf16.
    RoundedRows,
}

/// A matrix whose elements lie as an [`Order`] says.
pub(crate) struct Output<'a> {
    start: *mut MaybeUninit<f32>,
    rows: usize,
    width: usize,
    stride: usize,
    order: Order,
    lifetime: PhantomData<&'a mut [MaybeUninit<f32>]>,
}

// SAFETY: it stands for the `&mut [MaybeUninit<f32>]` that it was made of, whose parts may go to other threads; `row`
// obliges its callers to keep those parts disjoint.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    /// The matrix with rows of `width` elements, `stride` apart, in `data`.
    ///
    /// # Panics
    /// If rows overlap or one lies outside `data`.
    pub(crate) fn new(data: &'a mut [MaybeUninit<f32>], rows: usize, width: usize, stride: usize) -> Self {
        assert!(rows <= 1 || width <= stride);
        assert!(rows == 0 || (rows - 1) * stride + width <= data.len());
        Output { start: data.as_mut_ptr(), rows, width, stride, order: Order::Rows, lifetime: PhantomData }
    }

    /// The matrix with contiguous rows.
    ///
    /// # Panics
    /// If there is no room for it.
    pub(crate) fn contiguous(results: OutputMut<'a>, rows: usize, width: usize) -> Self {
        assert!(rows * width <= results.len());
        match results {
            OutputMut::F32(data) => Output::new(data, rows, width, width),
            OutputMut::Bf16(data) => {
                let (start, order) = (data.as_mut_ptr().cast(), Order::RoundedRows);
                Output { start, rows, width, stride: width, order, lifetime: PhantomData }
            }
        }
    }

    /// The transpose of rows of f32, of the same elements.
    pub(crate) fn t(self) -> Self {
        assert!(self.order == Order::Rows);
        Output { rows: self.width, width: self.rows, order: Order::Columns, ..self }
    }

    pub(crate) fn order(&self) -> Order {
        self.order
    }

    /// Parts of some rows of f32.
    #[inline(always)]
    pub(crate) fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Part {
        assert!(rows.start < rows.end && rows.end <= self.rows && self.order == Order::Rows);
        assert!(columns.start < columns.end && columns.end <= self.width);
        // SAFETY: the first element of the part lies within the matrix, as was just checked.
        Part { start: unsafe { self.start.add(rows.start * self.stride + columns.start) }, stride: self.stride }
    }

    /// A part of a row of f32.
    ///
    /// # Safety
    /// While the result is in use, no other one may be that has an element in common with it.
    #[expect(clippy::mut_from_ref, reason = "disjoint parts are the point, and the caller's duty")]
    #[inline(always)]
    pub(crate) unsafe fn row(&self, row: usize, columns: Range<usize>) -> &mut [MaybeUninit<f32>] {
        assert!(
            row < self.rows && columns.start <= columns.end && columns.end <= self.width && self.order == Order::Rows
        );
        // SAFETY: the part lies within the slice this was made of (just checked), which nothing else can reach
        // during `'a`; the caller keeps parts disjoint.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride + columns.start), columns.len()) }
    }

    /// A part of a column, if these are what lies together.
    ///
    /// # Safety
    /// That of [`Output::row`].
    #[expect(clippy::mut_from_ref, reason = "as of `row`")]
    #[inline(always)]
    pub(crate) unsafe fn column(&self, column: usize, rows: Range<usize>) -> &mut [MaybeUninit<f32>] {
        assert!(column < self.width && rows.start <= rows.end && rows.end <= self.rows && self.order == Order::Columns);
        // SAFETY: as in `row`.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(column * self.stride + rows.start), rows.len()) }
    }

    /// A part of a row of bf16.
    ///
    /// # Safety
    /// That of [`Output::row`].
    #[expect(clippy::mut_from_ref, reason = "as of `row`")]
    #[inline(always)]
    pub(crate) unsafe fn rounded_row(&self, row: usize, columns: Range<usize>) -> &mut [MaybeUninit<bf16>] {
        assert!(row < self.rows && columns.start <= columns.end && columns.end <= self.width);
        assert!(self.order == Order::RoundedRows);
        let start: *mut MaybeUninit<bf16> = self.start.cast();
        // SAFETY: as in `row`; rows of bf16 are made of a slice of such.
        unsafe { std::slice::from_raw_parts_mut(start.add(row * self.stride + columns.start), columns.len()) }
    }
}

/// Some columns of some rows of an [`Output`], without a claim to them.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    start: *mut MaybeUninit<f32>,
    stride: usize,
}

impl Part {
    /// `len` elements of a row from `column` on.
    ///
    /// # Safety
    /// The part has them, the [`Output`] still stands, and while the result is in use, no other one may be that has an
    /// element in common with it.
    #[inline(always)]
    pub(crate) unsafe fn vector<'a>(self, row: usize, column: usize, len: usize) -> &'a mut [MaybeUninit<f32>] {
        // SAFETY: by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride + column), len) }
    }
}
