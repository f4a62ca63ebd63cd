//! Comparing an operation with its formula in f64: the value, and the gradient of every operand.

use candle_core::{Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `n` values in [-1, 1).
pub fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| generator.random_range(-1.0..1.0)).collect()
}

/// Checks an operation on random matrices of these shapes: its value against `reference`, and what `backward` makes
/// of the operands and dy, the gradients of L = Σ dyᵢ yᵢ (random dy), against central differences of the reference.
pub fn check(
    shapes: &[(usize, usize)],
    forward: impl Fn(&[Tensor]) -> Result<Tensor>,
    backward: impl Fn(&[Tensor], &Tensor) -> Result<Vec<Tensor>>,
    reference: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    let values: Vec<Vec<f32>> =
        shapes.iter().zip(100..).map(|(&(rows, columns), seed)| random(seed, rows * columns)).collect();
    let operands = values.iter().zip(shapes);
    let tensors: Vec<Tensor> =
        operands.map(|(values, &shape)| Tensor::from_slice(values, shape, &Device::Cpu).unwrap()).collect();
    let mut exact: Vec<Vec<f64>> = values.iter().map(|v| v.iter().map(|&v| f64::from(v)).collect()).collect();

    let y = forward(&tensors).unwrap();
    let expected = reference(&exact);
    let found = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_close("value", &found, &expected);

    let coefficients = random(99, found.len());
    let c = Tensor::from_slice(&coefficients, y.shape(), &Device::Cpu).unwrap();
    let gradients = backward(&tensors, &c).unwrap();
    assert_eq!(gradients.len(), tensors.len());
    let loss = |inputs: &[Vec<f64>]| -> f64 {
        reference(inputs).iter().zip(&coefficients).map(|(y, &c)| y * f64::from(c)).sum()
    };
    for (operand, gradient) in gradients.iter().enumerate() {
        assert_eq!(gradient.dims(), tensors[operand].dims());
        let found = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mut expected = Vec::with_capacity(found.len());
        for i in 0..found.len() {
            const STEP: f64 = 1e-5;
            let middle = exact[operand][i];
            exact[operand][i] = middle + STEP;
            let above = loss(&exact);
            exact[operand][i] = middle - STEP;
            let below = loss(&exact);
            exact[operand][i] = middle;
            expected.push((above - below) / (2.0 * STEP));
        }
        assert_close(&format!("gradient of operand {operand}"), &found, &expected);
    }
}

/// Every element within 1e-5 of the larger of 1 and the largest expected element.
pub fn assert_close(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    let bound = 1e-5 * expected.iter().fold(1f64, |largest, e| largest.max(e.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(found) - expected).abs() <= bound, "{what}, element {i}: {found} instead of {expected}");
    }
}
