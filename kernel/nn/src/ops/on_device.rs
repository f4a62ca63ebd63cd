//! The same operations for tensors that do not lie in CPU memory, out of candle's own, which have kernels for a device.
//!
//! Each is the formula of its namesake, whose checks have been made, and on one device with all its operands. Where a
//! sum is changed in place, the device writes the new values over the old ones. Attention and the head have files of
//! their own.
//!
//! What trains is a `Var`, and candle keeps every value that is computed from one for its own backward pass. So operands
//! that may be one are detached from it.

use std::f64::consts::{FRAC_1_SQRT_2, TAU};

use candle_core::{DType, Result, Tensor};
use tunebook_gemm::Precision;

use super::activation::{Activation, QUICK, TANH, TANH_CUBIC};
use super::linear::LowRank;

/// Whether an operation on `x` is one of these.
pub(super) fn is_on_device(x: &Tensor) -> bool {
    #[cfg(test)]
    if super::testing::as_on_device() {
        return true;
    }
    !x.device().is_cpu()
}

/// What the operands of a matmul are rounded to.
pub(crate) fn operand_dtype(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
    }
}

/// a bᵀ, of matrices or batches of them.
pub(super) fn product_nt(a: &Tensor, b: &Tensor, precision: Precision) -> Result<Tensor> {
    product(a, b, precision, |a, b| a.matmul(&b.t()?))
}

/// a b.
pub(super) fn product_nn(a: &Tensor, b: &Tensor, precision: Precision) -> Result<Tensor> {
    product(a, b, precision, |a, b| a.matmul(b))
}

/// aᵀ b.
pub(super) fn product_tn(a: &Tensor, b: &Tensor, precision: Precision) -> Result<Tensor> {
    product(a, b, precision, |a, b| a.t()?.matmul(b))
}

fn product(
    a: &Tensor,
    b: &Tensor,
    precision: Precision,
    multiply: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let dtype = operand_dtype(precision);
    let operand = |x: &Tensor| x.detach().to_dtype(dtype)?.contiguous();
    multiply(&operand(a)?, &operand(b)?)?.to_dtype(DType::F32)
}

/// sum += value, in place.
pub(super) fn accumulate(sum: &Tensor, value: &Tensor) -> Result<()> {
    sum.slice_set(&(sum + value)?, 0, 0)
}

pub(super) fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    low_rank: Option<LowRank>,
    precision: Precision,
) -> Result<Tensor> {
    let mut y = product_nt(x, weight, precision)?;
    if let Some(LowRank { h, factor }) = low_rank {
        y = (y + product_nt(h, factor, precision)?)?;
    }
    add_bias(y, bias)
}

fn add_bias(y: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        Some(bias) => y.broadcast_add(&bias.detach()),
        None => Ok(y),
    }
}

pub(super) fn linear_backward(
    dy: &Tensor,
    weight: &Tensor,
    low_rank: Option<LowRank>,
    precision: Precision,
) -> Result<Tensor> {
    let dx = product_nn(dy, weight, precision)?;
    match low_rank {
        Some(LowRank { h, factor }) => dx + product_nn(h, factor, precision)?,
        None => Ok(dx),
    }
}

/// x / sqrt(mean(x²) + eps), and 1 / sqrt(mean(x²) + eps) of each row.
fn normed(x: &Tensor, eps: f32) -> Result<(Tensor, Tensor)> {
    let root = (x.sqr()?.mean_keepdim(1)? + f64::from(eps))?.sqrt()?.recip()?;
    Ok((x.broadcast_mul(&root)?, root))
}

pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    candle_nn::ops::rms_norm(&x.contiguous()?, &weight.detach(), eps)
}

/// With n = x r: dx = r (g - n mean(g n)).
pub(super) fn rms_norm_backward(x: &Tensor, weight: &Tensor, eps: f32, dy: &Tensor) -> Result<Tensor> {
    let (normed, root) = normed(x, eps)?;
    let g = dy.broadcast_mul(&weight.detach())?;
    let slope = (&g * &normed)?.mean_keepdim(1)?;
    (g - normed.broadcast_mul(&slope)?)?.broadcast_mul(&root)
}

pub(super) fn add_rms_norm_gradient(sum: &Tensor, x: &Tensor, eps: f32, dy: &Tensor) -> Result<()> {
    accumulate(sum, &(dy * normed(x, eps)?.0)?.sum(0)?)
}

/// (x - mean(x)) / sqrt(var(x) + eps), and 1 / sqrt(var(x) + eps) of each row.
fn centred(x: &Tensor, eps: f32) -> Result<(Tensor, Tensor)> {
    normed(&x.broadcast_sub(&x.mean_keepdim(1)?)?, eps)
}

pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    candle_nn::ops::layer_norm(&x.contiguous()?, &weight.detach(), &bias.detach(), eps)
}

/// With n = (x - mean(x)) r: dx = r (g - mean(g) - n mean(g n)).
pub(super) fn layer_norm_backward(x: &Tensor, weight: &Tensor, eps: f32, dy: &Tensor) -> Result<Tensor> {
    let (normed, root) = centred(x, eps)?;
    let g = dy.broadcast_mul(&weight.detach())?;
    let slope = (&g * &normed)?.mean_keepdim(1)?;
    let g = g.broadcast_sub(&g.mean_keepdim(1)?)?;
    (g - normed.broadcast_mul(&slope)?)?.broadcast_mul(&root)
}

pub(super) fn add_layer_norm_gradient(sum: &Tensor, x: &Tensor, eps: f32, dy: &Tensor) -> Result<()> {
    accumulate(sum, &(dy * centred(x, eps)?.0)?.sum(0)?)
}

/// The pairs of all heads turned by the angles of these cosines and sines, `[T, head_dim / 2]`.
pub(super) fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let head_dim = 2 * cos.dim(1)?;
    let heads = x.contiguous()?.reshape((1, rows, width / head_dim, head_dim))?;
    candle_nn::rotary_emb::rope_thd(&heads, cos, sin)?.reshape((rows, width))
}

pub(super) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()? * up
}

pub(super) fn swiglu_backward(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<[Tensor; 2]> {
    let s = candle_nn::ops::sigmoid(gate)?;
    let activated = (gate * &s)?;
    // s (1 + gate (1 - s)) = s + activated (1 - s).
    let slope = (&s + (&activated * s.affine(-1.0, 1.0)?)?)?;
    Ok([((dy * up)? * slope)?, (dy * activated)?])
}

pub(super) fn activation(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::QuickGelu => x * candle_nn::ops::sigmoid(&(x * f64::from(QUICK))?)?,
    }
}

pub(super) fn activation_backward(activation: Activation, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let (u, du) = match activation {
        Activation::Gelu => {
            let below = (x * FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)?;
            let density = ((x.sqr()? * -0.5)?.exp()? / TAU.sqrt())?;
            return dy * (below + (x * density)?)?;
        }
        Activation::GeluTanh => {
            let square = x.sqr()?;
            (
                (x * square.affine(f64::from(TANH_CUBIC), f64::from(TANH))?)?,
                square.affine(3.0 * f64::from(TANH_CUBIC), f64::from(TANH))?,
            )
        }
        Activation::QuickGelu => ((x * f64::from(QUICK))?, x.ones_like()?.affine(f64::from(QUICK), 0.0)?),
    };
    let s = candle_nn::ops::sigmoid(&u)?;
    let rest = (((x * &s)? * s.affine(-1.0, 1.0)?)? * du)?;
    dy * (s + rest)?
}

pub(super) fn scale_columns(z: &Tensor, factors: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    add_bias(z.broadcast_mul(&factors.detach())?, bias)
}

/// ‖W + scaling · B A‖, row by row.
pub(super) fn dora_norms(weight: &Tensor, a: &Tensor, b: &Tensor, scaling: f32) -> Result<Tensor> {
    (weight + (product_nn(b, a, Precision::F32)? * f64::from(scaling))?)?.sqr()?.sum(1)?.sqrt()
}

/// `rows[i]` is where row i of `values` is added.
pub(super) fn add_rows(sum: &Tensor, rows: &[u32], values: &Tensor) -> Result<()> {
    let rows = Tensor::new(rows, sum.device())?;
    accumulate(sum, &sum.zeros_like()?.index_add(&rows, values, 0)?)
}
