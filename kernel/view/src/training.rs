//! How far a call of `train` is.

use std::time::Duration;

use tunebook_commands::Lang;
use tunebook_commands::lang::localized;
use tunebook_commands::localized;
use tunebook_commands::output::OverlayCurve;
use tunebook_commands::quantities::seconds;
use tunebook_engine::probes::ProbeRecord;
use tunebook_engine::report::StepRecord;
use tunebook_engine::report::TrainReport;

use crate::activity::Activity;

/// A call of `train`, from its first micro-batch on, or several of them that go on one after another.
pub struct Training {
    /// The step that was made first, how many of its micro-batches were done when this was first told, and what the call
    /// had taken by then.
    first: (usize, f64, Duration),
    /// What the call has taken.
    pub(crate) elapsed: Duration,
    /// What those before it that are told with it have taken.
    before: Duration,
    /// The step that is being made.
    pub step: usize,
    /// The one that ends this call, and the one that ends the training.
    pub last_step: usize,
    pub total_steps: usize,
    /// Micro-batches of the step that are done, and how many it has.
    pub done: f64,
    pub total: usize,
    /// The losses of the steps before all of them, and of the evaluations there.
    pub(crate) earlier: Losses,
    /// The steps of all of them.
    pub records: Vec<StepRecord>,
    /// The steps of this call's evaluations and the losses they found.
    pub evaluations: Vec<(f64, f64)>,
    /// The answers to probes in this call.
    pub probes: Vec<ProbeRecord>,
    /// What it has done, once it is over.
    pub report: Option<TrainReport>,
    /// Whether it is over, with a report or without.
    pub(crate) is_over: bool,
}

/// The losses of steps and of evaluations, each with its step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Losses {
    pub(crate) steps: Vec<(f64, f64)>,
    pub(crate) evaluations: Vec<(f64, f64)>,
}

impl Training {
    /// One that begins now, at step `step`, of which `done` micro-batches were done before; `earlier` is what it goes on from.
    pub(crate) fn new(step: usize, done: f64, elapsed: Duration, earlier: Losses) -> Self {
        Self {
            first: (step, done, elapsed),
            elapsed,
            before: Duration::ZERO,
            earlier,
            step,
            last_step: step,
            total_steps: step,
            done,
            total: 1,
            records: Vec::new(),
            evaluations: Vec::new(),
            probes: Vec::new(),
            report: None,
            is_over: false,
        }
    }

    /// A call of `train` goes on where the last one has ended, if it has.
    pub(crate) fn go_on(&mut self, step: usize, done: f64, elapsed: Duration) {
        let report = self.report.take();
        if report.is_some() || self.is_over {
            self.before += report.map_or(self.elapsed, |report| report.elapsed);
            (self.first, self.is_over) = ((step, done, elapsed), false);
        }
    }

    /// The losses of the whole training so far.
    pub(crate) fn losses(&self) -> Losses {
        let steps = self.records.iter().map(|record| (record.step as f64, record.loss()));
        Losses {
            steps: self.earlier.steps.iter().copied().chain(steps).collect(),
            evaluations: [&self.earlier.evaluations[..], &self.evaluations].concat(),
        }
    }

    /// The losses of these calls as a curve.
    pub(crate) fn curve(&self, label: &str) -> OverlayCurve {
        OverlayCurve {
            label: label.to_string(),
            points: self.records.iter().map(|record| (record.step as f64, record.loss())).collect(),
            smoothed: Vec::new(),
            evaluations: self.evaluations.clone(),
        }
    }

    /// Which part of the whole training is made, from 0 to 1.
    pub fn part(&self) -> f64 {
        let made = match &self.report {
            Some(report) => report.step as f64,
            None => self.step.saturating_sub(1) as f64 + self.done / self.total.max(1) as f64,
        };
        (made / self.total_steps.max(1) as f64).min(1.0)
    }

    /// Which part of it is made when this call has ended, from 0 to 1; nothing more, once it has.
    pub fn part_of_call(&self) -> f64 {
        let is_on = self.report.is_none() && !self.is_over;
        let until = is_on.then(|| self.last_step as f64 / self.total_steps.max(1) as f64);
        until.unwrap_or(0.0).clamp(self.part(), 1.0)
    }

    /// How long this call goes on, if its micro-batches take as long as those so far; nothing while there is less than one
    /// to tell from.
    pub fn left(&self) -> Option<Duration> {
        let behind = |step: usize, done: f64| (step.saturating_sub(self.first.0) * self.total) as f64 + done;
        let now = behind(self.step, self.done);
        let made = Some(now - self.first.1).filter(|made| *made >= 1.0)?;
        Some(self.elapsed.saturating_sub(self.first.2).mul_f64((behind(self.last_step + 1, 0.0) - now).max(0.0) / made))
    }

    /// The mean over this call, after its first step, which also pays for what is computed once.
    pub fn tokens_per_second(&self) -> Option<f64> {
        if let Some(report) = self.report.as_ref().filter(|_| self.before.is_zero()) {
            return Some(report.tokens_per_second);
        }
        let (first, last) = (self.records.first()?, self.records.last()?);
        let (tokens, elapsed) = (last.tokens - first.tokens, last.elapsed - first.elapsed);
        (elapsed > 0.0).then(|| tokens as f64 / elapsed)
    }

    /// `step 3 of 40 · micro-batch 1 of 8`, or what goes on between two steps in place of the micro-batch.
    pub fn title(&self, activity: Option<&Activity>, lang: Lang) -> String {
        let step = self.report.as_ref().map_or(self.step, |report| report.step);
        let window = match (&self.report, activity) {
            (_, Some(activity)) => format!(" · {}", activity.title(lang)),
            (None, None) if self.total > 1 && !self.is_over => localized!(
                lang,
                " · micro-batch {done} of {total}",
                " · 微批次 {done}/{total}",
                done = self.done.floor(),
                total = self.total
            ),
            _ => String::new(),
        };
        let total = self.total_steps;
        localized!(lang, "step {step} of {total}{window}", "第 {step} 步，共 {total} 步{window}")
    }

    /// Name and value of what is known, in the order in which it is shown.
    pub fn facts(&self, lang: Lang) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if let Some(last) = self.records.last() {
            facts.push((localized("loss", "损失"), format!("{:.4}", last.loss())));
            let eval_loss = self.evaluations.last().map(|(_, loss)| format!("{loss:.4}"));
            facts.extend(eval_loss.map(|loss| (localized("eval loss", "评估损失"), loss)));
            facts.push((localized("learning rate", "学习率"), format!("{:.2e}", last.learning_rate)));
            facts.push((localized("grad norm", "梯度范数"), format!("{:.3}", last.grad_norm)));
            facts.push((localized("epoch", "轮"), format!("{:.2}", last.epoch)));
        }
        facts.extend(self.tokens_per_second().map(|rate| (localized("tokens/s", "token/秒"), format!("{rate:.0}"))));
        let took = self.report.as_ref().map(|report| report.elapsed).or(self.is_over.then_some(self.elapsed));
        match took {
            Some(took) => facts.push((localized("took", "用时"), seconds(self.before + took, lang))),
            None => facts.extend(self.left().map(|left| (localized("left", "剩余"), self.until(left, lang)))),
        }
        facts.into_iter().map(|(name, value)| (name.in_lang(lang), value)).collect()
    }

    /// The time that is left, and to which step where that is not the last of the training.
    fn until(&self, left: Duration, lang: Lang) -> String {
        let (left, step) = (seconds(left, lang), self.last_step);
        match step < self.total_steps {
            true => localized!(lang, "{left} to step {step}", "{left}（到第 {step} 步）"),
            false => left,
        }
    }
}

#[cfg(test)]
mod tests {
    use tunebook_engine::report::TrainEnd;
    use tunebook_engine::step_metrics::StepMetrics;

    use super::*;

    fn record(step: usize) -> StepRecord {
        StepRecord {
            step,
            total_steps: 40,
            metrics: StepMetrics::of_loss(1.0),
            grad_norm: 1.0,
            learning_rate: 1e-4,
            epoch: 0.1,
            tokens: 100 * step,
            elapsed: 0.5 * step as f64,
        }
    }

    #[test]
    fn calls_that_go_on_are_told_as_one() {
        let mut training = Training::new(1, 0.0, Duration::ZERO, Losses::default());
        training.total_steps = 40;
        let report = |step| TrainReport {
            end: TrainEnd::Paused,
            steps: 2,
            step,
            total_steps: 40,
            loss: Some(1.0),
            best: None,
            left_out: Vec::new(),
            tokens_per_second: 7.0,
            elapsed: Duration::from_secs(3),
        };
        training.records = vec![record(1), record(2)];
        (training.step, training.last_step, training.report) = (2, 2, Some(report(2)));
        assert_eq!((training.tokens_per_second(), training.part()), (Some(7.0), 0.05));
        training.go_on(3, 0.0, Duration::ZERO);
        (training.step, training.last_step) = (3, 4);
        assert!(training.report.is_none() && training.part() == 0.05 && training.part_of_call() == 0.1);
        training.records.extend([record(3), record(4)]);
        (training.step, training.report) = (4, Some(report(4)));
        let facts = training.facts(Lang::En);
        assert_eq!(facts[4..], [("tokens/s", "200".to_string()), ("took", "6.00 s".to_string())]);
    }

    #[test]
    fn time_and_rate_are_told_once_there_is_something_to_tell_from() {
        let mut training = Training::new(3, 1.0, Duration::from_secs(4), Losses::default());
        (training.last_step, training.total_steps, training.total) = (4, 8, 4);
        assert!(training.left().is_none() && training.tokens_per_second().is_none());
        assert_eq!(training.part(), 0.28125);
        training.records.push(record(3));
        assert!(training.tokens_per_second().is_none());
        training.records.push(record(4));
        (training.step, training.done) = (4, 2.0);
        // Five micro-batches are made, two are to come.
        training.elapsed = Duration::from_secs(54);
        assert_eq!(training.left().unwrap().as_secs(), 20);
        assert_eq!(training.tokens_per_second(), Some(200.0));
        assert_eq!((training.part(), training.part_of_call()), (0.4375, 0.5));
        assert_eq!(training.facts(Lang::En).pop().unwrap(), ("left", "20.0 s to step 4".to_string()));
    }
}
