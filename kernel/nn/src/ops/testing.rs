//! Comparing an operation with its formula in f64: the value, and the gradient of every operand.

use std::cell::Cell;

use candle_core::{Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `n` values in [-1, 1).
pub(crate) fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| generator.random_range(-1.0..1.0)).collect()
}

thread_local! {
    static AS_ON_DEVICE: Cell<bool> = const { Cell::new(false) };
}

/// Whether operations of this thread compute as they do on a device, though their operands lie in CPU memory.
pub(crate) fn as_on_device() -> bool {
    AS_ON_DEVICE.get()
}

/// Runs `f` as is, and as on a device.
pub(crate) fn both_ways<R>(f: impl Fn() -> R) -> [R; 2] {
    [false, true].map(|on_device| {
        AS_ON_DEVICE.set(on_device);
        let result = f();
        AS_ON_DEVICE.set(false);
        result
    })
}

/// Checks an operation, both ways, on random matrices of these shapes: its value against `reference`, and what `backward` makes
/// of the operands and dy, the gradients of L = Σ dyᵢ yᵢ (random dy), against central differences of the reference.
pub(crate) fn check(
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

    let [y, y_on_device] = both_ways(|| forward(&tensors).unwrap());
    let expected = reference(&exact);
    let found = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_close("value", &found, &expected);
    assert_eq!(y_on_device.dims(), y.dims());
    let on_device = y_on_device.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_close("value on a device", &on_device, &expected);

    let coefficients = random(99, found.len());
    let c = Tensor::from_slice(&coefficients, y.shape(), &Device::Cpu).unwrap();
    let [gradients, on_device] = both_ways(|| backward(&tensors, &c).unwrap());
    assert_eq!([gradients.len(), on_device.len()], [tensors.len(); 2]);
    let loss = |inputs: &[Vec<f64>]| -> f64 {
        reference(inputs).iter().zip(&coefficients).map(|(y, &c)| y * f64::from(c)).sum()
    };
    for (operand, gradients) in gradients.iter().zip(&on_device).enumerate() {
        let gradients = [gradients.0, gradients.1];
        assert_eq!(gradients.map(Tensor::dims), [tensors[operand].dims(); 2]);
        let [found, on_device] = gradients.map(|gradient| gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap());
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
        assert_close(&format!("gradient of operand {operand} on a device"), &on_device, &expected);
    }
}

/// Every element within 1e-5 of the larger of 1 and the largest expected element.
pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    let bound = 1e-5 * expected.iter().fold(1f64, |largest, e| largest.max(e.abs()));
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(found) - expected).abs() <= bound, "{what}, element {i}: {found} instead of {expected}");
    }
}
