//! What a series of losses shows.

use super::Advice;
use crate::report::StepRecord;
use crate::settings::Settings;

/// Steps whose median stands for where the loss is.
const WINDOW: usize = 5;
/// Fewer steps than that show neither that the loss rises nor that it does not fall.
const RISING_STEPS: usize = 15;
const FALLING_STEPS: usize = 30;
const SWINGING_STEPS: usize = 20;
/// A lower loss is as good as learned.
const LEARNED: f64 = 0.2;

/// What is wrong with the losses of steps that were made with the same settings.
pub(super) fn advice(records: &[StepRecord], settings: &Settings) -> Option<Advice> {
    no_gradient(records, settings)
        .or_else(|| rising(records, settings))
        .or_else(|| not_falling(records, settings))
        .or_else(|| swinging(records, settings))
}

/// The gradient of the last steps is 0 though the loss is not: values are so large that softmax and activations are
/// saturated, and no step can mend that.
fn no_gradient(records: &[StepRecord], settings: &Settings) -> Option<Advice> {
    let last = records.last_chunk::<WINDOW>()?;
    let loss = last[WINDOW - 1].loss();
    (last.iter().all(|record| record.grad_norm == 0.0) && loss > LEARNED).then_some(Advice::NoGradient {
        steps: WINDOW,
        loss,
        learning_rate: settings.learning_rate,
    })
}

/// The median of the last steps is above the lowest one before, by more than a fifth, and by more than the noise
/// explains: the medians of a window of five differ by less than 4 of their standard deviations, which are 0.54 of a
/// single step's.
fn rising(records: &[StepRecord], settings: &Settings) -> Option<Advice> {
    if records.len() < RISING_STEPS {
        return None;
    }
    let losses = losses(records);
    let (before, last) = losses.split_at(losses.len() - WINDOW);
    let now = median(last);
    let medians = before.windows(WINDOW).map(median).enumerate();
    let (place, lowest) = medians.min_by(|a, b| a.1.total_cmp(&b.1))?;
    let noise = 4.0 * 0.54 * f64::sqrt(2.0) * spread(&losses);
    let step = records[place + WINDOW / 2].step;
    (now - lowest > noise.max(0.2 * lowest).max(LEARNED / 2.0)).then_some(Advice::Rising {
        lowest,
        step,
        now,
        learning_rate: settings.learning_rate,
    })
}

/// The last third of the steps is less than 1 % below the first ones, and the noise is small enough to tell that from a
/// fall of 5 %. Steps of the warmup do not count.
fn not_falling(records: &[StepRecord], settings: &Settings) -> Option<Advice> {
    let start = records.iter().position(|record| record.learning_rate >= 0.5 * settings.learning_rate)?;
    let losses = losses(&records[start..]);
    if losses.len() < FALLING_STEPS {
        return None;
    }
    let (first, last) = (&losses[..2 * WINDOW], &losses[losses.len() - losses.len() / 3..]);
    let (before, now) = (mean(first), mean(last));
    let doubt = spread(&losses) * (1.0 / first.len() as f64 + 1.0 / last.len() as f64).sqrt();
    let is_shown = before - now < 0.01 * before && 2.0 * doubt < 0.04 * before;
    (is_shown && now > LEARNED).then_some(Advice::NotFalling {
        steps: losses.len(),
        before,
        now,
        learning_rate: settings.learning_rate,
    })
}

/// From step to step the loss moves by more than half of itself.
fn swinging(records: &[StepRecord], settings: &Settings) -> Option<Advice> {
    let last = records.len().checked_sub(SWINGING_STEPS).map(|start| losses(&records[start..]))?;
    let (mean, spread) = (mean(&last), spread(&last));
    (spread > 0.5 * mean && mean > LEARNED).then_some(Advice::Swinging {
        mean,
        spread,
        samples: settings.per_device_train_batch_size * settings.micro_batches_per_step(),
        learning_rate: settings.learning_rate,
    })
}

fn losses(records: &[StepRecord]) -> Vec<f64> {
    records.iter().map(StepRecord::loss).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// The standard deviation of a single step around its trend, from the differences of neighbours: their median over
/// 0.6745 · √2, so that neither a trend nor one outlier counts.
fn spread(values: &[f64]) -> f64 {
    let differences: Vec<_> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    median(&differences) / (0.6745 * f64::sqrt(2.0))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::step_metrics::StepMetrics;

    fn records(losses: impl Iterator<Item = f64>) -> Vec<StepRecord> {
        let record = |(index, loss): (usize, f64)| StepRecord {
            step: index + 1,
            total_steps: 100,
            metrics: StepMetrics::of_loss(loss),
            grad_norm: 1.0,
            learning_rate: Settings::default().learning_rate,
            epoch: 0.0,
            tokens: 0,
            elapsed: 0.0,
        };
        losses.enumerate().map(record).collect()
    }

    /// Reproducible noise, evenly spread between -1 and 1.
    fn noise(step: usize) -> f64 {
        let hash = (step as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((hash ^ hash >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f64 / (1u64 << 23) as f64 - 1.0
    }

    /// Every advice that a training would have heard, step by step.
    fn heard(losses: Vec<f64>) -> Vec<Advice> {
        let records = records(losses.into_iter());
        let settings = Settings::default();
        let mut heard: Vec<Advice> = Vec::new();
        for end in 1..=records.len() {
            let new = advice(&records[..end], &settings);
            heard.extend(
                new.filter(|new| heard.iter().all(|old| std::mem::discriminant(old) != std::mem::discriminant(new))),
            );
        }
        heard
    }

    #[test]
    fn a_loss_that_rises_is_noticed() {
        let losses =
            (0..40).map(|step| if step < 15 { 3.0 - 0.1 * step as f64 } else { 1.6 + 0.08 * (step - 15) as f64 });
        let found = heard(losses.map(|loss| loss + 0.02 * noise(loss.to_bits() as usize)).collect());
        let [Advice::Rising { lowest, step, now, learning_rate }] = found[..] else { panic!("{found:?}") };
        assert!((1.5..1.8).contains(&lowest) && now > 1.2 * lowest && (12..20).contains(&step), "{found:?}");
        assert_eq!(learning_rate, 5e-5);
    }

    #[test]
    fn a_loss_that_stands_still_is_noticed() {
        let found = heard((0..60).map(|step| 2.0 + 0.05 * noise(step)).collect());
        let [Advice::NotFalling { before, now, .. }] = found[..] else { panic!("{found:?}") };
        assert!((before - 2.0).abs() < 0.05 && (now - 2.0).abs() < 0.05);
    }

    #[test]
    fn a_gradient_of_0_is_noticed_where_something_is_left_to_learn() {
        for (loss, is_noticed) in [(16.5, true), (0.01, false)] {
            let mut records = records([3.0, 8.0, loss, loss, loss, loss, loss].into_iter());
            records[2..].iter_mut().for_each(|record| record.grad_norm = 0.0);
            let expected = Advice::NoGradient { steps: 5, loss, learning_rate: 5e-5 };
            assert_eq!(advice(&records, &Settings::default()), is_noticed.then_some(expected));
            assert_eq!(advice(&records[..6], &Settings::default()), None, "four steps may be chance");
        }
    }

    #[test]
    fn a_loss_that_swings_is_noticed() {
        let found = heard((0..30).map(|step| if step % 2 == 0 { 0.5 } else { 3.0 }).collect());
        let [Advice::Swinging { mean, spread, samples, .. }] = found[..] else { panic!("{found:?}") };
        assert!((mean - 1.75).abs() < 0.01 && spread > 1.0 && samples == 16);
    }

    #[test]
    fn a_training_as_it_should_be_hears_nothing() {
        let falls = |step: usize| 0.8 + 2.5 * (-(step as f64) / 20.0).exp();
        for strength in [0.0, 0.02, 0.1, 0.3] {
            let losses = |len| (0..len).map(|step| falls(step) * (1.0 + strength * noise(step))).collect::<Vec<_>>();
            assert_eq!(heard(losses(400)), [], "noise of {strength}");
        }
        // All is learned, and what is left is noise.
        assert_eq!(
            heard((0..200).map(|step| 3.0 * (-(step as f64) / 8.0).exp() + 0.01 * (1.0 + noise(step))).collect()),
            []
        );
        // Epochs: the loss falls in steps where samples come again.
        assert_eq!(heard((0..90).map(|step| [2.0, 1.5, 0.9][step / 30] + 0.15 * noise(step)).collect()), []);
        // One bad step is none.
        assert_eq!(heard((0..60).map(|step| if step == 40 { 9.0 } else { falls(step) }).collect()), []);
    }

    #[test]
    fn real_trainings_hear_nothing() {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/train");
        let mut seen = 0;
        for folder in std::fs::read_dir(fixtures).unwrap() {
            let Ok(text) = std::fs::read(folder.unwrap().path().join("steps.json")) else { continue };
            let root: Value = serde_json::from_slice(&text).unwrap();
            let losses = root["steps"].as_array().unwrap().iter().map(|step| step["loss"].as_f64().unwrap());
            assert_eq!(heard(losses.collect()), []);
            seen += 1;
        }
        assert!(seen > 5);
        let long: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/advice/losses.json")).unwrap();
        for (name, losses) in long["losses"].as_object().unwrap() {
            let losses: Vec<_> = losses.as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect();
            assert!(losses.len() >= 60);
            assert_eq!(heard(losses), [], "{name}");
        }
    }
}
