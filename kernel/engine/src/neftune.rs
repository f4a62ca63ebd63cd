//! Noise on the embeddings, as a regulariser of training.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;
use rand_chacha::rand_core::SeedableRng;
use tunebook_nn::layers::DropoutRun;

/// The random streams of the noise begin here; dropout's have the bit above.
const NOISE: u64 = 1 << 62;

/// Adds uniform noise in `±alpha / √(tokens · hidden)` to the embeddings of each sample, `[T, hidden]` with samples between
/// the `bounds`, of which not all of the `tokens` need be there; to rows of `text`, since features are laid over the others
/// later. Jain et al. 2023 (arXiv 2310.05914).
///
/// transformers counts padding among a sample's tokens, so there it depends on the other samples of the batch.
pub(crate) fn add_noise(
    x: &mut [f32],
    text: &[bool],
    (bounds, tokens): (&[usize], &[usize]),
    alpha: f64,
    run: DropoutRun,
) {
    let hidden = x.len() / text.len().max(1);
    let mut generator = ChaCha8Rng::seed_from_u64(run.seed);
    generator.set_stream(NOISE | run.micro_batch);
    for (sample, &tokens) in bounds.windows(2).zip(tokens) {
        let range = sample[0]..sample[1];
        let most = (alpha / ((tokens * hidden) as f64).sqrt()) as f32;
        for (row, text) in x[range.start * hidden..range.end * hidden].chunks_exact_mut(hidden).zip(&text[range]) {
            for value in row {
                // From -1 to 1 in steps of 2^-31.
                let noise = generator.next_u32() as i32 as f32 / 2f32.powi(31);
                *value += if *text { most * noise } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIDDEN: usize = 50;

    fn noise(alpha: f64, micro_batch: u64) -> Vec<f32> {
        let mut x = vec![0f32; 40 * HIDDEN];
        let text: Vec<bool> = (0..40).map(|row| row != 3).collect();
        add_noise(&mut x, &text, (&[0, 8, 40], &[8, 50]), alpha, DropoutRun { seed: 7, micro_batch });
        x
    }

    #[test]
    fn it_is_uniform_within_alpha_over_the_root_of_a_samples_size() {
        let x = noise(5.0, 0);
        for (sample, tokens) in [(&x[..8 * HIDDEN], 8), (&x[8 * HIDDEN..], 50)] {
            let most = 5.0 / ((tokens * HIDDEN) as f32).sqrt();
            let largest = sample.iter().fold(0f32, |largest, v| largest.max(v.abs()));
            assert!(largest <= most && largest > 0.97 * most, "{largest} of {most}");
            let mean = sample.iter().sum::<f32>() / sample.len() as f32;
            assert!(mean.abs() < 0.1 * most, "{mean}");
        }
        assert_eq!(x[3 * HIDDEN..4 * HIDDEN], [0.0; HIDDEN], "a picture's row");
    }

    #[test]
    fn the_same_micro_batch_has_the_same_noise() {
        assert_eq!(noise(5.0, 3), noise(5.0, 3));
        assert_ne!(noise(5.0, 3), noise(5.0, 4));
    }
}
