//! Sums of activations.

use candle_core::{Result, Tensor};

use super::buffer::{borrow, expect_shape, matrix, new_rows, written};
use super::on_device::is_on_device;

const OP: &str = "add";

/// a + b, both `[T, width]`: a residual connection. (candle's own addition wakes a thread pool of its own.)
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (rows, width) = matrix(OP, "a", a)?;
    expect_shape(OP, "b", b, rows, width)?;
    if is_on_device(a) {
        return a + b;
    }
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let (a, b) = (borrow(OP, "a", &a)?, borrow(OP, "b", &b)?);
    let [sum] = new_rows(
        rows,
        width,
        #[inline(always)]
        |row, sum| {
            let operands = a[row * width..].iter().zip(&b[row * width..]);
            written(sum, operands.map(|(a, b)| [a + b]))
        },
    )?;
    Ok(sum)
}
