//! A linear layer. Its input, and the gradient of its output, may be [`rounded`](mod@super::rounded), and so may the
//! result, whose dtype is said.
//!
//! [`lora_linear`] and its backward pass compute both matmuls of a LoRA pair from one packed x (or dy), unless an
//! initial adapter (PiSSA) or dropout comes between them. h is as narrow as the rank: the forward pass keeps it, so
//! that the backward pass need not compute it again. A result in bf16 is rounded once: its sums are f32 in the L2 cache
//! first, or in memory where tiles or a few rows are multiplied, which round all sums at the end.

use candle_core::{DType, Result, Tensor};
use half::bf16;
use tunebook_gemm::{Matmul, OutputMut, Precision, View};

use super::buffer::{
    borrow, borrow_operand, expect_operand, expect_shape, expect_vector, matrix, operand_sizes, overwrite, tensor,
};
use super::error::OpError;
use super::lora::{lora_down, lora_factor_backward};
use super::on_device::{self, is_on_device};
use super::weight::Weight;

const OP: &str = "linear";

/// What a low-rank adapter adds to a matmul as it is written.
#[derive(Clone, Copy)]
pub struct LowRank<'a> {
    /// `[T, r]`.
    pub h: &'a Tensor,
    /// B, `[out, r]`, in the forward pass; A, `[r, in]`, in the backward pass.
    pub factor: &'a Tensor,
}

/// y = x Wᵀ + bias + h Bᵀ.
///
/// x is `[T, in]`, `weight` `[out, in]`, `bias` `[out]`, y `[T, out]`. Shapes that do not fit are an error.
pub fn linear<'a>(
    x: &Tensor,
    weight: impl Into<Weight<'a>>,
    bias: Option<&Tensor>,
    low_rank: Option<LowRank>,
    precision: Precision,
    dtype: DType,
) -> Result<Tensor> {
    let weight = weight.into();
    let [rows, outputs, inputs] = sizes(x, weight, bias)?;
    check_low_rank(low_rank, rows, ["h", "lora_B"], |rank| (outputs, rank))?;
    if is_on_device(x) {
        return on_device::linear(x, &weight.tensor(x.device(), precision)?, bias, low_rank, precision)?
            .to_dtype(dtype);
    }
    let x = x.contiguous()?;
    let x = borrow_operand(OP, "x", &x)?;
    let x = View::of_activations(x.elements(), [rows, inputs]);
    let bias = bias.map(|bias| borrow(OP, "bias", bias)).transpose()?;
    with_low_rank(
        low_rank,
        |b| b.t(),
        |low_rank| {
            weight.read(OP, |weight| {
                let (w, bias) = (weight.t(), bias.as_deref());
                // SAFETY: `Matmul` writes all of y.
                unsafe { new_matrix(dtype, rows, outputs, |y| Matmul { x, w, bias, low_rank, y, precision }.run()) }
            })
        },
    )
}

/// dx = dy W + dh A, with `low_rank` holding dh and A.
///
/// dy is `[T, out]`, dx `[T, in]`. Shapes that do not fit are an error.
pub fn linear_backward<'a>(
    dy: &Tensor,
    weight: impl Into<Weight<'a>>,
    low_rank: Option<LowRank>,
    precision: Precision,
    dtype: DType,
) -> Result<Tensor> {
    let weight = weight.into();
    let (outputs, inputs) = weight.shape(OP)?;
    let (rows, _) = operand_sizes(OP, "dy", dy)?;
    expect_operand(OP, "dy", dy, rows, outputs)?;
    check_low_rank(low_rank, rows, ["dh", "lora_A"], |rank| (rank, inputs))?;
    if is_on_device(dy) {
        let weight = weight.tensor(dy.device(), precision)?;
        return on_device::linear_backward(dy, &weight, low_rank, precision)?.to_dtype(dtype);
    }
    let dy = dy.contiguous()?;
    let dy = borrow_operand(OP, "dy", &dy)?;
    let x = View::of_activations(dy.elements(), [rows, outputs]);
    with_low_rank(
        low_rank,
        |a| a,
        |low_rank| {
            weight.read(OP, |w| {
                // SAFETY: `Matmul` writes all of dx.
                unsafe {
                    new_matrix(dtype, rows, inputs, |y| Matmul { x, w, bias: None, low_rank, y, precision }.run())
                }
            })
        },
    )
}

/// h = scaling · x Aᵀ and y = x Wᵀ + bias + h Bᵀ: [`lora_down`] and [`linear`] with one pass over x.
///
/// x is `[T, in]`, `weight` `[out, in]`, `bias` `[out]`, A `[r, in]`, B `[out, r]`, y `[T, out]`, h `[T, r]`. Shapes
/// that do not fit are an error.
pub fn lora_linear<'a>(
    x: &Tensor,
    weight: impl Into<Weight<'a>>,
    bias: Option<&Tensor>,
    [a, b]: [&Tensor; 2],
    scaling: f32,
    precision: Precision,
    dtype: DType,
) -> Result<(Tensor, Tensor)> {
    let weight = weight.into();
    let [rows, outputs, inputs] = sizes(x, weight, bias)?;
    let (rank, _) = matrix(OP, "lora_A", a)?;
    expect_shape(OP, "lora_A", a, rank, inputs)?;
    expect_shape(OP, "lora_B", b, outputs, rank)?;
    if is_on_device(x) {
        let h = lora_down(x, a, scaling, precision)?;
        return Ok((linear(x, weight, bias, Some(LowRank { h: &h, factor: b }), precision, dtype)?, h));
    }
    let x = x.contiguous()?;
    let (x, a, b) = (borrow_operand(OP, "x", &x)?, borrow(OP, "lora_A", a)?, borrow(OP, "lora_B", b)?);
    let bias = bias.map(|bias| borrow(OP, "bias", bias)).transpose()?;
    let x = View::of_activations(x.elements(), [rows, inputs]);
    let (down, up) = (View::rows(&a, [rank, inputs]).t(), View::rows(&b, [outputs, rank]).t());
    let mut h = vec![0f32; rows * rank];
    let y = weight.read(OP, |weight| {
        let (w, bias) = (weight.t(), bias.as_deref());
        let low_rank = Some(tunebook_gemm::LowRank::Lora { down, up, scaling, h: &mut h });
        // SAFETY: `Matmul` writes all of y.
        unsafe { new_matrix(dtype, rows, outputs, |y| Matmul { x, w, bias, low_rank, y, precision }.run()) }
    })?;
    Ok((y, tensor(h, rows, rank)?))
}

/// dh = scaling · dy B and dx = dy W + dh A: [`lora_factor_backward`] and [`linear_backward`] with one pass over dy.
///
/// dy is `[T, out]`, dx `[T, in]`, dh `[T, r]`. Shapes that do not fit are an error.
pub fn lora_linear_backward<'a>(
    dy: &Tensor,
    weight: impl Into<Weight<'a>>,
    [a, b]: [&Tensor; 2],
    scaling: f32,
    precision: Precision,
    dtype: DType,
) -> Result<(Tensor, Tensor)> {
    let weight = weight.into();
    let (outputs, inputs) = weight.shape(OP)?;
    let (rows, _) = operand_sizes(OP, "dy", dy)?;
    let (rank, _) = matrix(OP, "lora_A", a)?;
    expect_operand(OP, "dy", dy, rows, outputs)?;
    expect_shape(OP, "lora_A", a, rank, inputs)?;
    expect_shape(OP, "lora_B", b, outputs, rank)?;
    if is_on_device(dy) {
        let dh = lora_factor_backward(dy, b, scaling, precision)?;
        return Ok((linear_backward(dy, weight, Some(LowRank { h: &dh, factor: a }), precision, dtype)?, dh));
    }
    let dy = dy.contiguous()?;
    let (dy, a, b) = (borrow_operand(OP, "dy", &dy)?, borrow(OP, "lora_A", a)?, borrow(OP, "lora_B", b)?);
    let x = View::of_activations(dy.elements(), [rows, outputs]);
    let (down, up) = (View::rows(&b, [outputs, rank]), View::rows(&a, [rank, inputs]));
    let mut dh = vec![0f32; rows * rank];
    let dx = weight.read(OP, |w| {
        let low_rank = Some(tunebook_gemm::LowRank::Lora { down, up, scaling, h: &mut dh });
        // SAFETY: `Matmul` writes all of dx.
        unsafe { new_matrix(dtype, rows, inputs, |y| Matmul { x, w, bias: None, low_rank, y, precision }.run()) }
    })?;
    Ok((dx, tensor(dh, rows, rank)?))
}

/// A matrix of this dtype, f32 or bf16, whose elements `write` makes.
///
/// # Safety
/// `write` writes every element.
unsafe fn new_matrix(dtype: DType, rows: usize, columns: usize, write: impl FnOnce(OutputMut)) -> Result<Tensor> {
    // SAFETY: by the caller.
    unsafe {
        match dtype {
            DType::BF16 => {
                let mut values: Vec<bf16> = Vec::new();
                overwrite(&mut values, rows * columns, |values| write(OutputMut::Bf16(values)));
                tensor(values, rows, columns)
            }
            _ => {
                let mut values: Vec<f32> = Vec::new();
                overwrite(&mut values, rows * columns, |values| write(OutputMut::F32(values)));
                tensor(values, rows, columns)
            }
        }
    }
}

/// Rows, outputs and inputs of a layer; an error unless x and bias fit the weight.
fn sizes(x: &Tensor, weight: Weight, bias: Option<&Tensor>) -> Result<[usize; 3]> {
    let (outputs, inputs) = weight.shape(OP)?;
    let (rows, width) = operand_sizes(OP, "x", x)?;
    if width != inputs {
        let expected = format!("[{rows}, {inputs}] for a weight of [{outputs}, {inputs}]");
        return Err(OpError::Shape { op: OP, operand: "x", found: x.dims().to_vec(), expected }.into());
    }
    if let Some(bias) = bias {
        expect_vector(OP, "bias", bias, outputs)?;
    }
    Ok([rows, outputs, inputs])
}

/// An error unless h has `rows` rows, and the factor the shape that `factor_shape` gives for the rank.
fn check_low_rank(
    low_rank: Option<LowRank>,
    rows: usize,
    [h_name, factor_name]: [&'static str; 2],
    factor_shape: impl Fn(usize) -> (usize, usize),
) -> Result<()> {
    let Some(LowRank { h, factor }) = low_rank else { return Ok(()) };
    let (_, rank) = matrix(OP, h_name, h)?;
    expect_shape(OP, h_name, h, rows, rank)?;
    let (out, columns) = factor_shape(rank);
    expect_shape(OP, factor_name, factor, out, columns)
}

/// Runs `f` with the elements of a low-rank part, and the factor as `lies` has it.
fn with_low_rank<R>(
    low_rank: Option<LowRank>,
    lies: impl FnOnce(View) -> View,
    f: impl FnOnce(Option<tunebook_gemm::LowRank>) -> Result<R>,
) -> Result<R> {
    let Some(LowRank { h, factor }) = low_rank else { return f(None) };
    let ((rows, rank), (factor_rows, columns)) = (matrix(OP, "h", h)?, matrix(OP, "factor", factor)?);
    let (h, factor) = (borrow(OP, "h", h)?, borrow(OP, "factor", factor)?);
    let (h, up) = (View::rows(&h, [rows, rank]), lies(View::rows(&factor, [factor_rows, columns])));
    f(Some(tunebook_gemm::LowRank::Given { h, up }))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::testing::{both_ways, check, random};
    use super::super::{rounded, widened};
    use super::*;
    use crate::frozen::FrozenMatrix;

    #[test]
    fn value_and_gradient_equal_the_reference() {
        for (rows, inputs, outputs, with_bias) in [(1, 1, 1, false), (3, 7, 5, true), (2, 18, 9, false)] {
            let (w, b) = (random(1, outputs * inputs), random(2, outputs));
            let weight = FrozenMatrix::from_f32(&w, outputs, inputs);
            let bias = with_bias.then(|| Tensor::new(&b[..], &Device::Cpu).unwrap());
            let reference = |x: &[Vec<f64>]| {
                let out = |x: &[f64], o: usize| {
                    let product: f64 = x.iter().zip(&w[o * inputs..]).map(|(x, w)| x * f64::from(*w)).sum();
                    product + if with_bias { f64::from(b[o]) } else { 0.0 }
                };
                x[0].chunks(inputs).flat_map(|x| (0..outputs).map(move |o| out(x, o))).collect()
            };
            check(
                &[(rows, inputs)],
                |x| linear(&x[0], &weight, bias.as_ref(), None, Precision::F32, DType::F32),
                |_, dy| Ok(vec![linear_backward(dy, &weight, None, Precision::F32, DType::F32)?]),
                reference,
            );
        }
    }

    #[test]
    fn bf16_differs_from_f32_by_rounding_only() {
        let (rows, inputs, outputs) = (9, 64, 40);
        let weight = FrozenMatrix::from_f32(&random(1, outputs * inputs), outputs, inputs);
        let x = Tensor::from_vec(random(2, rows * inputs), (rows, inputs), &Device::Cpu).unwrap();
        let run = |precision| {
            let y = linear(&x, &weight, None, None, precision, DType::F32).unwrap();
            let dx = linear_backward(&y, &weight, None, precision, DType::F32).unwrap();
            [y, dx].map(|x| x.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        };
        for (exact, rounded) in run(Precision::F32).into_iter().zip(run(Precision::Bf16)) {
            let largest = exact.iter().fold(0f32, |m, v| m.max(v.abs()));
            let worst = exact.iter().zip(&rounded).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(worst > 0.0 && worst < 0.02 * largest, "{worst} of {largest}");
        }
    }

    #[test]
    fn rounded_operands_are_multiplied_as_they_are_and_results_rounded_once() {
        let (inputs, outputs, rank) = (70, 40, 3);
        let weight = FrozenMatrix::from_f32(&random(1, outputs * inputs), outputs, inputs);
        let tensor = |seed, rows, columns| {
            Tensor::from_vec(random(seed, rows * columns), (rows, columns), &Device::Cpu).unwrap()
        };
        let (a, b) = (tensor(2, rank, inputs), tensor(3, outputs, rank));
        // A few rows, as in an answer, and many.
        for rows in [2, 30] {
            let (x, dy) = (rounded(&tensor(4, rows, inputs)).unwrap(), rounded(&tensor(5, rows, outputs)).unwrap());
            let (wide_x, wide_dy) = (widened(&x).unwrap(), widened(&dy).unwrap());
            for results in both_ways(|| {
                let run = |x: &Tensor, dy: &Tensor, dtype| {
                    let (y, h) = lora_linear(x, &weight, None, [&a, &b], 0.5, Precision::Bf16, dtype).unwrap();
                    let (dx, dh) = lora_linear_backward(dy, &weight, [&a, &b], 0.5, Precision::Bf16, dtype).unwrap();
                    let alone = linear(x, &weight, None, None, Precision::Bf16, dtype).unwrap();
                    let dx_alone = linear_backward(dy, &weight, None, Precision::Bf16, dtype).unwrap();
                    [y, h, dx, dh, alone, dx_alone]
                };
                (run(&x, &dy, DType::BF16), run(&wide_x, &wide_dy, DType::F32))
            }) {
                for (narrow, wide) in results.0.iter().zip(&results.1) {
                    let wide = if narrow.dtype() == DType::BF16 { rounded(wide).unwrap() } else { wide.clone() };
                    let values = |x: &Tensor| widened(x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    assert_eq!(values(narrow), values(&wide));
                }
            }
        }
    }

    #[test]
    fn widths_that_do_not_fit_are_refused() {
        let weight = FrozenMatrix::from_f32(&random(1, 15), 5, 3);
        let x = Tensor::from_vec(random(3, 8), (2, 4), &Device::Cpu).unwrap();
        let message = linear(&x, &weight, None, None, Precision::F32, DType::F32).unwrap_err().to_string();
        assert!(message.contains("`x` has shape [2, 4], expected [2, 3] for a weight of [5, 3]"), "{message}");
        let message = linear_backward(&x, &weight, None, Precision::F32, DType::F32).unwrap_err().to_string();
        assert!(message.contains("`dy` has shape [2, 4], expected [2, 5]"), "{message}");
        let x = x.narrow(1, 1, 3).unwrap();
        let bias = Tensor::new(random(2, 4), &Device::Cpu).unwrap();
        let message = linear(&x, &weight, Some(&bias), None, Precision::F32, DType::F32).unwrap_err().to_string();
        assert!(message.contains("`bias` has shape [4], expected [5]"), "{message}");
        assert!(linear(&x, &weight, None, None, Precision::F32, DType::F32).is_ok(), "a view is made contiguous");
    }
}
