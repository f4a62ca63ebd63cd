//! An exponential that the compiler can vectorise; the one of libm is a scalar call.

/// e^x with a relative error below 2e-7 for x in [-87.3, 88]; beyond, it stays at the value of the nearer end.
///
/// Cody and Waite's range reduction, x = n ln 2 + r with |r| <= ln 2 / 2, and the degree-5 minimax polynomial
/// of Cephes' `expf` for e^r.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then lies in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has few enough bits for n times it to be exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.3, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let power_of_two = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()));
    (p * r * r + r + 1.0) * power_of_two
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_f64_over_its_range() {
        let mut worst = 0f64;
        for step in 0..=2_000_000 {
            let x = (-87.3 + 175.3 * step as f64 / 2_000_000.0) as f32;
            let expected = (x as f64).exp();
            worst = worst.max(((exp(x) as f64 - expected) / expected).abs());
        }
        assert!(worst < 2e-7, "relative error {worst:e}");
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn exp_is_finite_outside_its_range_and_keeps_nan() {
        assert!(exp(f32::INFINITY).is_finite() && exp(1e30) > 1e38);
        assert!(exp(f32::NEG_INFINITY) < 1.3e-38 && exp(-1e30) > 0.0);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_saturates_at_both_ends() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(sigmoid(40.0), 1.0);
        assert!(sigmoid(-100.0) > 0.0 && sigmoid(-100.0) < 1e-37);
    }
}
