//! A row-major matrix that several threads write, each to places of its own.

use std::marker::PhantomData;
use std::ops::Range;

pub(crate) struct Output<'a> {
    start: *mut f32,
    rows: usize,
    width: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for the `&mut [f32]` that it was made of, whose parts may go to other threads; `row` obliges
// its callers to keep those parts disjoint.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    /// The matrix with rows of `width` elements in `data`.
    pub(crate) fn new(data: &'a mut [f32], width: usize) -> Self {
        Output { start: data.as_mut_ptr(), rows: data.len() / width.max(1), width, lifetime: PhantomData }
    }

    /// A part of a row.
    ///
    /// # Safety
    /// While the result is in use, no other one may be that has an element in common with it.
    #[expect(clippy::mut_from_ref, reason = "disjoint parts are the point, and the caller's duty")]
    pub(crate) unsafe fn row(&self, row: usize, columns: Range<usize>) -> &mut [f32] {
        assert!(row < self.rows && columns.start <= columns.end && columns.end <= self.width);
        // SAFETY: the part lies within the slice this was made of (just checked), which nothing else can reach
        // during `'a`; the caller keeps parts disjoint.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.width + columns.start), columns.len()) }
    }
}
