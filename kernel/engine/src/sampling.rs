//! The choice of the next token.

use std::collections::HashSet;

use candle_core::D;
use candle_core::Device;
use candle_core::Result;
use candle_core::Tensor;
use candle_nn::ops::softmax;
use candle_transformers::generation::LogitsProcessor;

use crate::model::GenerationConfig;
use crate::settings::Settings;

/// The decoding parameters of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// How a token is sampled; none is greedy decoding.
    pub sampling: Option<Sampling>,
    /// Logits of tokens that occur in the prompt or the answer are divided by this if positive, multiplied if negative.
    pub repetition_penalty: f32,
    pub max_new_tokens: usize,
    pub seed: u64,
    pub eos_token_ids: Vec<u32>,
}

/// From which tokens one is sampled, and with what weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; above 0.
    pub temperature: f64,
    /// The likeliest so many; 0 for all.
    pub top_k: usize,
    /// Of those, the likeliest that together have this share of the probability; 1 for all.
    pub top_p: f64,
}

impl Choice {
    /// The session's settings, and where they are silent the model's own defaults. A temperature of 0, or
    /// `do_sample=false`, takes the likeliest token; naming a temperature, top_p or top_k asks for sampling.
    pub fn new(settings: &Settings, model: &GenerationConfig, seed: u64) -> Self {
        let named = settings.temperature.is_some() || settings.top_p.is_some() || settings.top_k.is_some();
        let sample = settings.do_sample.unwrap_or(named || model.do_sample);
        let sampling = Sampling {
            temperature: settings.temperature.unwrap_or(model.temperature),
            top_k: settings.top_k.unwrap_or(model.top_k),
            top_p: settings.top_p.unwrap_or(model.top_p),
        };
        Self {
            sampling: (sample && sampling.temperature > 0.0).then_some(sampling),
            repetition_penalty: settings.repetition_penalty.map_or(model.repetition_penalty, |p| p as f32),
            max_new_tokens: settings.max_new_tokens,
            seed,
            eos_token_ids: model.eos_token_ids.clone(),
        }
    }
}

/// Chooses one token after another. The steps are those of transformers' `generate`, in its order: repetition
/// penalty, temperature, top_k, top_p.
pub(crate) struct Sampler {
    sampling: Option<(Sampling, LogitsProcessor)>,
    repetition_penalty: f32,
    /// Tokens of the prompt and of the answer so far.
    seen: HashSet<u32>,
}

impl Sampler {
    pub(crate) fn new(choice: &Choice, prompt: &[u32]) -> Self {
        let draw = |sampling: Sampling| (sampling, LogitsProcessor::new(choice.seed, Some(sampling.temperature), None));
        Self {
            sampling: choice.sampling.map(draw),
            repetition_penalty: choice.repetition_penalty,
            seen: prompt.iter().copied().collect(),
        }
    }

    /// The token that follows, given the logits of all; they may be changed.
    pub(crate) fn next(&mut self, logits: &mut [f32]) -> u32 {
        if self.repetition_penalty != 1.0 {
            for &token in &self.seen {
                if let Some(logit) = logits.get_mut(token as usize) {
                    let penalty = self.repetition_penalty;
                    *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
                }
            }
        }
        let token = match &mut self.sampling {
            None => likeliest(logits),
            // Logits that are no numbers have no probabilities.
            Some((sampling, processor)) => drawn(logits, *sampling, processor).unwrap_or_else(|_| likeliest(logits)),
        };
        self.seen.insert(token);
        token
    }
}

fn drawn(logits: &[f32], sampling: Sampling, processor: &mut LogitsProcessor) -> Result<u32> {
    let candidates = candidates(logits, sampling)?;
    if candidates.is_empty() {
        return Ok(likeliest(logits));
    }
    let at = processor.sample(&of_tokens(&candidates, logits)?)?;
    Ok(candidates[at as usize])
}

fn of_tokens(tokens: &[u32], logits: &[f32]) -> Result<Tensor> {
    Tensor::from_iter(tokens.iter().map(|&token| logits[token as usize]), &Device::Cpu)
}

/// The first of the tokens with the largest logit.
fn likeliest(logits: &[f32]) -> u32 {
    let best = maximum(logits);
    logits.iter().position(|&logit| logit == best).unwrap_or(0) as u32
}

fn maximum(logits: &[f32]) -> f32 {
    // Several at a time, so that the compiler uses vectors.
    let mut best = [f32::NEG_INFINITY; 16];
    let (blocks, rest) = logits.as_chunks::<16>();
    for block in blocks {
        for (best, &logit) in best.iter_mut().zip(block) {
            *best = best.max(logit);
        }
    }
    best.iter().chain(rest).fold(f32::NEG_INFINITY, |best, &logit| best.max(logit))
}

/// The tokens that may be drawn.
fn candidates(logits: &[f32], Sampling { temperature, top_k, top_p }: Sampling) -> Result<Vec<u32>> {
    let least = if top_k == 0 { f32::NEG_INFINITY } else { kth_largest(logits, top_k) };
    let candidates: Vec<u32> =
        (0..).zip(logits).filter(|(_, logit)| **logit >= least).map(|(token, _)| token).collect();
    if top_p >= 1.0 {
        return Ok(candidates);
    }
    let probabilities = softmax(&(of_tokens(&candidates, logits)? / temperature)?, D::Minus1)?.to_vec1()?;
    Ok(nucleus(candidates.into_iter().zip(probabilities).collect(), top_p))
}

/// The `k`-th largest of the logits, or less than all of them if there are fewer.
fn kth_largest(logits: &[f32], k: usize) -> f32 {
    let mut largest: Vec<f32> = Vec::new();
    let mut least = f32::NEG_INFINITY;
    let keep = |largest: &mut Vec<f32>| {
        let (_, &mut kth, _) = largest.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        largest.truncate(k);
        kth
    };
    for &logit in logits {
        if logit > least {
            largest.push(logit);
            if largest.len() >= k.saturating_mul(2) {
                least = keep(&mut largest);
            }
        }
    }
    if largest.len() < k { f32::NEG_INFINITY } else { keep(&mut largest) }
}

/// Of tokens and their probabilities the likeliest, as many as it takes to have the share `p`, and at least one.
fn nucleus(mut candidates: Vec<(u32, f32)>, p: f64) -> Vec<u32> {
    // All that are below this have less than the share 1 - p together, so none of them is needed. This leaves a few
    // hundred of a whole vocabulary to sort.
    let floor = (1.0 - p) / candidates.len().max(1) as f64;
    candidates.retain(|(_, probability)| f64::from(*probability) >= floor);
    candidates.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let mut before = 0.0;
    let needed = candidates.iter().take_while(|(_, probability)| {
        let needed = before < p;
        before += f64::from(*probability);
        needed
    });
    let needed = needed.count().max(1);
    candidates.into_iter().take(needed).map(|(token, _)| token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(sampling: Option<Sampling>, repetition_penalty: f32) -> Choice {
        Choice { sampling, repetition_penalty, max_new_tokens: 1, seed: 7, eos_token_ids: Vec::new() }
    }

    /// Logits of probabilities.
    fn logits(probabilities: &[f32]) -> Vec<f32> {
        probabilities.iter().map(|p| p.ln()).collect()
    }

    #[test]
    fn without_sampling_the_first_of_the_likeliest_is_taken() {
        let mut values = vec![-1.0; 100];
        (values[33], values[71]) = (2.0, 2.0);
        assert_eq!(Sampler::new(&choice(None, 1.0), &[]).next(&mut values.clone()), 33);
    }

    #[test]
    fn the_penalty_meets_each_token_seen_once_whatever_its_sign() {
        let mut sampler = Sampler::new(&choice(None, 2.0), &[0, 0, 3]);
        // 1.5 / 2 is still the largest; then the others follow, each penalised once it was taken.
        assert_eq!(sampler.next(&mut [1.5, 0.7, 0.6, -0.1]), 0);
        assert_eq!(sampler.next(&mut [1.2, 0.7, 0.6, -0.1]), 1);
        assert_eq!(sampler.next(&mut [1.0, 0.7, 0.6, -0.1]), 2);
        assert_eq!(sampler.next(&mut [-0.3, -0.2, -0.25, -0.1]), 3, "-0.1 becomes -0.2, the others -0.4 and less");
    }

    #[test]
    fn top_k_keeps_the_largest() {
        let values: Vec<f32> = (0..1000).map(|i| ((i * 617) % 1000) as f32).collect();
        for k in [1, 2, 3, 50, 999, 1000, 2000] {
            let found = candidates(&values, Sampling { temperature: 1.0, top_k: k, top_p: 1.0 }).unwrap();
            assert_eq!(found.len(), k.min(1000), "k = {k}");
            assert!(found.iter().all(|&token| values[token as usize] >= 1000.0 - k as f32), "k = {k}");
        }
    }

    #[test]
    fn top_p_keeps_the_fewest_that_hold_the_share() {
        let values = logits(&[0.1, 0.4, 0.05, 0.3, 0.15]);
        let kept = |top_k, top_p| {
            let mut tokens = candidates(&values, Sampling { temperature: 1.0, top_k, top_p }).unwrap();
            tokens.sort_unstable();
            tokens
        };
        assert_eq!(kept(0, 0.0), [1]);
        assert_eq!(kept(0, 0.39), [1]);
        assert_eq!(kept(0, 0.41), [1, 3]);
        assert_eq!(kept(0, 0.84), [1, 3, 4]);
        assert_eq!(kept(0, 0.951), [0, 1, 2, 3, 4]);
        // Of the two largest, the first has 4/7 of the weight: top_p counts what top_k has left.
        assert_eq!(kept(2, 0.5), [1]);
        assert_eq!(kept(2, 0.6), [1, 3]);
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_probable_and_the_seed_repeats_them() {
        let (values, sampling) = (logits(&[0.5, 0.2, 0.3]), Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 });
        let run = || {
            let mut sampler = Sampler::new(&choice(Some(sampling), 1.0), &[]);
            (0..20_000).map(|_| sampler.next(&mut values.clone())).collect::<Vec<_>>()
        };
        let drawn = run();
        for (token, expected) in [(0, 0.5), (1, 0.2), (2, 0.3)] {
            let share = drawn.iter().filter(|&&t| t == token).count() as f64 / drawn.len() as f64;
            assert!((share - expected).abs() < 0.015, "{token}: {share}");
        }
        assert_eq!(drawn, run());
        let cold = Sampling { temperature: 1e-6, ..sampling };
        assert_eq!(Sampler::new(&choice(Some(cold), 1.0), &[]).next(&mut values.clone()), 0);
    }

    #[test]
    fn logits_that_are_no_numbers_choose_some_token() {
        let all = Sampling { temperature: 1.0, top_k: 2, top_p: 0.5 };
        for sampling in [None, Some(all), Some(Sampling { top_k: 0, ..all })] {
            assert!(Sampler::new(&choice(sampling, 1.1), &[0]).next(&mut [f32::NAN; 40]) < 40);
            assert!(Sampler::new(&choice(sampling, 1.1), &[0]).next(&mut [f32::NEG_INFINITY; 40]) < 40);
        }
    }
}
