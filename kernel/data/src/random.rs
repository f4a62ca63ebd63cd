//! Random numbers that depend on nothing but a seed: ChaCha, with one stream for each purpose.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// First stream of the epochs' orders; epoch `e` has stream `SHUFFLE + e`.
pub(crate) const SHUFFLE: u64 = 1 << 32;
/// First stream of the drawn creatures; see there.
pub(crate) const CREATURES: u64 = 2 << 32;

/// A number in `0..n` (0 for n = 0), by Lemire's widening multiplication; the bias of n / 2⁶⁴ is left in.
pub fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// A number in `[0, 1)` with 53 random bits.
pub fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Fisher and Yates's shuffle.
pub fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(rng, last + 1));
    }
}
