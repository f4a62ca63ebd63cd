//! A frozen linear layer with a low-rank adapter, as one operation.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use tunebook_gemm::{Precision, View, ViewMut, sgemm};

use super::buffer::{borrow, expect_shape, floats, matrix};
use super::dropout::Dropout;
use super::error::OpError;
use super::linear::FrozenLinear;
use super::vector::for_row_blocks;
use crate::frozen::FrozenMatrix;

const OP: &str = "lora_linear";

/// Rows of x to which dropout is applied at a time, so that the whole dropped x never exists.
const BLOCK: usize = 64;

/// y = x Wᵀ + bias + scaling · dropout(x) Aᵀ Bᵀ, with gradients for x, A and B.
///
/// x is `[T, in]`, `weight` `[out, in]`, `bias` `[out]`, A `[r, in]`, B `[out, r]`, y `[T, out]`. Hu et al. 2021
/// (arXiv 2106.09685), with A, B and scaling as PEFT's `lora_A.weight`, `lora_B.weight` and `scaling`
/// (lora_alpha / r). The adapter is computed in f32 whatever `precision` the frozen product has. Shapes that do not
/// fit and a dropout outside [0, 1) are errors.
#[expect(clippy::too_many_arguments, reason = "they are the terms of the formula")]
pub fn lora_linear(
    x: &Tensor,
    weight: &FrozenMatrix,
    bias: Option<&Arc<[f32]>>,
    a: &Tensor,
    b: &Tensor,
    scaling: f32,
    dropout: Option<Dropout>,
    precision: Precision,
) -> Result<Tensor> {
    let base = FrozenLinear { weight: weight.clone(), bias: bias.cloned(), precision };
    base.check(OP, x)?;
    let (rank, _) = matrix(OP, "lora_A", a)?;
    expect_shape(OP, "lora_A", a, rank, weight.cols)?;
    expect_shape(OP, "lora_B", b, weight.rows, rank)?;
    if let Some(Dropout { p, .. }) = dropout.filter(|dropout| !(0.0..1.0).contains(&dropout.p)) {
        let problem = format!("the dropout probability must lie in [0, 1), but is {p}");
        return Err(OpError::Argument { op: OP, problem }.into());
    }
    let op = LoraLinear { base, rank, scaling, dropout: dropout.filter(|dropout| dropout.p > 0.0) };
    x.contiguous()?.apply_op3(&a.contiguous()?, &b.contiguous()?, op)
}

struct LoraLinear {
    base: FrozenLinear,
    rank: usize,
    scaling: f32,
    dropout: Option<Dropout>,
}

impl CustomOp3 for LoraLinear {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, a, b) = (floats(OP, "x", s1, l1)?, floats(OP, "lora_A", s2, l2)?, floats(OP, "lora_B", s3, l3)?);
        let (rows, _) = l1.shape().dims2()?;
        let outputs = self.base.weight.rows;
        let mut y = self.base.forward(x);
        let down = self.down(x, a);
        let (down, b) = (View::rows(&down, [rows, self.rank]), View::rows(b, [outputs, self.rank]));
        sgemm(self.scaling, down, b.t(), ViewMut::rows(&mut y, [rows, outputs]), true, true);
        Ok((CpuStorage::F32(y), (rows, outputs).into()))
    }

    /// With h = dropout(x) Aᵀ and dh = scaling · dy B: dB = scaling · dyᵀ h, dA = dhᵀ dropout(x),
    /// dx = dy W + dropout(dh A), the last with the same mask.
    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (dx, adapter) = {
            let (x_values, a_values) = (borrow(OP, "x", x)?, borrow(OP, "lora_A", a)?);
            let (b_values, dy) = (borrow(OP, "lora_B", b)?, borrow(OP, "dy", &dy)?);
            let dh = self.down_gradient(&dy, &b_values);
            let adapter_trains = a.track_op() || b.track_op();
            (
                x.track_op().then(|| self.input_gradient(&dy, &dh, &a_values)),
                adapter_trains.then(|| self.adapter_gradients(&x_values, &a_values, &dy, &dh)),
            )
        };
        let (da, db) = adapter.unzip();
        let tensor = |like: &Tensor, values: Option<Vec<f32>>| {
            let values = values.filter(|_| like.track_op());
            values.map(|values| Tensor::from_vec(values, like.dims(), like.device())).transpose()
        };
        Ok((tensor(x, dx)?, tensor(a, da)?, tensor(b, db)?))
    }
}

impl LoraLinear {
    /// h = dropout(x) Aᵀ, `[T, r]`.
    fn down(&self, x: &[f32], a: &[f32]) -> Vec<f32> {
        let (inputs, rank) = (self.base.weight.cols, self.rank);
        let mut h = vec![0f32; x.len() / inputs.max(1) * rank];
        if h.is_empty() {
            return h;
        }
        let a = View::rows(a, [rank, inputs]);
        h.par_chunks_mut(BLOCK * rank).zip(x.par_chunks(BLOCK * inputs)).enumerate().for_each_init(
            Vec::new,
            |scratch, (block, (h, x))| {
                let x = self.dropped(block * BLOCK, x, scratch);
                let rows = h.len() / rank;
                sgemm(1.0, View::rows(x, [rows, inputs]), a.t(), ViewMut::rows(h, [rows, rank]), false, false);
            },
        );
        h
    }

    /// dh = scaling · dy B, `[T, r]`.
    fn down_gradient(&self, dy: &[f32], b: &[f32]) -> Vec<f32> {
        let (outputs, rank) = (self.base.weight.rows, self.rank);
        let rows = dy.len() / outputs.max(1);
        let mut dh = vec![0f32; rows * rank];
        let (dy, b) = (View::rows(dy, [rows, outputs]), View::rows(b, [outputs, rank]));
        sgemm(self.scaling, dy, b, ViewMut::rows(&mut dh, [rows, rank]), false, true);
        dh
    }

    /// dx, `[T, in]`.
    fn input_gradient(&self, dy: &[f32], dh: &[f32], a: &[f32]) -> Vec<f32> {
        let (inputs, rank) = (self.base.weight.cols, self.rank);
        let mut dx = self.base.backward(dy);
        if rank == 0 || inputs == 0 {
            return dx;
        }
        let a = View::rows(a, [rank, inputs]);
        dx.par_chunks_mut(BLOCK * inputs).zip(dh.par_chunks(BLOCK * rank)).enumerate().for_each_init(
            Vec::new,
            |scratch, (block, (dx, dh))| {
                let rows = dh.len() / rank;
                let dh = View::rows(dh, [rows, rank]);
                let Some(dropout) = &self.dropout else {
                    return sgemm(1.0, dh, a, ViewMut::rows(dx, [rows, inputs]), true, false);
                };
                scratch.resize(rows * inputs, 0.0);
                sgemm(1.0, dh, a, ViewMut::rows(scratch, [rows, inputs]), false, false);
                dropout.apply(block * BLOCK * inputs, scratch);
                dx.iter_mut().zip(scratch.iter()).for_each(|(dx, through_adapter)| *dx += through_adapter);
            },
        );
        dx
    }

    /// dA, `[r, in]`, and dB, `[out, r]`: both need dropout(x), which is made once, some rows at a time.
    fn adapter_gradients(&self, x: &[f32], a: &[f32], dy: &[f32], dh: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (inputs, outputs, rank) = (self.base.weight.cols, self.base.weight.rows, self.rank);
        let rows = x.len() / inputs.max(1);
        let mut da = vec![0f32; rank * inputs];
        let mut h = vec![0f32; rows * rank];
        let mut scratch = Vec::new();
        // Without dropout there is nothing to make, and all rows can be read where they are.
        let block = if self.dropout.is_some() { 4 * BLOCK } else { rows };
        for first in (0..rows).step_by(block.max(1)) {
            let rows = block.min(rows - first);
            let x = self.dropped(first, &x[first * inputs..][..rows * inputs], &mut scratch);
            let x = View::rows(x, [rows, inputs]);
            let h = ViewMut::rows(&mut h[first * rank..], [rows, rank]);
            sgemm(1.0, x, View::rows(a, [rank, inputs]).t(), h, false, true);
            let dh = View::rows(&dh[first * rank..], [rows, rank]);
            sgemm(1.0, dh.t(), x, ViewMut::rows(&mut da, [rank, inputs]), true, true);
        }
        let mut db = vec![0f32; outputs * rank];
        let (dy, h) = (View::rows(dy, [rows, outputs]), View::rows(&h, [rows, rank]));
        sgemm(self.scaling, dy.t(), h, ViewMut::rows(&mut db, [outputs, rank]), false, true);
        (da, db)
    }

    /// dropout(x) for the rows of x from `first`, in `scratch` if there is any dropout.
    fn dropped<'a>(&self, first: usize, x: &'a [f32], scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let Some(dropout) = &self.dropout else { return x };
        scratch.clear();
        scratch.extend_from_slice(x);
        let inputs = self.base.weight.cols;
        for_row_blocks(scratch, inputs, |row, values| dropout.apply((first + row) * inputs, values));
        scratch
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::super::testing::{assert_close, check, random};
    use super::*;

    const SCALING: f32 = 1.5;

    #[test]
    fn value_and_gradients_equal_the_reference() {
        for (rows, inputs, outputs, rank, p) in [(1, 1, 1, 1, 0.0), (3, 5, 7, 2, 0.0), (4, 6, 3, 2, 0.4)] {
            let w = random(1, outputs * inputs);
            let bias: Arc<[f32]> = random(2, outputs).into();
            let weight = FrozenMatrix::from_f32(&w, outputs, inputs);
            let dropout = Dropout { p, seed: 3, stream: 4 };
            let mut mask = vec![1f32; rows * inputs];
            dropout.apply(0, &mut mask);
            let reference = |operands: &[Vec<f64>]| {
                let (x, a, b) = (&operands[0], &operands[1], &operands[2]);
                let down = |row: usize, r: usize| -> f64 {
                    (row * inputs..(row + 1) * inputs)
                        .map(|i| x[i] * f64::from(mask[i]) * a[r * inputs + i % inputs])
                        .sum()
                };
                let out = |row: usize, o: usize| {
                    let base: f64 = (0..inputs).map(|i| x[row * inputs + i] * f64::from(w[o * inputs + i])).sum();
                    let adapter: f64 = (0..rank).map(|r| down(row, r) * b[o * rank + r]).sum();
                    base + f64::from(bias[o]) + f64::from(SCALING) * adapter
                };
                (0..rows * outputs).map(|i| out(i / outputs, i % outputs)).collect()
            };
            let op = |x: &[Tensor]| {
                lora_linear(&x[0], &weight, Some(&bias), &x[1], &x[2], SCALING, Some(dropout), Precision::F32)
            };
            check(&[(rows, inputs), (rank, inputs), (outputs, rank)], op, reference);
        }
    }

    /// Enough rows for several blocks of dropout.
    #[test]
    fn larger_sizes_equal_candles_composite_in_value_and_gradients() {
        let (rows, inputs, outputs, rank) = (301, 47, 65, 8);
        let w = random(1, outputs * inputs);
        let weight = FrozenMatrix::from_f32(&w, outputs, inputs);
        let vars = [(rows, inputs), (rank, inputs), (outputs, rank)].map(|(rows, columns)| {
            Var::from_vec(random(rows as u64, rows * columns), (rows, columns), &Device::Cpu).unwrap()
        });
        let [x, a, b] = [0, 1, 2].map(|i| vars[i].as_tensor());
        let tensor = |values: Vec<f32>, shape: (usize, usize)| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let c = tensor(random(9, rows * outputs), (rows, outputs));
        for p in [0.0, 0.25] {
            let dropout = Dropout { p, seed: 5, stream: 6 };
            let ours = lora_linear(x, &weight, None, a, b, SCALING, Some(dropout), Precision::F32).unwrap();
            let mut mask = vec![1f32; rows * inputs];
            dropout.apply(0, &mut mask);
            let down = (x * tensor(mask, (rows, inputs))).unwrap().matmul(&a.t().unwrap()).unwrap();
            let adapter = (down.matmul(&b.t().unwrap()).unwrap() * f64::from(SCALING)).unwrap();
            let base = x.matmul(&tensor(w.clone(), (outputs, inputs)).t().unwrap()).unwrap();
            let theirs = (base + adapter).unwrap();
            compare("value", &ours, &theirs);
            let ours = (ours * &c).unwrap().sum_all().unwrap().backward().unwrap();
            let theirs = (theirs * &c).unwrap().sum_all().unwrap().backward().unwrap();
            for (name, var) in ["dx", "dA", "dB"].iter().zip(&vars) {
                compare(name, ours.get(var).unwrap(), theirs.get(var).unwrap());
            }
        }
    }

    #[test]
    fn detached_operands_get_no_gradient_and_make_no_graph() {
        let weight = FrozenMatrix::from_f32(&random(1, 15), 5, 3);
        let operand =
            |seed, shape: (usize, usize)| Var::from_vec(random(seed, shape.0 * shape.1), shape, &Device::Cpu).unwrap();
        let (x, a, b) = (operand(1, (4, 3)), operand(2, (2, 3)), operand(3, (5, 2)));
        let run = |x: &Tensor, a: &Tensor, b: &Tensor| {
            lora_linear(x, &weight, None, a, b, SCALING, None, Precision::F32).unwrap()
        };
        let gradients = run(&x.detach(), &a, &b).sum_all().unwrap().backward().unwrap();
        let mut ids: Vec<_> = gradients.get_ids().copied().collect();
        ids.sort_by_key(|id| *id != a.id());
        assert_eq!(ids, [a.id(), b.id()]);
        let gradients = run(&x, &a.detach(), &b.detach()).sum_all().unwrap().backward().unwrap();
        assert_eq!(gradients.get_ids().collect::<Vec<_>>(), [&x.id()]);
        assert!(!run(&x.detach(), &a.detach(), &b.detach()).track_op());
    }

    #[test]
    fn operands_that_do_not_fit_are_refused_by_name() {
        let weight = FrozenMatrix::from_f32(&random(1, 15), 5, 3);
        let zeros =
            |shape: (usize, usize)| Tensor::from_vec(vec![0f32; shape.0 * shape.1], shape, &Device::Cpu).unwrap();
        let refuse = |a: (usize, usize), b: (usize, usize), p: f32| {
            let dropout = Some(Dropout { p, seed: 0, stream: 0 });
            let (x, a, b) = (zeros((4, 3)), zeros(a), zeros(b));
            lora_linear(&x, &weight, None, &a, &b, 1.0, dropout, Precision::F32).unwrap_err().to_string()
        };
        assert!(refuse((2, 4), (5, 2), 0.0).contains("`lora_A` has shape [2, 4], expected [2, 3]"));
        assert!(refuse((2, 3), (5, 3), 0.0).contains("`lora_B` has shape [5, 3], expected [5, 2]"));
        assert!(refuse((2, 3), (5, 2), 1.0).contains("[0, 1), but is 1"));
        assert!(refuse((2, 3), (5, 2), f32::NAN).contains("NaN"));
    }

    fn compare(what: &str, ours: &Tensor, theirs: &Tensor) {
        let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let theirs: Vec<f64> = values(theirs).into_iter().map(f64::from).collect();
        assert_close(what, &values(ours), &theirs);
    }
}
