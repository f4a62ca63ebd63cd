//! The gradient of an embedding.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor};

use super::buffer::{expect_shape, floats, floats_mut, matrix};
use super::error::OpError;
use super::on_device::{add_rows, is_on_device};
use super::vector::axpy;

const OP: &str = "embedding";

/// sum\[idsᵢ\] += dxᵢ for each row i of dx, `[T, hidden]`, whose id there is; sum is `[vocabulary, hidden]`. A row without
/// an id was not made by the embedding.
pub fn add_embedding_gradient(sum: &Tensor, ids: &[Option<u32>], dx: &Tensor) -> Result<()> {
    let (vocabulary, hidden) = matrix(OP, "sum", sum)?;
    expect_shape(OP, "dx", dx, ids.len(), hidden)?;
    if let Some(id) = ids.iter().flatten().find(|&&id| id as usize >= vocabulary) {
        let problem = format!("there is no row {id} among {vocabulary}");
        return Err(OpError::Argument { op: OP, problem }.into());
    }
    if is_on_device(sum) {
        let (rows, ids): (Vec<u32>, Vec<u32>) = (0u32..).zip(ids).filter_map(|(row, id)| Some((row, (*id)?))).unzip();
        return add_rows(sum, &ids, &dx.index_select(&Tensor::new(rows, dx.device())?, 0)?);
    }
    sum.inplace_op2(&dx.contiguous()?, &AddRows { ids, hidden })
}

struct AddRows<'a> {
    ids: &'a [Option<u32>],
    hidden: usize,
}

impl InplaceOp2 for AddRows<'_> {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let (sum, dx) = (floats_mut(OP, "sum", s1, l1)?, floats(OP, "dx", s2, l2)?);
        for (id, dx) in self.ids.iter().zip(dx.chunks_exact(self.hidden)) {
            if let Some(id) = id {
                axpy(&mut sum[*id as usize * self.hidden..][..self.hidden], 1.0, dx);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::testing::both_ways;
    use super::*;

    #[test]
    fn rows_of_the_same_id_add_up_and_others_are_left_out() {
        let ones = || Tensor::ones((3, 2), DType::F32, &Device::Cpu).unwrap();
        let dx = Tensor::new(&[[1f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        let added = both_ways(|| {
            let sum = ones();
            add_embedding_gradient(&sum, &[Some(2), None, Some(2)], &dx).unwrap();
            sum.to_vec2::<f32>().unwrap()
        });
        assert_eq!(added, [[[1.0, 1.0], [1.0, 1.0], [7.0, 9.0]]; 2]);
        let message = add_embedding_gradient(&ones(), &[Some(3), None, None], &dx).unwrap_err().to_string();
        assert!(message.contains("no row 3 among 3"), "{message}");
    }
}
