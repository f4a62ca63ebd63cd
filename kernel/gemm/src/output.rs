//! A row-major matrix that several threads write, each to places of its own.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;

use crate::Results;
use crate::source::round;

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
    pub(crate) fn of_results(results: Results<'a>, rows: usize, width: usize) -> Self {
        assert!(rows * width <= results.len());
        match results {
            Results::F32(data) => Output::new(data, rows, width, width),
            Results::Bf16(data) => {
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

/// What becomes of sums as they are written: `y = scale · sum + bias`, or that added to y. Columns have no
/// bias, and rows of bf16 are not added to.
#[derive(Clone, Copy)]
pub(crate) struct Ending<'a> {
    pub(crate) scale: f32,
    /// One a column.
    pub(crate) bias: Option<&'a [f32]>,
    /// Whether y, which then holds numbers already, is added to.
    pub(crate) accumulate: bool,
}

impl Ending<'_> {
    /// Sums are written as they are.
    pub(crate) const PLAIN: Ending<'static> = Ending { scale: 1.0, bias: None, accumulate: false };

    /// Whether sums are written as they are.
    pub(crate) fn is_plain(self) -> bool {
        self.scale == 1.0 && self.bias.is_none() && !self.accumulate
    }

    /// Writes sums, those of some columns in a row, to `y`, or adds them to what is there unless they are the first for this
    /// place.
    ///
    /// # Safety
    /// If there were sums before, or it accumulates, `y` has been written.
    #[inline(always)]
    pub(crate) unsafe fn write(
        self,
        first: bool,
        sums: impl Iterator<Item = f32>,
        y: &mut [MaybeUninit<f32>],
        columns: Range<usize>,
    ) {
        if first && !self.accumulate {
            y.iter_mut().zip(sums).for_each(|(y, sum)| _ = y.write(self.scale * sum));
        } else {
            // SAFETY: by the caller.
            let y = unsafe { y.assume_init_mut() };
            y.iter_mut().zip(sums).for_each(|(y, sum)| *y += self.scale * sum);
        }
        if let Some(bias) = self.bias.filter(|_| first) {
            // SAFETY: it was written, just now or before.
            let y = unsafe { y.assume_init_mut() };
            y.iter_mut().zip(&bias[columns]).for_each(|(y, bias)| *y += bias);
        }
    }

    /// Writes sums, those of some columns in a row, to `y`, rounded.
    #[inline(always)]
    pub(crate) fn write_rounded(self, sums: &[f32], y: &mut [MaybeUninit<bf16>], columns: Range<usize>) {
        match self.bias {
            Some(bias) => {
                let sums = sums.iter().zip(&bias[columns]);
                y.iter_mut().zip(sums).for_each(|(y, (sum, bias))| _ = y.write(round(self.scale * sum + bias)));
            }
            None => y.iter_mut().zip(sums).for_each(|(y, sum)| _ = y.write(round(self.scale * sum))),
        }
    }
}
