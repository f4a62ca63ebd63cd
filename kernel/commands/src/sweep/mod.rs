//! `sweep`: trainings with different settings from the same point, one after the other.
//!
//! Each of them is a branch of the active adapter, or a new adapter where what is tried shapes it; so each has the bits of a
//! training of its own. Samples, their order and the seed are the same, which makes their losses comparable.

mod grid;
mod range_test;

use std::time::Duration;
use std::time::Instant;

use serde::Serialize;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::report::EvaluationRecord;
use tunebook_engine::report::Parent;
use tunebook_engine::report::StepRecord;
use tunebook_engine::report::TrainEnd;
use tunebook_engine::report::TrainReport;
use tunebook_engine::serialize;
use tunebook_engine::settings::SaveStrategy;
use tunebook_engine::step_metrics::StepMetrics;

use crate::error::Error;
use crate::error::Result;
use crate::lang::Localize;
use crate::output::Output;
use crate::output::Overlay;
use crate::output::OverlayAxis;
use crate::output::OverlayCurve;
use crate::training;
use crate::verb::CommandContext;

pub(crate) use grid::Combination;
pub(crate) use grid::Grid;
pub(crate) use range_test::Range;
pub use range_test::RangeReport;
pub(crate) use range_test::range_test;

/// How trials are compared: the lower, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SweepBy {
    /// The mean training loss of a trial's last steps.
    Loss,
    /// The loss on the samples that are held out, after the last step.
    EvalLoss,
}

/// What a sweep has found.
#[derive(Clone, Debug, Serialize)]
pub struct SweepReport {
    /// The adapter that every trial is a branch of; none where each began with a new one.
    pub origin: Option<Parent>,
    pub by: SweepBy,
    /// Steps of a trial.
    pub steps: usize,
    pub trials: Vec<Trial>,
    /// How many trials there were to be.
    pub planned: usize,
    /// The index of the best trial that made all its steps.
    pub best: Option<usize>,
    /// Whether the adapters of the other trials are there, too.
    pub is_kept: bool,
    /// The training losses of all trials.
    pub curves: Overlay,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
}

/// A training of a sweep.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    pub adapter: String,
    /// What was tried, by the names of settings.
    pub settings: Combination,
    /// Steps made.
    pub steps: usize,
    /// None before the first step.
    pub loss: Option<f64>,
    pub eval_loss: Option<f64>,
    /// The last answers to probes.
    pub probes: Vec<String>,
    /// Why it did not make all its steps.
    pub problem: Option<String>,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
}

impl SweepReport {
    /// The trial that is turned on.
    pub fn best(&self) -> Option<&Trial> {
        self.trials.get(self.best?)
    }

    /// How many of a trial's last steps its loss is the mean of.
    pub fn last_steps(&self) -> usize {
        last_steps(self.steps)
    }
}

/// A sweep that is to be made.
pub(crate) struct Sweep {
    pub grid: Grid,
    pub steps: usize,
    /// None where the data says it: by what is held out, if there is something.
    pub by: Option<SweepBy>,
    pub keeps_all: bool,
}

impl Sweep {
    /// Tries every combination. The adapter of the best one is turned on, with its settings; without one, all is as it was.
    /// A stop ends the sweep with the trials that are done.
    ///
    /// # Errors
    /// There is no model or data, or no adapter where one is branched off; a value cannot be set; a trial fails for another
    /// reason than that it diverges. All is as it was then.
    pub(crate) fn run(self, session: &mut Session, cx: &CommandContext) -> Result<Output> {
        let start = Instant::now();
        session.check_no_training()?;
        let origin = origin(session, self.grid.makes_adapters());
        let by = self.by.unwrap_or(if has_eval(session) { SweepBy::EvalLoss } else { SweepBy::Loss });
        if by == SweepBy::EvalLoss && !has_eval(session) {
            return Err(Error::NothingHeldOutToSweepBy);
        }
        let combinations = self.grid.combinations();
        let names: Vec<_> = combinations.iter().map(|combination| grid::free_name(combination, session)).collect();
        let (before, was_on) = (session.held_settings(), active(session));
        combinations.iter().try_for_each(|combination| change(session, combination))?;
        session.put_back(before.clone());

        let (mut trials, mut curves, mut made) = (Vec::new(), Vec::new(), Vec::new());
        let mut failed = None;
        for (index, (combination, name)) in combinations.iter().zip(&names).enumerate() {
            let settings = combination.to_string();
            cx.context.emit(Event::Trial { number: index + 1, total: combinations.len(), settings: settings.clone() });
            session.put_back(before.clone());
            match self.trial(combination, name, origin.as_ref(), &mut made, session, cx) {
                Ok((trial, curve)) => {
                    trials.push(trial);
                    curves.push(OverlayCurve { label: settings, ..curve });
                }
                Err(error) => failed = Some(error),
            }
            if failed.is_some() || cx.context.is_cancelled() {
                break;
            }
        }
        let score = |trial: &Trial| match by {
            SweepBy::Loss => trial.loss,
            SweepBy::EvalLoss => trial.eval_loss,
        };
        let done = |(index, trial): (usize, &Trial)| {
            let is_done = trial.problem.is_none() && trial.steps == self.steps;
            score(trial).filter(|score| is_done && score.is_finite()).map(|score| (index, score))
        };
        let scores = trials.iter().enumerate().filter_map(done);
        let best = scores.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index).filter(|_| failed.is_none());
        let keeps_all = self.keeps_all && failed.is_none();
        for name in &made {
            let is_best = best.is_some_and(|best| trials[best].adapter == *name);
            if !is_best && !keeps_all {
                session.adapter_drop(name)?;
            }
        }
        session.put_back(before);
        match (best, was_on) {
            (Some(best), _) => {
                change(session, &trials[best].settings)?;
                session.adapter_use(&trials[best].adapter)?;
            }
            (None, Some(name)) => drop(session.adapter_use(&name)?),
            (None, None) => {}
        }
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(Output::Sweep(Box::new(SweepReport {
            origin,
            by,
            steps: self.steps,
            trials,
            planned: combinations.len(),
            best,
            is_kept: keeps_all,
            curves: Overlay { name: "loss", x: OverlayAxis::Step, curves, file: None },
            elapsed: start.elapsed(),
        })))
    }

    /// One training; the name of its adapter is among those that are `made` then.
    fn trial(
        &self,
        combination: &Combination,
        name: &str,
        origin: Option<&Parent>,
        made: &mut Vec<String>,
        session: &mut Session,
        cx: &CommandContext,
    ) -> Result<(Trial, OverlayCurve)> {
        let start = Instant::now();
        change(session, combination)?;
        leave_the_disk_alone(session);
        begin(name, origin, session, &cx.context)?;
        made.push(name.to_string());
        let first = session.step();
        let trained = quietly(cx, |cx| training::train(Some(self.steps), session, cx));
        let problem = match trained {
            Ok(Output::Trained(TrainReport { end: TrainEnd::Interrupted, .. })) => {
                Some(Error::from(tunebook_engine::Error::Cancelled))
            }
            Ok(_) => None,
            Err(error) if has_diverged(&error) => Some(error),
            Err(error) => return Err(error),
        };
        let eval_loss = match &problem {
            None if has_eval(session) => quietly(cx, |cx| eval_loss(session, cx))?,
            _ => None,
        };
        let made = session.history().get(first..).unwrap_or_default();
        let last = &made[made.len().saturating_sub(last_steps(self.steps))..];
        let probes = session.probe_records().last().filter(|record| record.step == session.step());
        let trial = Trial {
            adapter: name.to_string(),
            settings: combination.clone(),
            steps: made.len(),
            loss: StepMetrics::mean(last.iter().map(|record| &record.metrics)).map(|mean| mean.loss()),
            eval_loss,
            probes: probes
                .map(|record| record.answers.iter().map(|answer| answer.text.clone()).collect())
                .unwrap_or_default(),
            problem: problem.map(|problem| problem.localize(cx.lang())),
            elapsed: start.elapsed(),
        };
        let evaluations = session.evaluations().iter().filter(|record| record.step > first);
        let curve = OverlayCurve {
            label: String::new(),
            points: made.iter().map(loss_at).collect(),
            smoothed: Vec::new(),
            evaluations: evaluations.map(evaluated_at).collect(),
        };
        Ok((trial, curve))
    }
}

/// How many of a trial's last steps its loss is the mean of: a quarter.
fn last_steps(steps: usize) -> usize {
    steps.div_ceil(4)
}

fn loss_at(record: &StepRecord) -> (f64, f64) {
    (record.step as f64, record.loss())
}

fn evaluated_at(record: &EvaluationRecord) -> (f64, f64) {
    (record.step as f64, record.loss)
}

fn has_eval(session: &Session) -> bool {
    session.data_report().is_some_and(|data| data.eval_samples > 0)
}

fn active(session: &Session) -> Option<String> {
    session.adapters().into_iter().find(|adapter| adapter.active).map(|adapter| adapter.name)
}

/// The adapter that trials branch off; none where they begin with new ones: what is tried shapes it, or there is none.
fn origin(session: &Session, makes_adapters: bool) -> Option<Parent> {
    let adapter = active(session).filter(|_| !makes_adapters)?;
    Some(Parent { adapter, step: session.step() })
}

fn change(session: &mut Session, combination: &Combination) -> Result<()> {
    Ok(session.change(combination.iter().map(|(key, value)| (key as &str, value)))?)
}

/// A trial writes nothing: most are dropped.
fn leave_the_disk_alone(session: &mut Session) {
    let mut settings = session.settings().clone();
    settings.output_dir = None;
    settings.save_strategy = SaveStrategy::No;
    settings.load_best_model_at_end = false;
    session.set(settings);
}

/// Turns on an adapter of this name: a branch, or a new one.
fn begin(name: &str, origin: Option<&Parent>, session: &mut Session, cx: &Context) -> Result<()> {
    match origin {
        Some(origin) => {
            session.adapter_use(&origin.adapter)?;
            session.branch(name, None, cx)?;
        }
        None => drop(session.lora(Some(name), cx)?),
    }
    Ok(())
}

/// The loss on what is held out; none after a stop.
fn eval_loss(session: &mut Session, cx: &CommandContext) -> Result<Option<f64>> {
    if let Some(record) = session.evaluations().last().filter(|record| record.step == session.step()) {
        return Ok(Some(record.loss));
    }
    match session.evaluate(&[], None, None, &cx.context) {
        Ok(report) => Ok(Some(report.loss).filter(|_| report.done + report.left_out.len() == report.total)),
        Err(tunebook_engine::Error::Cancelled) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Without the lines that a training of its own would write.
fn quietly<T>(cx: &CommandContext, work: impl FnOnce(&CommandContext) -> T) -> T {
    let emit = |event| {
        if !matches!(event, Event::MemoryEstimate(_) | Event::Estimate { .. } | Event::Advice(_)) {
            cx.context.emit(event);
        }
    };
    let show = |output| {
        if !matches!(output, Output::Step(_) | Output::Evaluation(_) | Output::Probed(_)) {
            (cx.show)(output);
        }
    };
    work(&CommandContext { context: Context { emit: &emit, ..cx.context }, show: &show, ..*cx })
}

/// Whether a training has failed by its settings.
fn has_diverged(error: &Error) -> bool {
    use tunebook_engine::Error::Diverged;
    use tunebook_engine::Error::NotFinite;
    match error {
        Error::Engine(Diverged { .. } | NotFinite { .. }) => true,
        Error::OfJob(error) => has_diverged(error),
        _ => false,
    }
}
