//! Strided f32 products: a checked face of the `gemm` crate.

use gemm::Parallelism;

use crate::Precision;

/// A strided f32 matrix: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    data: &'a [f32],
    shape: Shape,
}

/// A strided f32 matrix to write to: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Debug)]
pub struct ViewMut<'a> {
    data: &'a mut [f32],
    shape: Shape,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// `c = scale · a b`, or `c += scale · a b` if `accumulate`. a: `[m, k]`, b: `[k, n]`, c: `[m, n]`.
///
/// With `threads`, large products are spread over the global rayon pool; without, all work is done by the
/// caller, who may be one of many tasks in that pool. Under [`Precision::Bf16`] a and b may be rounded to bf16, where
/// the CPU is faster that way.
///
/// # Panics
/// If the shapes do not fit together.
pub fn gemm(
    scale: f32,
    a: View<'_>,
    b: View<'_>,
    c: ViewMut<'_>,
    accumulate: bool,
    threads: bool,
    _precision: Precision,
) {
    sgemm(scale, a, b, c, accumulate, threads);
}

/// `c = scale · a b`, or `c += scale · a b` if `accumulate`. a: `[m, k]`, b: `[k, n]`, c: `[m, n]`.
///
/// With `threads`, large products are spread over the global rayon pool; without, all work is done by the
/// caller, who may be one of many tasks in that pool.
///
/// # Panics
/// If the shapes do not fit together.
pub fn sgemm(scale: f32, a: View<'_>, b: View<'_>, c: ViewMut<'_>, accumulate: bool, threads: bool) {
    let (m, k, n) = (a.shape.rows, a.shape.cols, b.shape.cols);
    assert!(
        b.shape.rows == k && c.shape.rows == m && c.shape.cols == n,
        "[{m}, {k}] by [{}, {n}] into [{}, {}] is no matrix product",
        b.shape.rows,
        c.shape.rows,
        c.shape.cols
    );
    let parallelism = if threads { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: a `View` reaches no element outside its slice (`Shape::new`), strides are at most the slice's
    // length and so fit in isize, and c, borrowed mutably, overlaps neither a nor b nor itself (`ViewMut::new`).
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.data.as_mut_ptr(),
            c.shape.col_stride as isize,
            c.shape.row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.shape.col_stride as isize,
            a.shape.row_stride as isize,
            b.data.as_ptr(),
            b.shape.col_stride as isize,
            b.shape.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

impl<'a> View<'a> {
    /// The matrix with the given strides, in elements.
    ///
    /// # Panics
    /// If an element lies outside `data`.
    pub fn new(data: &'a [f32], [rows, cols]: [usize; 2], [row_stride, col_stride]: [usize; 2]) -> Self {
        let shape = Shape::new(data.len(), [rows, cols], [row_stride, col_stride]);
        View { data, shape }
    }

    /// The contiguous row-major matrix.
    ///
    /// # Panics
    /// If an element lies outside `data`.
    pub fn rows(data: &'a [f32], [rows, cols]: [usize; 2]) -> Self {
        View::new(data, [rows, cols], [cols, 1])
    }

    /// The transpose, of the same elements.
    pub fn t(self) -> Self {
        let Shape { rows, cols, row_stride, col_stride } = self.shape;
        let shape = Shape { rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride };
        View { shape, ..self }
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
}

impl Shape {
    fn new(len: usize, [rows, cols]: [usize; 2], [row_stride, col_stride]: [usize; 2]) -> Self {
        if rows == 0 || cols == 0 {
            return Shape { rows, cols, row_stride: 0, col_stride: 0 };
        }
        // A stride that no element uses may be anything; all others are below the slice's length.
        let row_stride = if rows == 1 { row_stride.min(len) } else { row_stride };
        let col_stride = if cols == 1 { col_stride.min(len) } else { col_stride };
        let last =
            (rows - 1).checked_mul(row_stride).and_then(|last| last.checked_add((cols - 1).checked_mul(col_stride)?));
        assert!(
            last.is_some_and(|last| last < len),
            "a [{rows}, {cols}] matrix with strides [{row_stride}, {col_stride}] does not fit in {len} elements"
        );
        Shape { rows, cols, row_stride, col_stride }
    }
}
