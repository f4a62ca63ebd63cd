//! The learning rate range test (Smith 2015, arXiv 1506.01186): one training whose learning rate grows from step to step.
//!
//! Too small a rate learns nothing, and too large a one diverges. In between the loss falls, fastest at a rate that is good
//! to begin with.

use std::time::Duration;
use std::time::Instant;

use serde::Serialize;
use tunebook_engine::Cancel;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::report::Parent;
use tunebook_engine::serialize;
use tunebook_engine::settings::EvalStrategy;
use tunebook_engine::settings::LrSchedulerType;

use super::begin;
use super::grid::unused;
use super::has_diverged;
use super::leave_the_disk_alone;
use super::origin;
use super::quietly;
use crate::error::Result;
use crate::lang::Lang;
use crate::lang::localized;
use crate::output::Output;
use crate::output::Overlay;
use crate::output::OverlayAxis;
use crate::output::OverlayCurve;
use crate::training;
use crate::verb::CommandContext;

/// The name of the adapter that is trained and dropped.
const NAME: &str = "range-test";
/// A smoothed loss that is so many times the lowest one ends the test.
const DIVERGES: f64 = 4.0;
/// How much of the smoothed loss the next one keeps.
const SMOOTHING: f64 = 0.8;

/// Learning rates of a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    pub first: f64,
    pub last: f64,
    pub steps: usize,
}

impl Range {
    /// From the first to the last by equal factors.
    fn rate(self, step: usize) -> f64 {
        let part = step as f64 / (self.steps - 1).max(1) as f64;
        self.first * (self.last / self.first).powf(part)
    }
}

/// What a range test has found.
#[derive(Clone, Debug, Serialize)]
pub struct RangeReport {
    /// The rates of the first and of the last step that were planned.
    pub first: f64,
    pub last: f64,
    /// Steps planned and made.
    pub planned: usize,
    pub steps: usize,
    /// The rate at which the smoothed loss falls fastest; none where it never falls.
    pub steepest: Option<f64>,
    /// The rate at which it is lowest.
    pub lowest: Option<f64>,
    /// The rate at which the training diverged.
    pub diverged: Option<f64>,
    /// The loss over the rate.
    pub curve: Overlay,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
}

/// Trains a branch of the active adapter, or a new one without it, and drops it.
///
/// # Errors
/// There is no model or data; the training fails for another reason than that it diverges. All is as it was then.
pub(crate) fn range_test(range: Range, session: &mut Session, cx: &CommandContext) -> Result<Output> {
    let start = Instant::now();
    session.check_no_training()?;
    let before = session.held_settings();
    let (origin, was_on) = (origin(session, false), super::active(session));
    let name = unused(NAME.to_string(), session);
    let tested = test(range, &name, origin.as_ref(), session, cx);
    let losses = losses(session, &name, origin.as_ref().map_or(0, |origin| origin.step));
    session.put_back(before);
    if session.adapters().iter().any(|adapter| adapter.name == name) {
        session.adapter_drop(&name)?;
    }
    if let Some(name) = was_on {
        session.adapter_use(&name)?;
    }
    let has_diverged = tested?;
    Ok(Output::RangeTest(Box::new(report(range, &losses, has_diverged, start.elapsed(), cx.lang()))))
}

/// Whether it has diverged.
fn test(range: Range, name: &str, origin: Option<&Parent>, session: &mut Session, cx: &CommandContext) -> Result<bool> {
    leave_the_disk_alone(session);
    let mut settings = session.settings().clone();
    settings.learning_rate = range.first;
    settings.lr_scheduler_type = LrSchedulerType::Constant;
    settings.lr_scheduler_kwargs = Default::default();
    (settings.warmup_steps, settings.warmup_ratio) = (0, 0.0);
    settings.eval_strategy = EvalStrategy::No;
    settings.early_stopping_steps = None;
    // However long the test is.
    settings.max_steps = (session.step() + range.steps) as i64;
    session.set(settings);
    begin(name, origin, session, &cx.context)?;
    session.keep_no_states()?;
    let settings = format!("learning_rate={:e}..{:e}", range.first, range.last);
    cx.context.emit(Event::Trial { number: 1, total: 1, settings });
    let first = session.step();
    let stop = Cancel::default();
    // Between two layers of a step, the rate of the next one is set, which is followed from there on.
    let between = |session: &mut Session| {
        (cx.between)(session);
        let losses = losses(session, name, first);
        let rate = range.rate(losses.len() + 1);
        if session.settings().learning_rate != rate {
            let mut settings = session.settings().clone();
            settings.learning_rate = rate;
            session.set(settings);
        }
        if cx.context.is_cancelled() || diverges(&losses) {
            stop.cancel();
        }
    };
    let trained = quietly(cx, |cx| {
        let job = session.begin_training(Some(range.steps), &cx.context)?;
        training::wait_for(job, &stop, session, &CommandContext { between: &between, ..*cx })
    });
    match trained {
        Ok(_) => Ok(diverges(&losses(session, name, first))),
        Err(error) if has_diverged(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The losses behind step `first`.
fn losses(session: &Session, adapter: &str, first: usize) -> Vec<f64> {
    let records = session.history_of(adapter).unwrap_or_default();
    records.iter().skip(first).map(|record| record.loss()).collect()
}

fn diverges(losses: &[f64]) -> bool {
    let losses = smooth(losses);
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    losses.last().is_some_and(|last| !last.is_finite() || *last > DIVERGES * lowest)
}

fn report(range: Range, losses: &[f64], has_diverged: bool, elapsed: Duration, lang: Lang) -> RangeReport {
    let rates: Vec<_> = (0..losses.len()).map(|step| range.rate(step)).collect();
    let smoothed = smooth(losses);
    let finite = smoothed.iter().enumerate().filter(|(_, loss)| loss.is_finite());
    let lowest = finite.min_by(|a, b| a.1.total_cmp(b.1)).map(|(step, _)| step);
    // The fall of the loss around a step: over as many steps everywhere, and so over the same factor of the rate.
    let reach = (range.steps / 16).max(1);
    let falls = lowest.map_or(0..0, |lowest| reach..lowest.min(smoothed.len().saturating_sub(reach)));
    let fall = |step: &usize| smoothed[step - reach] - smoothed[step + reach];
    let steepest = falls.filter(|step| fall(step) > 0.0).max_by(|a, b| fall(a).total_cmp(&fall(b)));
    let points = |values: &[f64]| rates.iter().copied().zip(values.iter().copied()).collect();
    let curve = OverlayCurve {
        label: localized("smoothed", "平滑").in_lang(lang).to_string(),
        points: points(losses),
        smoothed: points(&smoothed),
        evaluations: Vec::new(),
    };
    RangeReport {
        first: range.first,
        last: range.last,
        planned: range.steps,
        steps: losses.len(),
        steepest: steepest.map(|step| rates[step]),
        lowest: lowest.map(|step| rates[step]),
        diverged: rates.last().copied().filter(|_| has_diverged),
        curve: Overlay { name: "loss", x: OverlayAxis::LearningRate, curves: vec![curve], file: None },
        elapsed,
    }
}

/// The exponential moving average, without the weight of a value before the first.
fn smooth(losses: &[f64]) -> Vec<f64> {
    let (mut mean, mut weight) = (0.0, 0.0);
    let next = |loss: &f64| {
        mean = SMOOTHING * mean + (1.0 - SMOOTHING) * loss;
        weight = SMOOTHING * weight + (1.0 - SMOOTHING);
        mean / weight
    };
    losses.iter().map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steepest_fall_is_named_and_rates_grow_by_equal_factors() {
        let range = Range { first: 1e-6, last: 1e-2, steps: 41 };
        assert!((range.rate(10) / 1e-5 - 1.0).abs() < 1e-9 && (range.rate(40) / 1e-2 - 1.0).abs() < 1e-9);
        // It falls around step 20, where the rate is 1e-4, and rises from step 32 on.
        let loss = |step: usize| {
            let fall = 2.0 / (1.0 + (0.8 * (step as f64 - 20.0)).exp());
            1.0 + fall + if step > 32 { (step - 32) as f64 } else { 0.0 }
        };
        let losses: Vec<_> = (0..37).map(loss).collect();
        let found = report(range, &losses, true, Duration::ZERO, Lang::En);
        let steepest = found.steepest.unwrap();
        assert!((1e-4..3e-4).contains(&steepest), "{steepest}");
        assert!(found.lowest.unwrap() > steepest && found.diverged == Some(range.rate(36)));
        assert_eq!((found.steps, found.planned), (37, 41));
    }

    #[test]
    fn a_loss_that_never_falls_names_no_rate() {
        let range = Range { first: 1e-6, last: 1e-2, steps: 3 };
        for losses in [&[][..], &[1.0], &[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]] {
            assert_eq!(report(range, losses, false, Duration::ZERO, Lang::En).steepest, None, "{losses:?}");
        }
    }
}
