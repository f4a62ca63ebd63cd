//! The two random number generators of numpy through which LLaMA-Factory chooses samples, number for number.

use rand_mt::Mt;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::RngCore;

/// `numpy.random.default_rng(seed)`: PCG64, seeded by a `SeedSequence`.
pub(crate) struct Generator {
    pcg: Pcg64,
    /// The upper half of a number whose lower half was given out as a number of 32 bits.
    half: Option<u32>,
}

/// `numpy.random.RandomState(seed)`, which is also numpy's global state after `numpy.random.seed(seed)`: MT19937.
pub(crate) struct RandomState(Mt);

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let [a, b, c, d] = seed_sequence(seed).map(u128::from);
        Self { pcg: Pcg64::new(a << 64 | b, c << 64 | d), half: None }
    }

    /// `permutation(len)`
    pub(crate) fn permutation(&mut self, len: usize) -> Vec<usize> {
        permutation(len, || self.next_u32())
    }

    /// `choice(len(probabilities), p=probabilities)`, one draw after the other. `cumulated` are the sums of the
    /// probabilities up to each, the last of which is 1.
    pub(crate) fn choice(&mut self, cumulated: &[f64]) -> usize {
        let number = (self.pcg.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        cumulated.partition_point(|sum| *sum <= number)
    }

    fn next_u32(&mut self) -> u32 {
        self.half.take().unwrap_or_else(|| {
            let number = self.pcg.next_u64();
            self.half = Some((number >> 32) as u32);
            number as u32
        })
    }
}

impl RandomState {
    pub(crate) fn new(seed: u64) -> Self {
        // As transformers' set_seed: numpy takes 32 bits.
        Self(Mt::new(seed as u32))
    }

    /// `permutation(len)`
    pub(crate) fn permutation(&mut self, len: usize) -> Vec<usize> {
        permutation(len, || self.0.next_u32())
    }

    /// `choice(len, count)`: with replacement; `len` is at least 1.
    pub(crate) fn choice(&mut self, len: usize, count: usize) -> Vec<usize> {
        (0..count).map(|_| interval(len - 1, || self.0.next_u32())).collect()
    }
}

/// Fisher and Yates's shuffle from the end.
fn permutation(len: usize, mut next: impl FnMut() -> u32) -> Vec<usize> {
    let mut order: Vec<_> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, interval(last, &mut next));
    }
    order
}

/// A number in `0..=max`: the bits that `max` has, until they are no more than it. More than 2³² samples would not
/// fit memory.
fn interval(max: usize, mut next: impl FnMut() -> u32) -> usize {
    if max == 0 {
        return 0;
    }
    let mask = u32::MAX >> (max as u32).leading_zeros();
    loop {
        let number = (next() & mask) as usize;
        if number <= max {
            return number;
        }
    }
}

/// `SeedSequence(seed).generate_state(4, uint64)`, O'Neill's `seed_seq_fe` over a pool of four words.
fn seed_sequence(seed: u64) -> [u64; 4] {
    let mut constant = 0x43b0_d7e5_u32;
    let mut hash = |value: u32| {
        let value = value ^ constant;
        constant = constant.wrapping_mul(0x931e_8875);
        fold(value.wrapping_mul(constant))
    };
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(&mut hash);
    for from in 0..pool.len() {
        for to in (0..pool.len()).filter(|to| *to != from) {
            let hashed = hash(pool[from]).wrapping_mul(0x4973_f715);
            pool[to] = fold(pool[to].wrapping_mul(0xca01_f9dd).wrapping_sub(hashed));
        }
    }

    let mut constant = 0x8b51_f9dd_u32;
    let mut word = |index: usize| {
        let value = pool[index % pool.len()] ^ constant;
        constant = constant.wrapping_mul(0x58f3_8ded);
        u64::from(fold(value.wrapping_mul(constant)))
    };
    std::array::from_fn(|index| word(2 * index) | word(2 * index + 1) << 32)
}

fn fold(value: u32) -> u32 {
    value ^ (value >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn numbers_are_numpys() {
        let list = |value: &serde_json::Value| -> Vec<usize> {
            value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
        };
        for case in fixtures::json("encode/choices.json")["numpy"].as_array().unwrap() {
            let (seed, len) = (case["seed"].as_u64().unwrap(), case["len"].as_u64().unwrap() as usize);
            assert_eq!(Generator::new(seed).permutation(len), list(&case["permutation"]), "seed {seed}");
            let mut old = RandomState::new(seed);
            assert_eq!(old.permutation(len), list(&case["global_permutation"]), "seed {seed}");
            assert_eq!(old.choice(len, 10), list(&case["global_choice"]), "seed {seed}");
        }
    }
}
