//! The gradient of an embedding.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor};

use super::buffer::{expect_shape, floats, floats_mut, matrix};
use super::error::OpError;
use super::vector::axpy;

const OP: &str = "embedding";

/// sum[idsᵢ] += dxᵢ for each row i of dx, `[T, hidden]`, whose id there is; sum is `[vocabulary, hidden]`. A row without
/// an id was not made by the embedding.
pub fn add_embedding_gradient(sum: &Tensor, ids: &[Option<u32>], dx: &Tensor) -> Result<()> {
    let (vocabulary, hidden) = matrix(OP, "sum", sum)?;
    expect_shape(OP, "dx", dx, ids.len(), hidden)?;
    if let Some(id) = ids.iter().flatten().find(|&&id| id as usize >= vocabulary) {
        let problem = format!("there is no row {id} among {vocabulary}");
        return Err(OpError::Argument { op: OP, problem }.into());
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

    use super::*;

    #[test]
    fn rows_of_the_same_id_add_up_and_others_are_left_out() {
        let sum = Tensor::ones((3, 2), DType::F32, &Device::Cpu).unwrap();
        let dx = Tensor::new(&[[1f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        add_embedding_gradient(&sum, &[Some(2), None, Some(2)], &dx).unwrap();
        assert_eq!(sum.to_vec2::<f32>().unwrap(), [[1.0, 1.0], [1.0, 1.0], [7.0, 9.0]]);
        let message = add_embedding_gradient(&sum, &[Some(3), None, None], &dx).unwrap_err().to_string();
        assert!(message.contains("no row 3 among 3"), "{message}");
    }
}
