//! Values in fewer bits: half the memory, and half of what passes through it.

use candle_core::{DType, Result, Tensor};
use half::bf16;

use super::buffer::{Element, borrow_of, matrix_of, new_rows, written};
use super::on_device::is_on_device;

const OP: &str = "rounded";

/// x, an f32 matrix, rounded to bf16, to nearest with ties to even.
pub fn rounded(x: &Tensor) -> Result<Tensor> {
    converted::<f32, bf16>(x)
}

/// x, a matrix, in f32.
pub fn widened(x: &Tensor) -> Result<Tensor> {
    if x.dtype() == DType::F32 { Ok(x.clone()) } else { converted::<bf16, f32>(x) }
}

fn converted<From: Element, To: Element>(x: &Tensor) -> Result<Tensor> {
    let (rows, columns) = matrix_of::<From>(OP, "x", x)?;
    if is_on_device(x) {
        return x.to_dtype(To::DTYPE);
    }
    let x = x.contiguous()?;
    let x = borrow_of::<From>(OP, "x", &x)?;
    let [y] = new_rows(
        rows,
        columns,
        #[inline(always)]
        |row, y| written(y, x[row * columns..].iter().map(|x| [To::nearest(x.widened())])),
    )?;
    Ok(y)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

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

    #[test]
    fn widening_changes_no_value() {
        let x = Tensor::from_vec(random(1, 3 * TASK), (3, TASK), &Device::Cpu).unwrap();
        let narrow = rounded(&x).unwrap();
        let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&widened(&narrow).unwrap()), values(&narrow.to_dtype(DType::F32).unwrap()));
        assert_eq!(values(&widened(&x).unwrap()), values(&x));
    }
}
