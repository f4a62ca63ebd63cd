//! The matmuls of a linear layer, with what is added to them.

use crate::cpu::Cpu;
use crate::epilogue::Epilogue;
use crate::output::{Output, OutputMut};
use crate::precision::Precision;
use crate::product::{Dims, LoraDown, Product};
use crate::source::{Factor, Major, Rows, Stored};
use crate::view::View;
use crate::weights::WeightView;

/// `y = x w + bias`, and a low-rank product added to it: with `w` the transpose of a layer's weight its forward pass,
/// with the weight itself the gradient of its input. All of y is written, and none of it read before.
///
/// ```
/// use std::mem::MaybeUninit;
/// use tunebook_gemm::{Activations, Matmul, OutputMut, Precision, View, WeightView, Weights};
///
/// let (x, weight) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
/// let mut y = [MaybeUninit::uninit(); 6];
/// Matmul {
///     x: View::rows(&x, [2, 2]),
///     w: WeightView::rows(Weights::F32(&weight), [3, 2]).t(),
///     bias: None,
///     low_rank: None,
///     y: OutputMut::F32(&mut y),
///     precision: Precision::F32,
/// }
/// .run();
/// // SAFETY: `run` has written all of it.
/// assert_eq!(y.map(|y| unsafe { y.assume_init() }), [1.0, 2.0, 3.0, 3.0, 4.0, 7.0]);
/// ```
pub struct Matmul<'a> {
    /// `[m, k]`; its rows or its columns are contiguous.
    pub x: View<'a>,
    /// `[k, n]`.
    pub w: WeightView<'a>,
    /// `[n]`, added to each row.
    pub bias: Option<&'a [f32]>,
    pub low_rank: Option<LowRank<'a>>,
    /// `[m, n]`.
    pub y: OutputMut<'a>,
    pub precision: Precision,
}

/// A product of two thin f32 matrices that is added to a [`Matmul`], and formed with its precision: LoRA's second
/// matmul becomes part of the first one. The factors lie in memory as w does: both are transposes of row-major matrices
/// where w is, and row-major where w is.
#[derive(Debug)]
pub enum LowRank<'a> {
    /// `y += h up`.
    Given {
        /// `[m, r]`, row-major.
        h: View<'a>,
        /// `[r, n]`.
        up: View<'a>,
    },
    /// `h = scaling · x down`, for which x is packed once for both matmuls, and `y += h up`: a LoRA pair, or the pair
    /// the other way round in the backward pass.
    Lora {
        /// `[k, r]`.
        down: View<'a>,
        /// `[r, n]`.
        up: View<'a>,
        scaling: f32,
        /// `[m, r]`, row-major; all of it is written.
        h: &'a mut [f32],
    },
}

impl Matmul<'_> {
    /// Computes y, and h if it is to be computed.
    ///
    /// # Panics
    /// If shapes do not fit together, or an operand does not lie in memory as its field says.
    pub fn run(self) {
        self.run_on(Cpu::detect());
    }

    pub(crate) fn run_on(self, cpu: Cpu) {
        let Matmul { x, w, bias, low_rank, y, precision } = self;
        let ([rows, depth], [w_depth, width]) = (x.dims(), w.dims());
        assert!(depth == w_depth, "[{rows}, {depth}] by [{w_depth}, {width}] is no matrix product");
        check_len(y.len(), [rows, width], "y");
        if let Some(bias) = bias {
            check_len(bias.len(), [1, width], "bias");
        }
        let w = w.factor();
        let (mut h, mut lora_down, mut rank, mut b) = (Stored::default(), None, 0, Stored::default());
        match low_rank {
            None => {}
            Some(LowRank::Given { h: given, up }) => {
                rank = given.dims()[1];
                h = thin(given, [rows, rank], Major::K, "h");
                b = thin(up.t(), [width, rank], w.major, "up");
            }
            Some(LowRank::Lora { down, up, scaling, h }) => {
                rank = down.dims()[1];
                check_len(h.len(), [rows, rank], "h");
                let a = thin(down.t(), [rank, depth], w.major, "down");
                lora_down = Some(LoraDown { a, scaling, h });
                b = thin(up.t(), [width, rank], w.major, "up");
            }
        }
        let Some(x) = Factor::<Rows>::of(x) else { panic!("neither rows nor columns of x are contiguous") };
        let product = Product {
            x,
            h,
            lora_down,
            dims: Dims { rows, width, depth, rank },
            y: Output::contiguous(y, rows, width),
            epilogue: Epilogue { alpha: 1.0, bias, accumulate: false },
            precision,
            threads: true,
        };
        product.multiply(w, b, cpu);
    }
}

fn check_len(len: usize, [rows, cols]: [usize; 2], name: &str) {
    assert!(rows.checked_mul(cols) == Some(len), "{name} has {len} elements where [{rows}, {cols}] was announced");
}

/// The elements of a thin f32 operand, `[free, contracted]`, that is to lie as `major` says.
fn thin<'a>(operand: View<'a>, expected: [usize; 2], major: Major, name: &str) -> Stored<'a, f32> {
    assert!(operand.dims() == expected, "{name}, or its transpose, is {:?} instead of {expected:?}", operand.dims());
    match Factor::<Rows>::lying(operand, major) {
        Some(Factor { source: Rows::F32(stored), .. }) => stored,
        _ => panic!("{name} is not f32 that lies in memory as w does"),
    }
}
