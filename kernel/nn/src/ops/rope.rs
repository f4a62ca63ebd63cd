//! Rotary position embedding.

use candle_core::{Result, Tensor};

use super::buffer::{borrow, expect_shape, matrix, new_rows, zeroed};
use super::error::OpError;
use super::on_device::{self, is_on_device};

const OP: &str = "rope";

/// The angles of each token, the same for every head.
#[derive(Clone, Debug)]
pub struct Rotary {
    /// `[T, head_dim / 2]`.
    pub cos: Tensor,
    /// `[T, head_dim / 2]`.
    pub sin: Tensor,
}

/// Rotates the pair (x_j, x_{j + head_dim/2}) of each head of each token by that token's angle j.
///
/// x and y are `[T, heads * head_dim]`; the pairs are those of transformers' `rotate_half`. Su et al. 2021
/// (arXiv 2104.09864). Tables that do not hold T rows, or rows that are no whole number of heads, are an error.
pub fn rope(x: &Tensor, rotary: &Rotary) -> Result<Tensor> {
    turn(x, rotary, 1.0)
}

/// The gradient of x: dy, turned back.
pub fn rope_backward(dy: &Tensor, rotary: &Rotary) -> Result<Tensor> {
    turn(dy, rotary, -1.0)
}

fn turn(x: &Tensor, rotary: &Rotary, direction: f32) -> Result<Tensor> {
    let (rows, width) = matrix(OP, "x", x)?;
    let (_, half) = matrix(OP, "cos", &rotary.cos)?;
    expect_shape(OP, "cos", &rotary.cos, rows, half)?;
    expect_shape(OP, "sin", &rotary.sin, rows, half)?;
    let head_dim = 2 * half;
    if half == 0 || !width.is_multiple_of(head_dim) {
        let expected = format!("rows of whole heads of {head_dim} elements");
        return Err(OpError::Shape { op: OP, operand: "x", found: x.dims().to_vec(), expected }.into());
    }
    if is_on_device(x) {
        return on_device::rope(x, &rotary.cos, &(&rotary.sin * f64::from(direction))?);
    }
    let x = x.contiguous()?;
    let (x, cos, sin) = (borrow(OP, "x", &x)?, borrow(OP, "cos", &rotary.cos)?, borrow(OP, "sin", &rotary.sin)?);
    let [y] = new_rows(
        rows,
        width,
        #[inline(always)]
        |row, [y]| {
            let (y, x) = (zeroed(y), &x[row * width..]);
            let (cos, sin) = (&cos[row * half..][..half], &sin[row * half..][..half]);
            for (y, x) in y.chunks_exact_mut(head_dim).zip(x.chunks_exact(head_dim)) {
                rotate(y, x, cos, sin, direction);
            }
            [y]
        },
    )?;
    Ok(y)
}

/// One head of one token.
#[inline(always)]
fn rotate(y: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32], direction: f32) {
    let half = cos.len();
    let (y_low, y_high) = y.split_at_mut(half);
    let (x_low, x_high) = x.split_at(half);
    for j in 0..half {
        let sin = sin[j] * direction;
        y_low[j] = x_low[j] * cos[j] - x_high[j] * sin;
        y_high[j] = x_high[j] * cos[j] + x_low[j] * sin;
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::testing::{check, random};
    use super::*;

    fn rotary(rows: usize, head_dim: usize) -> Rotary {
        let angles = random(11, rows * head_dim / 2);
        let cos: Vec<f32> = angles.iter().map(|a| (3.0 * a).cos()).collect();
        let sin: Vec<f32> = angles.iter().map(|a| (3.0 * a).sin()).collect();
        let [cos, sin] = [cos, sin].map(|values| Tensor::from_vec(values, (rows, head_dim / 2), &Device::Cpu).unwrap());
        Rotary { cos, sin }
    }

    #[test]
    fn value_and_gradient_equal_the_reference() {
        for (rows, heads, head_dim) in [(1, 1, 2), (3, 2, 6), (2, 3, 16)] {
            let (rotary, width, half) = (rotary(rows, head_dim), heads * head_dim, head_dim / 2);
            let [cos, sin] = [&rotary.cos, &rotary.sin].map(|x| x.to_vec2::<f32>().unwrap());
            let reference = |inputs: &[Vec<f64>]| {
                let x = &inputs[0];
                let rotated = |index: usize| {
                    let (row, j) = (index / width, index % head_dim);
                    let (cos, sin) = (f64::from(cos[row][j % half]), f64::from(sin[row][j % half]));
                    let turned = if j < half { -x[index + half] } else { x[index - half] };
                    x[index] * cos + turned * sin
                };
                (0..x.len()).map(rotated).collect()
            };
            check(&[(rows, width)], |x| rope(&x[0], &rotary), |_, dy| Ok(vec![rope_backward(dy, &rotary)?]), reference);
        }
    }

    #[test]
    fn many_rows_equal_candles_rope() {
        let (rows, heads, head_dim) = (700, 3, 80);
        let rotary = rotary(rows, head_dim);
        let x = Tensor::from_vec(random(2, rows * heads * head_dim), (rows, heads * head_dim), &Device::Cpu).unwrap();
        let by_head = x.reshape((1, rows, heads, head_dim)).unwrap().transpose(1, 2).unwrap().contiguous().unwrap();
        let expected = candle_nn::rotary_emb::rope(&by_head, &rotary.cos, &rotary.sin).unwrap();
        let expected = expected.transpose(1, 2).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let found = rope(&x, &rotary).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn tables_of_another_length_are_refused() {
        let x = Tensor::from_vec(random(3, 4 * 8), (4, 8), &Device::Cpu).unwrap();
        let message = rope(&x, &rotary(3, 8)).unwrap_err().to_string();
        assert!(message.contains("`cos` has shape [3, 4], expected [4, 4]"), "{message}");
        let message = rope(&x, &rotary(4, 6)).unwrap_err().to_string();
        assert!(message.contains("whole heads of 6"), "{message}");
    }
}
