//! Carrying out a training, and what is asked of the session meanwhile.
//!
//! A training is a job: with somebody who waits for it, or in the background (`train N &`). Its loop tells what it does
//! before every layer. There others have their turn: what they ask is carried out on the same thread, and the pass goes
//! on with what it has computed. A second thread would wait for the same cores.
//!
//! What is asked is carried out whole, an evaluation too: cut into slices between which the training goes on, it would see
//! another adapter in each, or take a copy of its weights.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tunebook_engine::Cancel;
use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::report::TrainReport;
use tunebook_engine::training::job::TrainJob;

use crate::error::Error;
use crate::error::Result;
use crate::log::Log;
use crate::output::Output;
use crate::verb::CommandContext;

/// `steps` optimizer steps, or all that are left, for a request that waits for them.
///
/// # Errors
/// Those of [`Session::train`].
pub(crate) fn train(steps: Option<usize>, session: &mut Session, cx: &CommandContext) -> Result<Output> {
    let job = session.begin_training(steps, &cx.context)?;
    Ok(Output::Trained(wait_for(job, cx.context.cancel, session, cx)?))
}

/// Runs a job for a request that goes on until it ends, and that `cancel` stops.
///
/// # Errors
/// The training fails.
pub(crate) fn wait_for(
    job: TrainJob,
    cancel: &Cancel,
    session: &mut Session,
    cx: &CommandContext,
) -> Result<TrainReport> {
    cx.jobs.begin(&job, cancel);
    let trained = carry_out(job, cancel, session, cx).map_err(Arc::new);
    cx.jobs.end(trained.clone());
    trained.map_err(Error::OfJob)
}

/// The same in the background: the host runs it when the request is done.
///
/// # Errors
/// The training cannot begin.
pub(crate) fn start(steps: Option<usize>, session: &mut Session, cx: &CommandContext) -> Result<Output> {
    let plan = Mutex::new(None);
    let emit = |event: Event| {
        if let Event::MemoryEstimate(_) = &event {
            *plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.clone());
        }
        cx.context.emit(event);
    };
    let job = session.begin_training(steps, &Context { emit: &emit, ..cx.context })?;
    let (adapter, step, last_step) = (job.adapter_name().to_string(), job.history().len(), job.last_step());
    cx.jobs.start(job, plan.into_inner().unwrap_or_else(PoisonError::into_inner));
    cx.jobs.watch().into_iter().for_each(cx.follow);
    Ok(Output::Started { adapter, step, last_step })
}

/// Runs a job to its end; its session has it again then, even after a panic.
pub(crate) fn carry_out(
    mut job: TrainJob,
    cancel: &Cancel,
    session: &mut Session,
    cx: &CommandContext,
) -> Result<TrainReport> {
    let log = Log::of(job.history(), session.settings().logging_steps);
    let result = {
        let session = Mutex::new(&mut *session);
        let emit = |event: Event| {
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            session.hear(&event);
            cx.jobs.tell(&event);
            let line = log.line(&event, session.settings().logging_steps);
            let is_pause =
                matches!(event, Event::MicroBatch { .. } | Event::Progress { .. } | Event::Predicting { .. });
            cx.context.emit(event);
            if let Some(line) = line {
                cx.jobs.show(&line);
                (cx.show)(line);
            }
            if is_pause {
                (cx.between)(&mut session);
                session.pass_on_changes();
            }
        };
        catch_unwind(AssertUnwindSafe(|| job.train(&Context { emit: &emit, cancel })))
    };
    session.end_training(job);
    Ok(result.map_err(Error::of_panic)??)
}
