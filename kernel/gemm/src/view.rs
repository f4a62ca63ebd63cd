//! Strided matrices, checked when they are made.

use half::bf16;

/// The elements of activations or their gradients.
#[derive(Clone, Copy, Debug)]
pub enum Activations<'a> {
    /// As they were computed.
    F32(&'a [f32]),
    /// Rounded, as matmuls of bf16 read them.
    Bf16(&'a [bf16]),
}

impl Activations<'_> {
    /// The number of elements.
    pub fn len(&self) -> usize {
        match self {
            Activations::F32(x) => x.len(),
            Activations::Bf16(x) => x.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A strided matrix: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub(crate) data: Activations<'a>,
    pub(crate) shape: Shape,
}

/// A strided f32 matrix to write to: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Debug)]
pub struct ViewMut<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) shape: Shape,
}

/// Sizes and strides, such that every element lies within the slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl<'a> View<'a> {
    /// The matrix with the given strides, in elements.
    ///
    /// # Panics
    /// If an element lies outside `data`.
    pub fn new(data: &'a [f32], [rows, cols]: [usize; 2], [row_stride, col_stride]: [usize; 2]) -> Self {
        let shape = Shape::new(data.len(), [rows, cols], [row_stride, col_stride]);
        View { data: Activations::F32(data), shape }
    }

    /// The contiguous row-major matrix.
    ///
    /// # Panics
    /// If an element lies outside `data`.
    pub fn rows(data: &'a [f32], [rows, cols]: [usize; 2]) -> Self {
        View::new(data, [rows, cols], [cols, 1])
    }

    /// The contiguous row-major matrix of activations, rounded or not.
    ///
    /// # Panics
    /// If an element lies outside `data`.
    pub fn of_activations(data: Activations<'a>, [rows, cols]: [usize; 2]) -> Self {
        let shape = Shape::new(data.len(), [rows, cols], [cols, 1]);
        View { data, shape }
    }

    /// The transpose, of the same elements.
    pub fn t(self) -> Self {
        View { shape: self.shape.t(), ..self }
    }

    /// Rows and columns.
    pub fn dims(self) -> [usize; 2] {
        [self.shape.rows, self.shape.cols]
    }
}

impl<'a> ViewMut<'a> {
    /// The matrix with the given strides, in elements.
    ///
    /// # Panics
    /// If an element lies outside `data`, or two elements share a place.
    pub fn new(data: &'a mut [f32], [rows, cols]: [usize; 2], [row_stride, col_stride]: [usize; 2]) -> Self {
        let shape = Shape::new(data.len(), [rows, cols], [row_stride, col_stride]);
        let apart = |outer: usize, inner: usize, inner_len: usize| inner >= 1 && outer / inner >= inner_len;
        assert!(
            rows <= 1 || cols <= 1 || apart(row_stride, col_stride, cols) || apart(col_stride, row_stride, rows),
            "strides [{row_stride}, {col_stride}] make elements of a [{rows}, {cols}] output overlap"
        );
        assert!(rows <= 1 || row_stride >= 1, "a row stride of 0 makes the rows of an output overlap");
        assert!(cols <= 1 || col_stride >= 1, "a column stride of 0 makes the columns of an output overlap");
        ViewMut { data, shape }
    }

    /// The contiguous row-major matrix.
    ///
    /// # Panics
    /// If an element lies outside `data`.
    pub fn rows(data: &'a mut [f32], [rows, cols]: [usize; 2]) -> Self {
        ViewMut::new(data, [rows, cols], [cols, 1])
    }

    /// The transpose, of the same elements.
    pub fn t(self) -> Self {
        ViewMut { shape: self.shape.t(), ..self }
    }
}

impl Shape {
    pub(crate) fn new(len: usize, [rows, cols]: [usize; 2], [row_stride, col_stride]: [usize; 2]) -> Self {
        if rows == 0 || cols == 0 {
            return Shape { rows, cols, row_stride: 0, col_stride: 0 };
        }
        // A stride that no element uses may be anything; all others are below the slice's length.
        let row_stride = if rows == 1 { cols } else { row_stride };
        let col_stride = if cols == 1 { 1 } else { col_stride };
        let last =
            (rows - 1).checked_mul(row_stride).and_then(|last| last.checked_add((cols - 1).checked_mul(col_stride)?));
        assert!(
            last.is_some_and(|last| last < len),
            "a [{rows}, {cols}] matrix with strides [{row_stride}, {col_stride}] does not fit in {len} elements"
        );
        Shape { rows, cols, row_stride, col_stride }
    }

    fn t(self) -> Self {
        let Shape { rows, cols, row_stride, col_stride } = self;
        Shape { rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride }
    }
}
