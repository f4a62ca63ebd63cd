//! Values that are kept in fewer bits from the forward to the backward pass.

use candle_core::{DType, Result, Tensor};
use tunebook_gemm::round;

use super::buffer::{borrow, matrix, new_rows, written};
use super::on_device::is_on_device;

const OP: &str = "rounded";

/// x, `[rows, columns]`, rounded to bf16, to nearest with ties to even: half the memory.
pub fn rounded(x: &Tensor) -> Result<Tensor> {
    let (rows, columns) = matrix(OP, "x", x)?;
    if is_on_device(x) {
        return x.to_dtype(DType::BF16);
    }
    let x = x.contiguous()?;
    let x = borrow(OP, "x", &x)?;
    let [narrow] = new_rows(
        rows,
        columns,
        #[inline(always)]
        |row, narrow| written(narrow, x[row * columns..].iter().map(|wide| [round(*wide)])),
    )?;
    Ok(narrow)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use half::bf16;

    use super::super::buffer::TASK;
    use super::super::testing::random;
    use super::*;

    #[test]
    fn every_element_is_the_nearest() {
        let special =
            [0.0, -0.0, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE / 2.0, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -1e-30];
        let x = [&special[..], &random(1, 3 * TASK)].concat();
        let tensor = Tensor::from_vec(x.clone(), (x.len() / 4, 4), &Device::Cpu).unwrap();
        let found: Vec<bf16> = rounded(&tensor).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(found, x.iter().map(|x| bf16::from_f32(*x)).collect::<Vec<_>>());
        let nan = Tensor::from_vec(vec![f32::NAN], (1, 1), &Device::Cpu).unwrap();
        assert!(rounded(&nan).unwrap().flatten_all().unwrap().to_vec1::<bf16>().unwrap()[0].is_nan());
    }
}
