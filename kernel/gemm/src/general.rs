//! Products of strided matrices, by the kernels of this crate or, small ones in f32, by the `gemm` crate.

use std::mem::MaybeUninit;

use gemm::Parallelism;

use crate::dispatch::Cpu;
use crate::output::{Ending, Output};
use crate::product::{Dims, Product};
use crate::source::{Contract, Factor, Rows, Stored};
use crate::view::{Shape, View, ViewMut};
use crate::{Activations, Precision};

/// `c = scale · a b`, or `c += scale · a b` if `accumulate`. a: `[m, k]`, b: `[k, n]`, c: `[m, n]`.
///
/// With `threads`, large products are spread over the global rayon pool; without, all work is done by the
/// caller, who may be one of many tasks in that pool. Under [`Precision::Bf16`], a and b are rounded to bf16 if that
/// makes the product faster on this CPU; whether it does depends on the shapes, but not on the elements.
///
/// # Panics
/// If the shapes do not fit together, or an operand is bf16 and neither rows nor columns of c are contiguous.
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
    if c.shape.col_stride != 1 && c.shape.row_stride == 1 {
        return on(cpu, scale, b.t(), a.t(), c.t(), accumulate, threads, precision);
    }
    let is_narrow = [a, b].iter().any(|view| matches!(view.data, Activations::Bf16(_)));
    if let (Some(x), Some(w)) = (factor(a), factor(b.t()))
        && c.shape.col_stride == 1
    {
        let dims = Dims { rows: m, width: n, depth: k, rank: 0 };
        let y = Output::new(uninit(&mut *c.data), m, n, c.shape.row_stride);
        let ending = Ending { scale, bias: None, accumulate };
        let product = Product { x, h: Stored::default(), make_h: None, dims, y, ending, precision, threads };
        if threads || is_narrow || product.rounding_pays(w.contract, cpu) {
            return product.with_rows(w, cpu);
        }
    }
    let (Activations::F32(a_data), Activations::F32(b_data)) = (a.data, b.data) else {
        panic!("operands of bf16 with an output whose rows and columns both have strides")
    };
    by_the_gemm_crate(scale, (a_data, a.shape), (b_data, b.shape), c, accumulate, threads);
}

/// The product of f32 matrices of any strides.
fn by_the_gemm_crate(
    scale: f32,
    (a, a_shape): (&[f32], Shape),
    (b, b_shape): (&[f32], Shape),
    c: ViewMut<'_>,
    accumulate: bool,
    threads: bool,
) {
    let parallelism = if threads { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: a view reaches no element outside its slice (`Shape::new`), strides are at most the slice's
    // length and so fit in isize, and c, borrowed mutably, overlaps neither a nor b nor itself (`ViewMut::new`).
    unsafe {
        gemm::gemm(
            a_shape.rows,
            b_shape.cols,
            a_shape.cols,
            c.data.as_mut_ptr(),
            c.shape.col_stride as isize,
            c.shape.row_stride as isize,
            accumulate,
            a.as_ptr(),
            a_shape.col_stride as isize,
            a_shape.row_stride as isize,
            b.as_ptr(),
            b_shape.col_stride as isize,
            b_shape.row_stride as isize,
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
fn factor(a: View<'_>) -> Option<Factor<Rows<'_>>> {
    let Shape { row_stride, col_stride, .. } = a.shape;
    let (stride, contract) = match (row_stride, col_stride) {
        (stride, 1) => (stride, Contract::RowElements),
        (1, stride) => (stride, Contract::Rows),
        _ => return None,
    };
    Some(Factor { source: Rows::new(a.data, stride), contract })
}

pub(crate) fn uninit(data: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: the types have the same layout, and this crate writes nothing but floats through the result.
    unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr().cast(), data.len()) }
}
