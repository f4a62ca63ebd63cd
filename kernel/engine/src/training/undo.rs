//! Going back to an earlier place of a training, and forward again.
//!
//! The training takes the state that it was in, or computes it from the one before with what it followed then, so that
//! every bit is the same. Nothing is evaluated, logged or asked again meanwhile: what was recorded up to that place is
//! known. What was behind it is kept for `redo`, until the training goes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tunebook_nn::adapter::Adapter;

use super::Run;
use super::TrainInputs;
use super::call::Begun;
use super::changes::Followed;
use super::states::EarlierState;
use super::states::Place;
use super::states::States;
use crate::difference::SettingDifference;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::event::Task;
use crate::output::Log;
use crate::pictures::Features;
use crate::report::UndoReport;
use crate::run_state::RunState;
use crate::settings::Declaration;
use crate::settings::Settings;
use crate::settings::declarations;
use crate::snapshot_store::Stored;

/// A replay that takes longer is announced.
const LONG: Duration = Duration::from_secs(3);

/// What an `undo` has taken back.
pub(super) struct Undone {
    /// None where there was no room for it.
    state: Option<Arc<Stored>>,
    later: States,
    saved: usize,
    finished: Option<usize>,
    /// What had been logged.
    log: Option<Log>,
}

impl Run {
    /// Where the training stands.
    pub(super) fn here(&self) -> Place {
        Place { step: self.step(), open_micro_batches: self.open_micro_batches() }
    }

    /// Keeps the state in which a call begins.
    pub(super) fn keep_beginning(&mut self, inputs: &TrainInputs) -> Result<()> {
        let (place, state) = (self.here(), &self.state);
        let copy = (state.bytes(&inputs.adapter), || state.snapshot(&inputs.adapter));
        self.states.begin_call(place, Followed::of(inputs), copy)
    }

    /// Keeps the state in which something else is followed.
    pub(super) fn keep_change(&mut self, inputs: &TrainInputs) -> Result<()> {
        let (place, state) = (self.here(), &self.state);
        let copy = (state.bytes(&inputs.adapter), || state.snapshot(&inputs.adapter));
        self.states.follow(place, Followed::of(inputs), copy)
    }

    /// Keeps the state between two steps, now and then.
    pub(super) fn keep_step(&mut self, inputs: &TrainInputs) -> Result<()> {
        let (step, state) = (self.step(), &self.state);
        if !self.states.is_due(step) {
            return Ok(());
        }
        self.states.step(step, (state.bytes(&inputs.adapter), || state.snapshot(&inputs.adapter)))
    }

    /// Goes back `steps` optimizer steps, or to where the last call began. A stop leaves the training as it was.
    ///
    /// # Errors
    /// There is nothing to go back to, or not so far; a stop; the device or the disk fails. Nothing is changed.
    pub(crate) fn undo(
        &mut self,
        inputs: &TrainInputs,
        steps: Option<usize>,
        features: &mut Features,
        cx: &Context,
    ) -> Result<UndoReport> {
        let (start, present) = (Instant::now(), self.here());
        let place = match steps {
            None => self.states.last_call(present).ok_or(Error::NothingToUndo)?,
            Some(steps) if steps > present.step => return Err(Error::NotSoManySteps { made: present.step }),
            Some(steps) => Place::after(present.step - steps),
        };
        let state = self.state_for(place)?;
        let before = self.state.snapshot(&inputs.adapter)?;
        if let Err(error) = self.go_to(place, &state, inputs, features, cx) {
            self.state.restore(&inputs.adapter, &before)?;
            return Err(error);
        }
        let later = self.states.take_later(place);
        let (saved, finished) = (self.saved, self.finished);
        let log = self.output.as_ref().map(|output| output.entries().clone());
        let state_of_then = self.states.keep(before);
        let can_redo = state_of_then.is_some();
        let set_aside = self.take_back_output(place)?;
        self.undone.push(Undone { state: state_of_then, later, saved, finished, log });
        self.log(inputs)?;
        Ok(UndoReport {
            adapter: inputs.name.clone(),
            from: present.step,
            step: place.step,
            open_micro_batches: place.open_micro_batches,
            replayed: place.step - state.place.step,
            undone: self.undone.len(),
            can_redo,
            differing: self.differing(&inputs.settings),
            set_aside,
            elapsed: start.elapsed(),
        })
    }

    /// Takes the last `undo` back.
    ///
    /// # Errors
    /// There is none, or the training has gone on since; there was no room to keep what it took back; the device or the
    /// disk fails.
    pub(crate) fn redo(&mut self, inputs: &TrainInputs) -> Result<UndoReport> {
        let (start, present) = (Instant::now(), self.here());
        let undone = self.undone.last().ok_or(Error::NothingToRedo)?;
        let state = undone.state.as_ref().ok_or(Error::NoRoomToRedo)?;
        let snapshot = state.get().map_err(Error::EarlierState)?;
        self.state.restore(&inputs.adapter, &snapshot)?;
        if let Some(Undone { later, saved, finished, log, .. }) = self.undone.pop() {
            self.states.put_back(later);
            (self.saved, self.finished, self.kept) = (saved, finished, 0);
            if let (Some(output), Some(log)) = (&mut self.output, log) {
                let are_results_back = finished.is_some_and(|step| step > present.step);
                output.bring_back(self.state.run.step(), log, are_results_back)?;
                output.probes(&self.state.run.probes)?;
            }
            self.log(inputs)?;
        }
        Ok(UndoReport {
            adapter: inputs.name.clone(),
            from: present.step,
            step: self.step(),
            open_micro_batches: self.open_micro_batches(),
            replayed: 0,
            undone: self.undone.len(),
            can_redo: self.undone.last().is_some_and(|undone| undone.state.is_some()),
            differing: self.differing(&inputs.settings),
            set_aside: None,
            elapsed: start.elapsed(),
        })
    }

    /// A training of its own of `adapter`, which has other tensors than the present one: from here, or from an earlier step.
    ///
    /// # Errors
    /// There is no way back to that step; a stop; the device or the disk fails.
    pub(crate) fn branch(
        &self,
        inputs: &TrainInputs,
        adapter: Adapter,
        at: Option<usize>,
        features: &mut Features,
        cx: &Context,
    ) -> Result<(Adapter, Self)> {
        let mut branch = Self { saved: self.saved, states: self.states.clone(), ..Self::default() };
        branch.state.restore(&adapter, &self.state.snapshot(&inputs.adapter)?)?;
        if let Some(step) = at {
            if step > self.step() {
                return Err(Error::NotSoManySteps { made: self.step() });
            }
            let place = Place::after(step);
            if place != self.here() {
                let state = branch.state_for(place)?;
                branch.go_to(
                    place,
                    &state,
                    &TrainInputs { adapter: adapter.clone(), ..inputs.clone() },
                    features,
                    cx,
                )?;
                branch.states.take_later(place);
            }
        }
        Ok((adapter, branch))
    }

    /// The settings that are not as they were on the way to where the training stands.
    fn differing(&self, now: &Settings) -> Vec<SettingDifference> {
        let Some(Followed { settings: then, .. }) = self.states.followed_to(self.here()) else { return Vec::new() };
        let difference = |setting: &Declaration| {
            let (then, now) = (setting.get(then), setting.get(now));
            (then != now).then(|| SettingDifference { key: setting.name.to_string(), then, now })
        };
        declarations().iter().filter_map(difference).collect()
    }

    /// Keeps no states from here on.
    pub(crate) fn forget_states(&mut self) {
        self.states = States::off();
    }

    fn state_for(&self, place: Place) -> Result<EarlierState> {
        let state = self.states.until(place).filter(|state| {
            // Within a window, only the very place will do.
            place.open_micro_batches == 0 || state.place == place
        });
        state.cloned().ok_or_else(|| match (self.states.first_step(), self.states.too_large()) {
            (Some(first), _) => Error::StepNotKept { step: place.step, first },
            (None, Some(bytes)) => Error::StatesTooLarge { gigabytes: bytes as f64 / 1e9 },
            (None, None) => Error::NothingToUndo,
        })
    }

    /// Has the training be at `place`, from `state` on.
    fn go_to(
        &mut self,
        place: Place,
        state: &EarlierState,
        inputs: &TrainInputs,
        features: &mut Features,
        cx: &Context,
    ) -> Result<()> {
        let known = self.state.run.clone();
        let mut snapshot = state.snapshot().map_err(Error::EarlierState)?;
        take_records(&mut snapshot.run, &known, state.place.step);
        if place.step == state.place.step {
            self.state.restore(&inputs.adapter, &snapshot)?;
        } else {
            let mut run = Self::default();
            run.state.restore(&inputs.adapter, &snapshot)?;
            let seconds = known.seconds_at(place.step) - known.seconds_at(state.place.step);
            let time = Duration::from_secs_f64(seconds.max(0.0));
            if time > LONG {
                cx.emit(Event::Note(Note::Replays { steps: place.step - state.place.step, time }));
            }
            run.replay(place.step, &state.followed, &known, inputs.clone(), features, cx)?;
            self.state = run.state;
            take_records(&mut self.state.run, &known, place.step);
        }
        self.saved = self.saved.min(place.step);
        // As many micro-batches as are on the disk may now be others.
        self.kept = 0;
        Ok(())
    }

    /// Makes the steps up to `last` once more, following what was followed then.
    fn replay(
        &mut self,
        last: usize,
        followed: &Followed,
        known: &RunState,
        mut inputs: TrainInputs,
        features: &mut Features,
        cx: &Context,
    ) -> Result<()> {
        // Whatever is written has been written.
        inputs.settings = Settings { output_dir: None, load_best_model_at_end: false, ..followed.settings.clone() };
        inputs.dropped.clone_from(&followed.dropped);
        let (first, total) = (self.step(), last - self.step());
        let progress = |done| cx.emit(Event::Progress { task: Task::Replaying, done, total });
        let emit = |event: Event| match event {
            Event::MicroBatch { step, .. } => progress(step.saturating_sub(first + 1)),
            Event::Note(Note::OtherBits) => cx.emit(event),
            _ => {}
        };
        let quiet = Context { emit: &emit, cancel: cx.cancel };
        let begun = Begun {
            at: Instant::now(),
            elapsed: self.state.run.elapsed,
            tokens: self.state.run.tokens,
            step: first,
            steps: Some(total),
        };
        let mut call = self.plan(&inputs, begun, &quiet)?;
        while self.step() < last {
            self.micro_batch_group(&inputs, features, &mut call, &quiet)?;
            if self.is_window_full(&inputs.settings) {
                self.optimizer_step(&inputs, &mut call, &quiet)?;
                // The learning rate may follow them.
                self.state.run.evaluations = known.evaluations_until(self.step());
            }
        }
        progress(total);
        Ok(())
    }

    /// Leaves nothing in the output folder of what is behind `place`. Gives the folder with what was there.
    fn take_back_output(&mut self, place: Place) -> Result<Option<PathBuf>> {
        let run = &self.state.run;
        let is_finished_later = self.finished.is_some_and(|step| step > place.step);
        if is_finished_later {
            self.finished = None;
        }
        match (&mut self.output, &mut self.resumed) {
            (Some(output), _) => {
                output.probes(&run.probes)?;
                let adds = !self.undone.is_empty();
                output.take_back(place.step, run.evaluations.len(), is_finished_later, adds)
            }
            (None, Some((_, log))) => {
                *log = log.until(place.step, run.evaluations.len());
                Ok(None)
            }
            (None, None) => Ok(None),
        }
    }
}

/// Gives the records up to `step` to a state of that step, which has none of its own or computed them again.
fn take_records(run: &mut RunState, known: &RunState, step: usize) {
    run.records = known.records[..step].to_vec();
    run.evaluations = known.evaluations_until(step);
    run.probes = known.probes.iter().filter(|record| record.step <= step).cloned().collect();
    run.elapsed = Duration::from_secs_f64(known.seconds_at(step));
}
