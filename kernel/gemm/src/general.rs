//! Products of strided f32 matrices, by the kernels of this crate or the `gemm` crate.

use std::mem::MaybeUninit;

use gemm::Parallelism;

use crate::Precision;
use crate::dispatch::Cpu;
use crate::output::{Ending, Output};
use crate::product::{Dims, Product};
use crate::source::{Contract, Factor, Stored};
use crate::view::{Shape, View, ViewMut};

/// `c = scale · a b`, or `c += scale · a b` if `accumulate`. a: `[m, k]`, b: `[k, n]`, c: `[m, n]`.
///
/// With `threads`, large products are spread over the global rayon pool; without, all work is done by the
/// caller, who may be one of many tasks in that pool. Under [`Precision::Bf16`], a and b are rounded to bf16 if that
/// makes the product faster on this CPU; whether it does depends on the shapes, but not on the elements.
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
    precision: Precision,
) {
    on(Cpu::detect(), scale, a, b, c, accumulate, threads, precision);
}

#[expect(clippy::too_many_arguments, reason = "one call site, and the tests")]
pub(crate) fn on(
    cpu: Cpu,
    scale: f32,
    a: View<'_>,
    b: View<'_>,
    c: ViewMut<'_>,
    accumulate: bool,
    threads: bool,
    precision: Precision,
) {
    let (m, k, n) = (a.shape.rows, a.shape.cols, b.shape.cols);
    assert!(
        b.shape.rows == k && c.shape.rows == m && c.shape.cols == n,
        "[{m}, {k}] by [{}, {n}] into [{}, {}] is no matrix product",
        b.shape.rows,
        c.shape.rows,
        c.shape.cols
    );
    if precision == Precision::Bf16 && c.shape.col_stride != 1 && c.shape.row_stride == 1 {
        return on(cpu, scale, b.t(), a.t(), c.t(), accumulate, threads, precision);
    }
    if precision == Precision::Bf16
        && c.shape.col_stride == 1
        && let (Some(x), Some(w)) = (factor(a), factor(b.t()))
    {
        let dims = Dims { rows: m, width: n, depth: k, rank: 0 };
        let y = Output::new(uninit(&mut *c.data), m, n, c.shape.row_stride);
        let ending = Ending { scale, bias: None, accumulate };
        let product = Product { x, h: Stored::default(), make_h: None, dims, y, ending, precision, threads };
        if product.rounding_pays(w.contract, cpu) {
            return product.with_stored(w, Stored::default(), cpu);
        }
    }
    sgemm(scale, a, b, c, accumulate, threads);
}

/// As [`gemm`], in f32.
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
    // SAFETY: a view reaches no element outside its slice (`Shape::new`), strides are at most the slice's
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

/// The matrix as an operand with contiguous rows; none if neither its rows nor its columns are contiguous.
fn factor(a: View<'_>) -> Option<Factor<Stored<'_, f32>>> {
    let Shape { row_stride, col_stride, .. } = a.shape;
    let (stride, contract) = match (row_stride, col_stride) {
        (stride, 1) => (stride, Contract::RowElements),
        (1, stride) => (stride, Contract::Rows),
        _ => return None,
    };
    Some(Factor { source: Stored { data: a.data, stride }, contract })
}

pub(crate) fn uninit(data: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: the types have the same layout, and this crate writes nothing but floats through the result.
    unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr().cast(), data.len()) }
}
