//! Learning-rate schedules.

mod kwargs;
mod plateau;

use std::f64::consts::PI;

use crate::settings::LrSchedulerType;
use crate::settings::Settings;
use kwargs::Kwargs;

pub use kwargs::KwargType;
pub use kwargs::ScheduleError;
pub(crate) use kwargs::check;

/// The learning rate of optimizer step `step` (0 for the first) of `total`; `eval_losses` are those found so far.
///
/// With `W` warmup steps the factor on `learning_rate` rises as `step / W`; after that, with
/// `p = (step - W) / (total - W)`, it is, with the values of `lr_scheduler_kwargs`, whose defaults stand behind `=`,
///
/// - linear: `1 - p`; polynomial: `(1 - p)^power`, from the highest rate down to `lr_end`; `power=1`, `lr_end=1e-7`
/// - cosine: `(1 + cos 2π num_cycles p) / 2`; `num_cycles=0.5`
/// - cosine_with_restarts: the half wave from 1 to 0, `num_cycles=1` times
/// - cosine_with_min_lr: a cosine down to `min_lr_rate`, or `min_lr` as a learning rate, one of which must be given
/// - cosine_warmup_with_min_lr: the same with `step + 1` for `step`; its warmup begins at `1 / W`, or at `warmup_lr_rate`
/// - inverse_sqrt: `√(timescale / (timescale + step - W))`; `timescale=W`, where 10,000 stands for a `W` of 0
/// - warmup_stable_decay: 1 for `num_stable_steps`, then down to `min_lr_ratio=0` over `num_decay_steps`, and then that;
///   a third of the steps after the warmup, and the others. It falls as `decay_type=cosine`, of `num_cycles=0.5`, and warms
///   up as `warmup_type=linear`; both can be linear, cosine, or 1-sqrt
/// - constant_with_warmup: 1; constant: 1 from the first step on; reduce_lr_on_plateau: see [`plateau`]
///
/// Source: `transformers/optimization.py`, with the values that LLaMA-Factory leaves or gives.
pub(crate) fn learning_rate(settings: &Settings, step: usize, total: usize, eval_losses: &[f64]) -> f64 {
    let highest = settings.learning_rate;
    let kwargs = Kwargs(&settings.lr_scheduler_kwargs);
    if settings.lr_scheduler_type == LrSchedulerType::ReduceLrOnPlateau {
        return plateau::learning_rate(highest, kwargs, eval_losses);
    }
    let place = Place { step, warmup: warmup_steps(settings, total), total };
    highest * factor(settings.lr_scheduler_type, highest, place, kwargs)
}

/// `warmup_steps` where it is set, else `warmup_ratio` of all steps, rounded up.
fn warmup_steps(settings: &Settings, total: usize) -> usize {
    match settings.warmup_steps {
        0 => (settings.warmup_ratio * total as f64).ceil() as usize,
        steps => steps,
    }
}

/// A step of a training.
#[derive(Clone, Copy)]
struct Place {
    step: usize,
    warmup: usize,
    total: usize,
}

impl Place {
    /// The part of the warmup that is behind, from 0 to 1.
    fn warmed(self) -> f64 {
        self.step as f64 / self.warmup as f64
    }

    /// Steps after the warmup.
    fn after(self) -> usize {
        self.step.saturating_sub(self.warmup)
    }

    /// Steps after the warmup, in all.
    fn remaining(self) -> usize {
        self.total.saturating_sub(self.warmup)
    }

    /// The part of the steps after the warmup that is behind.
    fn progress(self) -> f64 {
        share(self.after(), self.remaining())
    }
}

fn factor(schedule: LrSchedulerType, highest: f64, place: Place, kwargs: Kwargs) -> f64 {
    /// What `inverse_sqrt` takes for a warmup of no steps.
    const TIMESCALE: usize = 10_000;
    let cycles = |default: f64| kwargs.number("num_cycles", default);
    match schedule {
        LrSchedulerType::Constant | LrSchedulerType::ReduceLrOnPlateau => 1.0,
        LrSchedulerType::WarmupStableDecay => warmup_stable_decay(place, kwargs),
        LrSchedulerType::CosineWarmupWithMinLr => cosine_warmup_with_min_lr(place, least(highest, kwargs), kwargs),
        _ if place.step < place.warmup => place.warmed(),
        LrSchedulerType::ConstantWithWarmup => 1.0,
        LrSchedulerType::Linear => 1.0 - place.progress(),
        LrSchedulerType::Polynomial => {
            let end = (kwargs.number("lr_end", 1e-7) / highest).min(1.0);
            (1.0 - end) * (1.0 - place.progress()).powf(kwargs.number("power", 1.0)) + end
        }
        LrSchedulerType::Cosine => cosine(cycles(0.5) * 2.0 * place.progress()),
        LrSchedulerType::CosineWithRestarts if place.progress() >= 1.0 => 0.0,
        LrSchedulerType::CosineWithRestarts => cosine((cycles(1.0) * place.progress()) % 1.0),
        LrSchedulerType::CosineWithMinLr => above(cosine(cycles(0.5) * 2.0 * place.progress()), least(highest, kwargs)),
        LrSchedulerType::InverseSqrt => {
            let usual = if place.warmup > 0 { place.warmup } else { TIMESCALE };
            let timescale = kwargs.number("timescale", usual as f64).max(1.0);
            (timescale / (timescale + place.after() as f64)).sqrt()
        }
    }
}

fn warmup_stable_decay(place: Place, kwargs: Kwargs) -> f64 {
    let third = place.remaining() / 3;
    let stable = kwargs.whole("num_stable_steps", third);
    let decay = kwargs.whole("num_decay_steps", place.remaining() - third);
    let least = kwargs.number("min_lr_ratio", 0.0);
    if place.step < place.warmup {
        let rising = match kwargs.word("warmup_type") {
            Some("cosine") => 0.5 * (1.0 - (PI * place.warmed()).cos()),
            Some("1-sqrt") => 1.0 - (1.0 - place.warmed()).sqrt(),
            _ => place.warmed(),
        };
        return above(rising, least);
    }
    if place.after() < stable {
        return 1.0;
    }
    if place.after() >= stable + decay {
        return least;
    }
    let progress = share(place.after() - stable, decay);
    let falling = match kwargs.word("decay_type") {
        Some("linear") => 1.0 - progress,
        Some("1-sqrt") => 1.0 - progress.sqrt(),
        _ => cosine(kwargs.number("num_cycles", 0.5) * 2.0 * progress),
    };
    above(falling, least)
}

fn cosine_warmup_with_min_lr(place: Place, least: f64, kwargs: Kwargs) -> f64 {
    if place.step < place.warmup {
        return match kwargs.get("warmup_lr_rate") {
            None => (place.step + 1) as f64 / place.warmup as f64,
            Some(first) => first + (1.0 - first) * place.step as f64 / (place.warmup - 1).max(1) as f64,
        };
    }
    let progress = share(place.after() + 1, place.remaining());
    above(cosine(kwargs.number("num_cycles", 0.5) * 2.0 * progress), least)
}

/// The lowest factor that is asked for.
fn least(highest: f64, kwargs: Kwargs) -> f64 {
    kwargs.get("min_lr").map_or_else(|| kwargs.number("min_lr_rate", 0.0), |rate| rate / highest)
}

/// From 1 to `least` where `factor` goes from 1 to 0.
fn above(factor: f64, least: f64) -> f64 {
    (factor * (1.0 - least) + least).max(0.0)
}

/// From 1 to 0 over half a period.
fn cosine(progress: f64) -> f64 {
    0.5 * (1.0 + (PI * progress).cos())
}

fn share(steps: usize, of: usize) -> f64 {
    (steps as f64 / of.max(1) as f64).min(1.0)
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
        assert_eq!(schedules.len(), 34);
        for schedule in schedules {
            let mut settings = Settings { learning_rate: 1e-3, ..Settings::default() };
            settings.set("lr_scheduler_type", schedule["lr_scheduler_type"].as_str().unwrap()).unwrap();
            settings.set("warmup_steps", &schedule["warmup_steps"].to_string()).unwrap();
            settings.set("lr_scheduler_kwargs", &schedule["lr_scheduler_kwargs"].to_string()).unwrap();
            check(&settings).unwrap();
            let expected = schedule["learning_rates"].as_array().unwrap();
            for (step, rate) in expected.iter().enumerate() {
                let found = learning_rate(&settings, step, expected.len(), &[]);
                let rate = rate.as_f64().unwrap();
                assert!((found - rate).abs() < 1e-12, "{schedule}: step {step} has {found}");
            }
        }
    }

    /// `tests/reference/schedules.py`.
    #[test]
    fn a_plateau_lowers_the_rate_as_torch_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/train/schedules.json");
        let fixture: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let losses: Vec<f64> = fixture["eval_losses"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let rows = fixture["plateaus"].as_array().unwrap();
        assert_eq!(rows.len(), 6);
        for row in rows {
            let mut settings = Settings { learning_rate: 1e-3, ..Settings::default() };
            settings.set("lr_scheduler_type", "reduce_lr_on_plateau").unwrap();
            settings.set("lr_scheduler_kwargs", &row["lr_scheduler_kwargs"].to_string()).unwrap();
            check(&settings).unwrap();
            for (seen, rate) in row["learning_rates"].as_array().unwrap().iter().enumerate() {
                let (found, rate) = (learning_rate(&settings, 5, 10, &losses[..seen]), rate.as_f64().unwrap());
                assert!((found - rate).abs() < 1e-12, "{row}: after {seen} evaluations it is {found}");
            }
        }
    }

    #[test]
    fn no_number_of_steps_makes_a_rate_that_is_no_number() {
        for schedule in [
            "linear",
            "polynomial",
            "cosine",
            "cosine_warmup_with_min_lr",
            "inverse_sqrt",
            "warmup_stable_decay",
            "reduce_lr_on_plateau",
        ] {
            let mut settings = Settings { learning_rate: 1e-3, warmup_steps: 5, ..Settings::default() };
            settings.set("lr_scheduler_type", schedule).unwrap();
            for (step, total) in [(0, 0), (5, 5), (5, 6), (9, 6), (3, 2), (0, 1)] {
                let rate = learning_rate(&settings, step, total, &[f64::NAN, 0.0]);
                assert!((0.0..=1e-3).contains(&rate), "{schedule}, step {step} of {total}: {rate}");
            }
        }
    }
}
