//! Learning-rate schedules.

use crate::settings::LrSchedulerType;
use crate::settings::Settings;

/// The learning rate of optimizer step `step` (0 for the first) of `total`.
///
/// With `W` warmup steps the factor on `learning_rate` rises as `step / W`; after that, with
/// `p = (step - W) / (total - W)`, it is `(1 + cos πp) / 2` (cosine), `1 - p` (linear) or 1
/// (constant_with_warmup). `constant` has no warmup. Source: `transformers/optimization.py`.
pub fn learning_rate(settings: &Settings, step: usize, total: usize) -> f64 {
    settings.learning_rate * factor(settings.lr_scheduler_type, step, warmup_steps(settings, total), total)
}

/// `warmup_steps` where it is set, else `warmup_ratio` of all steps, rounded up.
fn warmup_steps(settings: &Settings, total: usize) -> usize {
    match settings.warmup_steps {
        0 => (settings.warmup_ratio * total as f64).ceil() as usize,
        steps => steps,
    }
}

fn factor(schedule: LrSchedulerType, step: usize, warmup: usize, total: usize) -> f64 {
    if schedule == LrSchedulerType::Constant {
        return 1.0;
    }
    if step < warmup {
        return step as f64 / warmup as f64;
    }
    let progress = (step - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
    match schedule {
        LrSchedulerType::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0),
        LrSchedulerType::Linear => (1.0 - progress).max(0.0),
        LrSchedulerType::Constant | LrSchedulerType::ConstantWithWarmup => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: LrSchedulerType, warmup: usize, total: usize) -> Vec<f64> {
        (0..total).map(|step| factor(schedule, step, warmup, total)).collect()
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?} {expected:?}");
    }

    #[test]
    fn factors_are_those_of_transformers() {
        close(&factors(LrSchedulerType::Cosine, 0, 4), &[1.0, 0.8535533906, 0.5, 0.1464466094]);
        close(&factors(LrSchedulerType::Linear, 2, 6), &[0.0, 0.5, 1.0, 0.75, 0.5, 0.25]);
        close(&factors(LrSchedulerType::ConstantWithWarmup, 2, 4), &[0.0, 0.5, 1.0, 1.0]);
        close(&factors(LrSchedulerType::Constant, 2, 4), &[1.0; 4]);
    }
}
