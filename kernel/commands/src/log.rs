//! Training with a line for every `logging_steps`, as transformers logs it.

use std::sync::Mutex;
use std::sync::PoisonError;

use tunebook_engine::Context;
use tunebook_engine::Event;
use tunebook_engine::Session;
use tunebook_engine::report::StepRecord;
use tunebook_engine::step_metrics::StepMetrics;

use crate::error::Result;
use crate::output::Output;
use crate::verb::CommandContext;

/// `steps` optimizer steps, or all that are left; shows [`Output::Step`] every `logging_steps`, every
/// evaluation, and the answers to probes.
///
/// # Errors
/// Those of [`Session::train`].
pub(crate) fn train(steps: Option<usize>, session: &mut Session, cx: &CommandContext) -> Result<Output> {
    let every = session.settings().logging_steps;
    let made = session.history();
    // Steps since the last line may have been made by an earlier call.
    let window = Mutex::new(made[made.len() - made.len() % every..].to_vec());
    let emit = |event: Event| {
        let step = if let Event::Step(record) = &event { Some(record.clone()) } else { None };
        let evaluation = if let Event::Evaluated(record) = &event { Some(record.clone()) } else { None };
        let probed = if let Event::Probed(record) = &event { Some(record.clone()) } else { None };
        cx.context.emit(event);
        probed.map(Output::Probed).into_iter().for_each(cx.show);
        evaluation.map(Output::Evaluation).into_iter().for_each(cx.show);
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        window.extend(step);
        if window.last().is_some_and(|last| last.step.is_multiple_of(every)) {
            mean(&std::mem::take(&mut *window)).map(Output::Step).into_iter().for_each(cx.show);
        }
    };
    let context = Context { emit: &emit, ..cx.context };
    Ok(Output::Trained(session.train(steps, &context)?))
}

/// The last step of a window, with the means of its metrics.
fn mean(window: &[StepRecord]) -> Option<StepRecord> {
    let metrics = StepMetrics::mean(window.iter().map(|record| &record.metrics))?;
    window.last().map(|last| StepRecord { metrics, ..last.clone() })
}
