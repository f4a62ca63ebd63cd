//! `lr_scheduler_kwargs`: the further values of a schedule.

use serde_json::Value;
use tunebook_quote::REMEDY;
use tunebook_quote::quote;

use crate::settings::LrSchedulerType;
use crate::settings::Mapping;
use crate::settings::Settings;

/// What is wrong with `lr_scheduler_kwargs`.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error(
        "lr_scheduler_type={schedule} does not accept `{key}` in lr_scheduler_kwargs{REMEDY}it accepts {}",
        if .known.is_empty() { "none".to_string() } else { .known.join(", ") }
    )]
    Unknown { schedule: String, key: String, known: &'static [&'static str] },
    #[error("`{value}` is not a value for {key} in lr_scheduler_kwargs, which accepts {expected}")]
    Value { key: String, value: String, expected: KwargType },
    #[error(
        "lr_scheduler_type={schedule} needs either min_lr or min_lr_rate, for example \
         lr_scheduler_kwargs=min_lr_rate:0.1"
    )]
    MinLr { schedule: String },
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KwargType {
    #[error("an integer")]
    Integer,
    #[error("a number of at least 0")]
    Number,
    #[error("{}", .0.join(", "))]
    OneOf(&'static [&'static str]),
}

/// Refuses what the schedule does not take, and what it lacks.
///
/// # Errors
/// A key or a value by its name.
pub(crate) fn check(settings: &Settings) -> Result<(), ScheduleError> {
    let (schedule, Mapping(kwargs)) = (settings.lr_scheduler_type, &settings.lr_scheduler_kwargs);
    let name = || settings.get("lr_scheduler_type").unwrap_or_default();
    let known = keys(schedule);
    for (key, value) in kwargs {
        if !known.contains(&key.as_str()) {
            return Err(ScheduleError::Unknown { schedule: name(), key: quote(key), known });
        }
        let expected = expected(key);
        let fits = match expected {
            KwargType::Integer => value.is_u64(),
            KwargType::Number => value.as_f64().is_some_and(|number| number >= 0.0),
            KwargType::OneOf(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        };
        if !fits {
            return Err(ScheduleError::Value { key: quote(key), value: quote(&value.to_string()), expected });
        }
    }
    let with_least = [LrSchedulerType::CosineWithMinLr, LrSchedulerType::CosineWarmupWithMinLr].contains(&schedule);
    if with_least && kwargs.contains_key("min_lr") == kwargs.contains_key("min_lr_rate") {
        return Err(ScheduleError::MinLr { schedule: name() });
    }
    Ok(())
}

fn keys(schedule: LrSchedulerType) -> &'static [&'static str] {
    match schedule {
        LrSchedulerType::Cosine | LrSchedulerType::CosineWithRestarts => &["num_cycles"],
        LrSchedulerType::Polynomial => &["lr_end", "power"],
        LrSchedulerType::InverseSqrt => &["timescale"],
        LrSchedulerType::CosineWithMinLr => &["min_lr", "min_lr_rate", "num_cycles"],
        LrSchedulerType::CosineWarmupWithMinLr => &["min_lr", "min_lr_rate", "num_cycles", "warmup_lr_rate"],
        LrSchedulerType::WarmupStableDecay => {
            &["num_stable_steps", "num_decay_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles"]
        }
        LrSchedulerType::ReduceLrOnPlateau => {
            &["factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps", "mode"]
        }
        LrSchedulerType::Linear | LrSchedulerType::Constant | LrSchedulerType::ConstantWithWarmup => &[],
    }
}

fn expected(key: &str) -> KwargType {
    match key {
        "num_stable_steps" | "num_decay_steps" | "patience" | "cooldown" | "timescale" => KwargType::Integer,
        "warmup_type" | "decay_type" => KwargType::OneOf(&["linear", "cosine", "1-sqrt"]),
        "threshold_mode" => KwargType::OneOf(&["rel", "abs"]),
        "mode" => KwargType::OneOf(&["min", "max"]),
        _ => KwargType::Number,
    }
}

/// Values by their keys, which [`check`] has seen.
#[derive(Clone, Copy)]
pub(super) struct Kwargs<'a>(pub &'a Mapping);

impl Kwargs<'_> {
    pub(super) fn get(&self, key: &str) -> Option<f64> {
        self.0.0.get(key).and_then(Value::as_f64)
    }

    pub(super) fn number(&self, key: &str, default: f64) -> f64 {
        self.get(key).unwrap_or(default)
    }

    pub(super) fn whole(&self, key: &str, default: usize) -> usize {
        self.get(key).map_or(default, |number| number as usize)
    }

    pub(super) fn word(&self, key: &str) -> Option<&str> {
        self.0.0.get(key).and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(schedule: &str, kwargs: &str) -> String {
        let mut settings = Settings::default();
        settings.set("lr_scheduler_type", schedule).unwrap();
        settings.set("lr_scheduler_kwargs", kwargs).unwrap();
        check(&settings).map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_a_schedule_does_not_take_is_named() {
        assert_eq!(problem("cosine", "num_cycles:2"), "");
        assert_eq!(problem("warmup_stable_decay", r#"{"decay_type": "1-sqrt", "num_decay_steps": 5}"#), "");
        let unknown = problem("cosine", "min_lr:1e-6");
        assert_eq!(
            unknown,
            "lr_scheduler_type=cosine does not accept `min_lr` in lr_scheduler_kwargs; it accepts num_cycles"
        );
        assert!(problem("linear", "power:2").ends_with("it accepts none"));
        assert!(problem("polynomial", "power:-1").contains("`-1` is not a value for power"));
        assert!(problem("warmup_stable_decay", "decay_type:steep").ends_with("which accepts linear, cosine, 1-sqrt"));
        assert!(problem("reduce_lr_on_plateau", "patience:1.5").ends_with("which accepts an integer"));
        for kwargs in ["none", "min_lr:0,min_lr_rate:0.1"] {
            assert!(problem("cosine_with_min_lr", kwargs).contains("needs either min_lr or min_lr_rate"));
        }
    }
}
