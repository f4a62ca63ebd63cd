//! Gradients of vectors that every row of a matrix shares: biases, norm weights, DoRA's magnitudes.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor};
use rayon::prelude::*;

use super::buffer::{borrow, expect_vector, floats_mut, matrix};
use super::on_device::{accumulate, is_on_device};
use super::vector::vectorized;

const OP: &str = "column_sums";

/// Rows that are summed one after another. Their sums are added in order, so that the number of threads changes nothing.
const BLOCK: usize = 64;

/// sum += the gradient of a bias, `[width]`, given that of what it was added to, dy, `[T, width]`: Σ dy over rows.
pub fn add_bias_gradient(sum: &Tensor, dy: &Tensor) -> Result<()> {
    let (rows, width) = matrix(OP, "dy", dy)?;
    if is_on_device(dy) {
        expect_vector(OP, "sum", sum, width)?;
        return accumulate(sum, &dy.sum(0)?);
    }
    let dy = dy.contiguous()?;
    let dy = borrow(OP, "dy", &dy)?;
    add_column_sums(sum, [rows, width], |row, sums| {
        sums.iter_mut().zip(&dy[row * width..]).for_each(|(sum, dy)| *sum += dy);
    })
}

/// sum, a vector, += Σ of what `add` adds for each row.
pub(super) fn add_column_sums(
    sum: &Tensor,
    [rows, width]: [usize; 2],
    add: impl Fn(usize, &mut [f32]) + Sync,
) -> Result<()> {
    expect_vector(OP, "sum", sum, width)?;
    let block = |first: usize| {
        let mut sums = vec![0f32; width];
        vectorized(
            #[inline(always)]
            || (first..rows.min(first + BLOCK)).for_each(|row| add(row, &mut sums)),
        );
        sums
    };
    let firsts: Vec<usize> = (0..rows).step_by(BLOCK).collect();
    let blocks: Vec<Vec<f32>> = firsts.into_par_iter().map(block).collect();
    sum.inplace_op1(&AddBlocks { blocks })
}

struct AddBlocks {
    blocks: Vec<Vec<f32>>,
}

impl InplaceOp1 for AddBlocks {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let sum = floats_mut(OP, "sum", storage, layout)?;
        for block in &self.blocks {
            sum.iter_mut().zip(block).for_each(|(sum, value)| *sum += value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::super::testing::{both_ways, random};
    use super::*;

    #[test]
    fn rows_are_added_to_what_is_there() {
        let (rows, width) = (150, 7);
        let dy = Tensor::from_vec(random(1, rows * width), (rows, width), &Device::Cpu).unwrap();
        let expected = (dy.sum(0).unwrap() + 1.0).unwrap();
        for sum in both_ways(|| {
            let sum = Tensor::new(&[1f32; 7], &Device::Cpu).unwrap();
            add_bias_gradient(&sum, &dy).unwrap();
            sum
        }) {
            let worst = (sum - &expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(worst < 1e-5, "{worst}");
        }
    }

    #[test]
    fn a_sum_that_is_no_vector_is_refused() {
        let dy = Tensor::from_vec(random(1, 6), (2, 3), &Device::Cpu).unwrap();
        let message = add_bias_gradient(&dy, &dy).unwrap_err().to_string();
        assert!(message.contains("`sum` has shape [2, 3], expected [3]"), "{message}");
    }
}
