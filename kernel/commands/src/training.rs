//! What `train` and `resume` tell, as plain text.

use tunebook_engine::report::BestReport;
use tunebook_engine::report::Differing;
use tunebook_engine::report::EvaluationRecord;
use tunebook_engine::report::ResumeReport;
use tunebook_engine::report::StepRecord;
use tunebook_engine::report::TrainEnd;
use tunebook_engine::report::TrainReport;

use crate::text::count;
use crate::text::seconds;

/// A line of the log.
pub fn step(record: &StepRecord) -> String {
    let total = record.total_steps.to_string();
    format!(
        "step {:>width$}/{total}  loss {:.4}  grad_norm {:.4}  lr {}  epoch {:.2}",
        record.step,
        record.loss,
        record.grad_norm,
        rate(record.learning_rate),
        record.epoch,
        width = total.len(),
    )
}

/// The line of an evaluation.
pub fn evaluation(record: &EvaluationRecord) -> String {
    let total = record.total_steps.to_string();
    let (step, width) = (record.step, total.len());
    let samples = count(record.samples, "sample");
    format!("step {step:>width$}/{total}  eval_loss {:.4}  ({samples} in {:.2} s)", record.loss, record.seconds)
}

/// A learning rate, which may be 0 while it warms up.
fn rate(rate: f64) -> String {
    if rate == 0.0 { "0".to_string() } else { format!("{rate:.3e}") }
}

/// How a call of `train` ended.
pub fn trained(report: &TrainReport) -> String {
    let (step, total) = (report.step, report.total_steps);
    let best = report.best.as_ref().map(|best| format!("\n{}", self::best(best))).unwrap_or_default();
    if report.steps == 0 && report.end == TrainEnd::Finished {
        return format!("all {total} steps are made; for more, raise num_train_epochs, as in `train epochs=6`{best}");
    }
    let end = match report.end {
        TrainEnd::Paused => format!("at step {step} of {total}; `train` goes on"),
        TrainEnd::Finished => format!("at step {step} of {total}, the end"),
        TrainEnd::StoppedEarly => {
            let evaluations = report.best.as_ref().map_or(0, |best| best.evaluations_since);
            let evaluations = count(evaluations, "evaluation");
            format!("stopped early at step {step} of {total}: {evaluations} in a row found no lower eval_loss")
        }
        TrainEnd::Interrupted => format!("stopped at step {step} of {total}; `train` goes on from there"),
    };
    let loss = report.loss.map(|loss| format!(", mean loss {loss:.4}")).unwrap_or_default();
    let made = count(report.steps, "step");
    format!("{made} in {}{loss}, {:.0} tokens/s; {end}{best}", seconds(report.elapsed), report.tokens_per_second)
}

fn best(best: &BestReport) -> String {
    let BestReport { step, eval_loss, checkpoint, loaded, .. } = best;
    let place = match (checkpoint, loaded) {
        (Some(place), true) => format!("; the adapter is that of {} again", place.display()),
        (Some(place), false) => format!(", kept in {}", place.display()),
        (None, _) => String::new(),
    };
    format!("lowest eval_loss {eval_loss:.4} at step {step}{place}")
}

/// Where `resume` goes on.
pub fn resumed(report: &ResumeReport) -> String {
    let ResumeReport { checkpoint, adapter, step, total_steps, micro_batches, taken, differing, .. } = report;
    let open = match micro_batches {
        0 => String::new(),
        1 => " and 1 micro-batch of the next".to_string(),
        done => format!(" and {done} micro-batches of the next"),
    };
    let place = checkpoint.display();
    let mut text = format!("adapter `{adapter}` is on, after step {step} of {total_steps}{open}, from {place}");
    if !taken.is_empty() {
        text += &format!("\nsettings as they were: {}", taken.join(", "));
    }
    if !differing.is_empty() {
        let list = differing.iter().map(|Differing { key, then, now }| format!("{key} was {then} and is {now}"));
        let list = list.collect::<Vec<_>>().join(", ");
        text += &format!("\nother than it was, so that the result will be another one: {list}");
    }
    if step < total_steps { text + "\n`train` goes on" } else { text }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_early_stop_says_why_and_where_the_best_is() {
        let best = BestReport {
            step: 10,
            eval_loss: 1.25,
            checkpoint: Some("out/checkpoint-10".into()),
            loaded: false,
            evaluations_since: 3,
        };
        let mut report = TrainReport {
            end: TrainEnd::StoppedEarly,
            steps: 40,
            step: 40,
            total_steps: 100,
            loss: Some(1.0),
            best: Some(best),
            tokens_per_second: 123.4,
            elapsed: Duration::from_secs(5),
        };
        assert_eq!(
            trained(&report),
            "40 steps in 5.00 s, mean loss 1.0000, 123 tokens/s; stopped early at step 40 of 100: 3 evaluations in a row \
             found no lower eval_loss\nlowest eval_loss 1.2500 at step 10, kept in out/checkpoint-10"
        );
        report.best.iter_mut().for_each(|best| best.loaded = true);
        assert!(trained(&report).ends_with("at step 10; the adapter is that of out/checkpoint-10 again"));
    }
}
