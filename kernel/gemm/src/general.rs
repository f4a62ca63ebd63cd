//! Matmuls of strided matrices, by the kernels of this crate or, in f32 on one thread, by the `gemm` crate: the latter
//! takes any strides, and the small matmuls of attention's tasks need no kernels of our own.

use gemm::Parallelism;

use crate::cpu::Cpu;
use crate::epilogue::Epilogue;
use crate::output::Output;
use crate::precision::Precision;
use crate::product::{Dims, Product};
use crate::scratch::uninit;
use crate::source::{Factor, Rows, Stored};
use crate::view::{Activations, View, ViewMut};

/// `c = alpha · a b`, or `c += alpha · a b`.
pub struct Gemm<'a> {
    /// `[m, k]`.
    pub a: View<'a>,
    /// `[k, n]`.
    pub b: View<'a>,
    /// `[m, n]`.
    pub c: ViewMut<'a>,
    pub alpha: f32,
    pub accum: Accum,
    pub par: Par,
    /// Under [`Precision::Bf16`], a and b are rounded to bf16 if that makes the matmul faster on this CPU; whether it
    /// does depends on the shapes, but not on the elements.
    pub precision: Precision,
}

/// What becomes of the elements that an output has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accum {
    /// They are overwritten.
    Replace,
    /// They are added to.
    Add,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Par {
    /// The caller alone, who may be one of many tasks in the rayon pool.
    Seq,
    /// The global rayon pool, if there is work enough.
    Rayon,
}

impl Gemm<'_> {
    /// Computes c.
    ///
    /// # Panics
    /// If the shapes do not fit together, or an operand is bf16 and neither rows nor columns of c are contiguous.
    pub fn run(self) {
        self.run_on(Cpu::detect());
    }

    pub(crate) fn run_on(self, cpu: Cpu) {
        let Gemm { a, b, alpha, precision, .. } = self;
        let ([m, k], [b_rows, n], c) = (a.dims(), b.dims(), self.c.shape);
        assert!(
            b_rows == k && c.rows == m && c.cols == n,
            "[{m}, {k}] by [{b_rows}, {n}] into [{}, {}] is no matrix product",
            c.rows,
            c.cols
        );
        if c.col_stride != 1 && c.row_stride == 1 {
            return Gemm { a: b.t(), b: a.t(), c: self.c.t(), ..self }.run_on(cpu);
        }
        let (threads, accumulate) = (self.par == Par::Rayon, self.accum == Accum::Add);
        let is_narrow = [a, b].iter().any(|view| matches!(view.data, Activations::Bf16(_)));
        if let (Some(x), Some(w)) = (Factor::<Rows>::of(a), Factor::<Rows>::of(b.t()))
            && c.col_stride == 1
        {
            let dims = Dims { rows: m, width: n, depth: k, rank: 0 };
            let y = Output::new(uninit(&mut *self.c.data), m, n, c.row_stride);
            let epilogue = Epilogue { alpha, bias: None, accumulate };
            let product = Product { x, h: Stored::default(), lora_down: None, dims, y, epilogue, precision, threads };
            if threads || is_narrow || product.rounding_pays(w.major, cpu) {
                return product.multiply_rows(w, cpu);
            }
        }
        self.by_the_gemm_crate();
    }

    /// f32 matrices of any strides.
    fn by_the_gemm_crate(self) {
        let Gemm { a, b, c, alpha, .. } = self;
        let (Activations::F32(a_data), Activations::F32(b_data)) = (a.data, b.data) else {
            panic!("operands of bf16 with an output whose rows and columns both have strides")
        };
        let parallelism = if self.par == Par::Rayon { Parallelism::Rayon(0) } else { Parallelism::None };
        // SAFETY: a view reaches no element outside its slice (`Shape::new`), strides are at most the slice's
        // length and so fit in isize, and c, borrowed mutably, overlaps neither a nor b nor itself (`ViewMut::new`).
        unsafe {
            gemm::gemm(
                a.shape.rows,
                b.shape.cols,
                a.shape.cols,
                c.data.as_mut_ptr(),
                c.shape.col_stride as isize,
                c.shape.row_stride as isize,
                self.accum == Accum::Add,
                a_data.as_ptr(),
                a.shape.col_stride as isize,
                a.shape.row_stride as isize,
                b_data.as_ptr(),
                b.shape.col_stride as isize,
                b.shape.row_stride as isize,
                1.0,
                alpha,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}
