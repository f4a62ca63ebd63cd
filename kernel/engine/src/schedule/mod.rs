//! Learning-rate schedules.

use crate::settings::LrSchedulerType;
use crate::settings::Settings;

/// The learning rate of optimizer step `step` (0 for the first) of `total`.
///
/// With `W` warmup steps the factor on `learning_rate` rises as `step / W`; after that, with
/// `p = (step - W) / (total - W)`, it is
///
/// - linear: `1 - p`; polynomial: the same down to a learning rate of 1e-7
/// - cosine and cosine_with_restarts (of one cycle): `(1 + cos πp) / 2`
/// - inverse_sqrt: `√(W / step)`, where 10,000 stands for a `W` of 0, and the steps count from there
/// - warmup_stable_decay: 1 for a third of the steps after the warmup, then a cosine over the others
/// - constant_with_warmup: 1; constant: 1 from the first step on.
///
/// Source: `transformers/optimization.py`, with the values that LLaMA-Factory leaves or gives.
pub fn learning_rate(settings: &Settings, step: usize, total: usize) -> f64 {
    let warmup = warmup_steps(settings, total);
    settings.learning_rate * factor(settings.lr_scheduler_type, settings.learning_rate, step, warmup, total)
}

/// `warmup_steps` where it is set, else `warmup_ratio` of all steps, rounded up.
fn warmup_steps(settings: &Settings, total: usize) -> usize {
    match settings.warmup_steps {
        0 => (settings.warmup_ratio * total as f64).ceil() as usize,
        steps => steps,
    }
}

fn factor(schedule: LrSchedulerType, highest: f64, step: usize, warmup: usize, total: usize) -> f64 {
    /// The learning rate in which `polynomial` ends.
    const LAST: f64 = 1e-7;
    /// What `inverse_sqrt` takes for a warmup of no steps.
    const TIMESCALE: usize = 10_000;
    if schedule == LrSchedulerType::Constant {
        return 1.0;
    }
    if step < warmup {
        return step as f64 / warmup as f64;
    }
    let after = step - warmup;
    let share = |steps: usize, of: usize| (steps as f64 / of.max(1) as f64).min(1.0);
    let progress = share(after, total.saturating_sub(warmup));
    match schedule {
        LrSchedulerType::Linear => 1.0 - progress,
        LrSchedulerType::Polynomial => (1.0 - progress) + progress * (LAST / highest).min(1.0),
        LrSchedulerType::Cosine | LrSchedulerType::CosineWithRestarts => cosine(progress),
        LrSchedulerType::InverseSqrt => {
            let timescale = if warmup > 0 { warmup } else { TIMESCALE };
            (timescale as f64 / (timescale + after) as f64).sqrt()
        }
        LrSchedulerType::WarmupStableDecay => {
            let remaining = total.saturating_sub(warmup);
            let stable = remaining / 3;
            cosine(share(after.saturating_sub(stable), remaining - stable))
        }
        LrSchedulerType::Constant | LrSchedulerType::ConstantWithWarmup => 1.0,
    }
}

/// From 1 to 0 over half a period.
fn cosine(progress: f64) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// `tests/reference/schedules.py`.
    #[test]
    fn learning_rates_are_those_of_transformers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/train/schedules.json");
        let fixture: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let schedules = fixture["schedules"].as_array().unwrap();
        assert_eq!(schedules.len(), 16);
        for schedule in schedules {
            let mut settings = Settings { learning_rate: 1e-3, ..Settings::default() };
            settings.set("lr_scheduler_type", schedule["lr_scheduler_type"].as_str().unwrap()).unwrap();
            settings.set("warmup_steps", &schedule["warmup_steps"].to_string()).unwrap();
            let expected = schedule["learning_rates"].as_array().unwrap();
            for (step, rate) in expected.iter().enumerate() {
                let (found, rate) = (learning_rate(&settings, step, expected.len()), rate.as_f64().unwrap());
                assert!((found - rate).abs() < 1e-12, "{schedule}: step {step} has {found}");
            }
        }
    }

    #[test]
    fn no_number_of_steps_makes_a_rate_that_is_no_number() {
        for schedule in ["linear", "polynomial", "cosine", "inverse_sqrt", "warmup_stable_decay"] {
            let mut settings = Settings { learning_rate: 1e-3, warmup_steps: 5, ..Settings::default() };
            settings.set("lr_scheduler_type", schedule).unwrap();
            for (step, total) in [(0, 0), (5, 5), (5, 6), (9, 6), (3, 2)] {
                let rate = learning_rate(&settings, step, total);
                assert!((0.0..=1e-3).contains(&rate), "{schedule}, step {step} of {total}: {rate}");
            }
        }
    }
}
