//! What happens between two optimizer steps, and where a training begins and ends: log, evaluation, checkpoints.
//!
//! Each of them is done if it is due and has not been done yet. This also runs before the first step of a call, so a
//! stop in the middle of an evaluation only delays it.

use std::time::Instant;

use tunebook_data::Encoded;
use tunebook_data::Skipped;

use super::Run;
use super::TrainInputs;
use super::saving::state;
use crate::conversation::RunContext;
use crate::error::Result;
use crate::evaluate::mean_loss;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::pictures::Features;
use crate::report::BestReport;
use crate::report::EvaluationRecord;
use crate::report::TrainEnd;
use crate::settings::EvalStrategy;
use crate::settings::SaveStrategy;

impl Run {
    /// What is due after the last step and not done yet: its line of the log, an evaluation, a checkpoint. Says whether
    /// the training ends here.
    pub(super) fn between_steps(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        total_steps: usize,
        cx: &Context,
    ) -> Result<Option<TrainEnd>> {
        let settings = &inputs.settings;
        let step = self.step();
        let is_last = step >= total_steps;
        let is_epoch = self.state.run.position.micro_batch == 0;
        self.log(inputs)?;
        let evaluates = !inputs.data.eval.is_empty()
            && self.state.run.evaluation().is_none()
            && match settings.eval_strategy {
                EvalStrategy::No => false,
                EvalStrategy::Steps => is_last || step.is_multiple_of(settings.steps_between_evaluations()),
                EvalStrategy::Epoch => is_last || is_epoch,
            };
        if evaluates {
            let Some(record) = self.evaluate(inputs, features, total_steps, cx)? else {
                return Ok(Some(TrainEnd::Interrupted));
            };
            cx.emit(Event::Evaluated(record.clone()));
            self.state.run.evaluations.push(record);
            self.log(inputs)?;
        }
        let is_best = || self.state.run.best().is_some_and(|best| best.step == step);
        let saves = match settings.save_strategy {
            SaveStrategy::No => false,
            SaveStrategy::Steps => is_last || step.is_multiple_of(settings.save_steps),
            SaveStrategy::Epoch => is_last || is_epoch,
            SaveStrategy::Best => is_best(),
        };
        if self.saved != step && (saves || (settings.load_best_model_at_end && is_best())) {
            self.write_checkpoint(inputs)?;
            self.saved = step;
        }
        let without_progress = self.state.run.without_progress();
        let stops = settings.early_stopping_steps.is_some_and(|most| without_progress >= most);
        Ok((evaluates && stops && !is_last).then_some(TrainEnd::StoppedEarly))
    }

    /// The loss on what is held out; none if it was stopped.
    fn evaluate(
        &mut self,
        inputs: &TrainInputs,
        features: &mut Features,
        total_steps: usize,
        cx: &Context,
    ) -> Result<Option<EvaluationRecord>> {
        let TrainInputs { model, adapter, data, processor, settings, workers, .. } = inputs;
        let start = Instant::now();
        let samples: Vec<&Encoded> = data.eval.iter().collect();
        let run = RunContext { model, adapter: Some(adapter), processor, settings, labels: None };
        let found = mean_loss(&samples, run, features, workers.as_ref(), &mut self.bad_samples, cx)?;
        self.list_bad_samples()?;
        if found.is_stopped {
            return Ok(None);
        }
        let took = start.elapsed();
        self.state.run.elapsed += took;
        Ok(Some(EvaluationRecord {
            step: self.step(),
            total_steps,
            loss: found.loss,
            epoch: self.state.run.records.last().map_or(0.0, |record| record.epoch),
            tokens: self.state.run.tokens,
            elapsed: self.state.run.elapsed.as_secs_f64(),
            seconds: took.as_secs_f64(),
            samples: found.done,
            batches: found.batches,
        }))
    }

    /// Does what is due when `train` comes back, and tells of the best evaluation. What has been learned so far is there
    /// to use, also where somebody stopped early.
    pub(super) fn end(&mut self, inputs: &TrainInputs, end: TrainEnd, cx: &Context) -> Result<Option<BestReport>> {
        let settings = &inputs.settings;
        let is_new = self.open_micro_batches() > 0 || self.saved != self.step();
        if end == TrainEnd::Interrupted && settings.save_strategy != SaveStrategy::No && is_new {
            let kept = self.write_checkpoint(inputs)?;
            kept.into_iter().for_each(|checkpoint| cx.emit(Event::Note(Note::Kept { checkpoint })));
        }
        let mut report = self.state.run.best().map(|best| BestReport {
            step: best.step,
            eval_loss: best.loss,
            checkpoint: self.place(best.step),
            loaded: false,
            evaluations_since: self.state.run.without_progress(),
        });
        let is_over = matches!(end, TrainEnd::Finished | TrainEnd::StoppedEarly);
        if is_over
            && settings.load_best_model_at_end
            && report.as_ref().is_some_and(|best| best.step != self.step())
            && let Some(BestReport { checkpoint: Some(place), loaded, .. }) = &mut report
        {
            inputs.adapter.copy_from(&inputs.model.net.load_adapter(place)?)?;
            self.states.set_apart();
            *loaded = true;
        }
        if end != TrainEnd::Paused
            && let Some(output) = &mut self.output
        {
            output.finish(state(&self.state.run, inputs))?;
            self.finished = Some(self.state.run.step());
        }
        Ok(report)
    }

    /// Samples that training or an evaluation in between has left out.
    pub fn bad_samples(&self) -> &[Skipped] {
        self.bad_samples.known()
    }
}
