//! The largest singular values of a weight, by subspace iteration.

use candle_core::DType;
use candle_core::Device;
use candle_core::Tensor;
use nalgebra::DMatrix;
use nalgebra::Dyn;
use nalgebra::SVD;
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tunebook_gemm::Precision;

use crate::error::Error;
use crate::error::Result;
use crate::frozen::FrozenMatrix;
use crate::ops::linear;
use crate::ops::linear_backward;

/// The random stream of the starting vectors.
const START: u64 = 4 << 32;

/// `A = √S Vᵀ`, `[rank, in]`, and `B = U √S`, `[out, rank]`, with U S Vᵀ the part of `weight`, `[out, in]`, that belongs to
/// its `rank` largest singular values: B A is the nearest matrix of that rank.
///
/// With `iterations`, Halko, Martinsson and Tropp 2011 (arXiv 0909.4061, algorithm 4.4) on `rank` random vectors, as
/// `torch.svd_lowrank`; without, with twice as many vectors and until the singular values stand still.
///
/// # Errors
/// The weight has no singular values, or `stop`, which is asked before each iteration, says so.
pub(crate) fn principal(
    weight: &FrozenMatrix,
    rank: usize,
    iterations: Option<usize>,
    seed: u64,
    stop: &dyn Fn() -> bool,
) -> Result<(Tensor, Tensor)> {
    const MOST: usize = 500;
    let (outputs, inputs) = (weight.rows, weight.cols);
    let most = outputs.min(inputs);
    let rank = rank.min(most);
    let width = if iterations.is_some() { rank } else { most.min(2 * rank + 8) };
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(START);
    let start = DMatrix::from_fn(inputs, width, |_, _| generator.random_range(-1.0..1.0));

    // Columns span a subspace of the outputs.
    let mut left = product(weight, &start, Side::Outputs)?.qr().q();
    let mut before = None;
    for _ in 0..iterations.unwrap_or(MOST) {
        if stop() {
            return Err(Error::Cancelled);
        }
        let right = product(weight, &left, Side::Inputs)?.qr();
        if iterations.is_none() {
            let values = svd(right.r())?.singular_values.rows(0, rank).into_owned();
            if before.replace(values.clone()).is_some_and(|before| (&before - &values).amax() <= 1e-7 * values.amax()) {
                break;
            }
        }
        left = product(weight, &right.q(), Side::Outputs)?.qr().q();
    }
    let right = product(weight, &left, Side::Inputs)?.qr();
    // W is about left (right · r)ᵀ.
    let small = svd(right.r().transpose())?;
    let (Some(u), Some(v_t)) = (&small.u, &small.v_t) else { return Err(undecomposed()) };
    let roots = small.singular_values.map(f64::sqrt);
    let scaled = |mut vectors: DMatrix<f64>| {
        vectors.column_iter_mut().zip(&roots).for_each(|(mut vector, root)| vector *= *root);
        vectors.columns(0, rank).into_owned()
    };
    let (a, b) = (scaled(right.q() * v_t.transpose()), scaled(left * u));
    Ok((rows_of(&a, (rank, inputs))?, rows_of(&b.transpose(), (outputs, rank))?))
}

/// `A = Vᵀ`, `[rank, in]`, and `B = U S`, `[out, rank]`, with U S Vᵀ the part of `b a` (`[out, n]` by `[n, in]`) that belongs
/// to its `rank` largest singular values. There are fewer rows of A if n, in or out is less than `rank`.
///
/// The product itself is never formed: with QR decompositions b = Q R and aᵀ = P T, the decomposition of R Tᵀ, which is at
/// most n wide, is that of the product but for Q and P. All of it in f64.
///
/// # Errors
/// A factor has an element that is not finite.
pub(crate) fn of_product(a: &Tensor, b: &Tensor, rank: usize) -> Result<(Tensor, Tensor)> {
    let (right, left) = (transposed(a)?.qr(), transposed(&b.t()?)?.qr());
    let small = svd(left.r() * right.r().transpose())?;
    let (Some(u), Some(v_t)) = (&small.u, &small.v_t) else { return Err(undecomposed()) };
    let rank = rank.min(small.singular_values.len());
    let (outputs, inputs) = (b.dims()[0], a.dims()[1]);
    let v = right.q() * v_t.rows(0, rank).transpose();
    let us = left.q() * u.columns(0, rank) * DMatrix::from_diagonal(&small.singular_values.rows(0, rank).into_owned());
    Ok((rows_of(&v, (rank, inputs))?, rows_of(&us.transpose(), (outputs, rank))?))
}

/// The rows of a tensor as the columns of a matrix.
fn transposed(tensor: &Tensor) -> Result<DMatrix<f64>> {
    let (rows, columns) = tensor.dims2()?;
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    Ok(DMatrix::from_iterator(columns, rows, values.into_iter().map(f64::from)))
}

#[derive(Clone, Copy)]
enum Side {
    Inputs,
    Outputs,
}

/// W v for each column v, or Wᵀ v.
fn product(weight: &FrozenMatrix, vectors: &DMatrix<f64>, to: Side) -> Result<DMatrix<f64>> {
    let x = rows_of(vectors, (vectors.ncols(), vectors.nrows()))?;
    let (y, length) = match to {
        Side::Outputs => (linear(&x, weight, None, None, Precision::F32, DType::F32)?, weight.rows),
        Side::Inputs => (linear_backward(&x, weight, None, Precision::F32, DType::F32)?, weight.cols),
    };
    let values = y.flatten_all()?.to_vec1::<f32>()?;
    Ok(DMatrix::from_iterator(length, vectors.ncols(), values.into_iter().map(f64::from)))
}

/// The columns of a matrix as the rows of a tensor of this shape.
fn rows_of(matrix: &DMatrix<f64>, shape: (usize, usize)) -> Result<Tensor> {
    Ok(Tensor::from_vec(matrix.iter().map(|&value| value as f32).collect(), shape, &Device::Cpu)?)
}

fn svd(matrix: DMatrix<f64>) -> Result<SVD<f64, Dyn, Dyn>> {
    // Without a limit, values that are not finite would keep it busy for ever.
    matrix.try_svd(true, true, f64::EPSILON, 10_000).ok_or_else(undecomposed)
}

fn undecomposed() -> Error {
    let problem = "a weight has no singular values: some of its elements are not finite";
    Error::Tensor(candle_core::Error::Msg(problem.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// U S Vᵀ with orthonormal U and V.
    fn matrix(outputs: usize, inputs: usize, values: &[f64]) -> FrozenMatrix {
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let mut basis = |n: usize| DMatrix::from_fn(n, values.len(), |_, _| generator.random_range(-1.0..1.0)).qr().q();
        let (u, v) = (basis(outputs), basis(inputs));
        let w = u * DMatrix::from_diagonal(&values.to_vec().into()) * v.transpose();
        FrozenMatrix::from_f32(&w.transpose().iter().map(|&v| v as f32).collect::<Vec<_>>(), outputs, inputs)
    }

    #[test]
    fn the_product_is_the_part_of_the_largest_singular_values() {
        let values = [5.0, 4.0, 3.0, 0.5, 0.4, 0.3];
        for (outputs, inputs) in [(12, 30), (30, 12)] {
            let weight = matrix(outputs, inputs, &values);
            let rest = matrix(outputs, inputs, &[0.0, 0.0, 0.0, 0.5, 0.4, 0.3]);
            for iterations in [None, Some(16)] {
                let (a, b) = principal(&weight, 3, iterations, 7, &|| false).unwrap();
                let mut row = vec![0f32; inputs];
                let (a, b) = (a.to_vec2::<f32>().unwrap(), b.to_vec2::<f32>().unwrap());
                for (o, b) in b.iter().enumerate() {
                    weight.read_row(o, &mut row);
                    let mut expected = vec![0f32; inputs];
                    rest.read_row(o, &mut expected);
                    for i in 0..inputs {
                        let part: f32 = (0..3).map(|r| b[r] * a[r][i]).sum();
                        assert!((row[i] - part - expected[i]).abs() < 1e-5, "{iterations:?}");
                    }
                }
                // √S is on both sides.
                let lengths = a.iter().map(|row| row.iter().map(|v| v * v).sum::<f32>());
                assert!(lengths.zip(values).all(|(length, value)| (length - value as f32).abs() < 1e-4));
            }
        }
    }

    #[test]
    fn a_weight_that_is_not_finite_is_refused() {
        let message =
            principal(&FrozenMatrix::from_f32(&[f32::NAN; 12], 3, 4), 2, None, 1, &|| false).unwrap_err().to_string();
        assert!(message.contains("not finite"), "{message}");
    }
}
