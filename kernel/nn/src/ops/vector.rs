//! Loops over slices of f32, compiled for the widest vectors of the processor at hand.

use super::exp::exp;

/// Partial sums kept side by side: independent additions are what lets the compiler vectorise a sum.
const LANES: usize = 16;

/// Runs `f`, and what it inlines, with the processor's vector instructions. Pass `#[inline(always)] || ...`.
#[inline(always)]
pub(super) fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Σ aᵢ bᵢ.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// yᵢ += a xᵢ.
#[inline(always)]
pub(super) fn axpy(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// xᵢ *= a.
#[inline(always)]
pub(super) fn scale(x: &mut [f32], a: f32) {
    for x in x {
        *x *= a;
    }
}

/// Of e^(x - max x), what is below e^-64 = 1.6e-28 is 0. No sum of f32 can tell, and products with it would be subnormal:
/// with such numbers processors compute many times slower, and a peaked softmax has thousands of them.
const LOWEST_EXPONENT: f32 = -64.0;

/// Replaces x by e^(x - max x); returns max x and the sum of the new values.
#[inline(always)]
pub(super) fn exp_of_row(x: &mut [f32]) -> (f32, f32) {
    let max = max(x);
    // Short runs are summed in f32 and the runs in f64: a vocabulary is long enough for f32 to lose digits.
    let mut total = 0f64;
    for run in x.chunks_mut(64 * LANES) {
        let mut sums = [0f32; LANES];
        let (lanes, rest) = run.as_chunks_mut::<LANES>();
        for values in lanes {
            for lane in 0..LANES {
                values[lane] = exp_or_zero(values[lane] - max);
                sums[lane] += values[lane];
            }
        }
        for value in rest {
            *value = exp_or_zero(*value - max);
            sums[0] += *value;
        }
        total += f64::from(sums.iter().sum::<f32>());
    }
    (max, total as f32)
}

/// e^x, or 0 below [`LOWEST_EXPONENT`].
#[inline(always)]
fn exp_or_zero(x: f32) -> f32 {
    if x < LOWEST_EXPONENT { 0.0 } else { exp(x) }
}

#[inline(always)]
fn max(x: &[f32]) -> f32 {
    let mut best = [f32::NEG_INFINITY; LANES];
    let (lanes, rest) = x.as_chunks::<LANES>();
    for values in lanes {
        for lane in 0..LANES {
            best[lane] = best[lane].max(values[lane]);
        }
    }
    best.iter().chain(rest).fold(f32::NEG_INFINITY, |best, &value| best.max(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_and_axpy_take_any_length() {
        for n in [0usize, 1, 15, 16, 17, 100] {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let b: Vec<f32> = (0..n).map(|i| (i % 3) as f32).collect();
            let expected: f32 = (0..n).map(|i| (i * (i % 3)) as f32).sum();
            assert_eq!(dot(&a, &b), expected, "length {n}");
            let mut y = b.clone();
            axpy(&mut y, 2.0, &a);
            assert!((0..n).all(|i| y[i] == (i % 3 + 2 * i) as f32), "length {n}");
        }
    }

    #[test]
    fn exp_of_row_agrees_with_f64_on_a_vocabulary() {
        let values: Vec<f32> = (0..151_936).map(|i| ((i * 37) % 1000) as f32 / 50.0 - 9.0).collect();
        let expected: f64 = values.iter().map(|&v| f64::from(v - 10.98).exp()).sum();
        let mut row = values.clone();
        let (max, sum) = vectorized(
            #[inline(always)]
            || exp_of_row(&mut row),
        );
        assert_eq!(max, 10.98);
        assert!((f64::from(sum) / expected - 1.0).abs() < 1e-6, "{sum} against {expected}");
        assert_eq!(row[values.iter().position(|&v| v == max).unwrap()], 1.0);
    }

    #[test]
    fn nothing_of_a_peaked_row_is_subnormal() {
        for length in [3, 100] {
            let mut row: Vec<f32> = (0..length).map(|at| -63.0 * at as f32).collect();
            row[length - 1] = f32::NEG_INFINITY;
            let (_, sum) = exp_of_row(&mut row);
            assert!(sum == 1.0 && row[1] > 1e-28 && row[2..].iter().all(|value| *value == 0.0), "{row:?}");
        }
        let mut row = [0.0, f32::NAN];
        assert!(exp_of_row(&mut row).1.is_nan() && row[1].is_nan());
    }
}
