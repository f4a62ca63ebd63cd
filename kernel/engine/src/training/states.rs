//! Earlier states of a training, from which it can go back to any of its steps.
//!
//! They are kept where a call of `train` begins, where what the training follows changes, and every [`EVERY`] steps. A step
//! in between is computed again from the state before it, which gives the same bits. Where there is no room for more, a
//! state goes that others can replace: the older it is, the farther apart those that stay.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use super::changes::Followed;
use crate::error::Result;
use crate::memory::available_bytes;
use crate::snapshot_store::SnapshotStore;
use crate::snapshot_store::Stored;
use crate::training_state::Snapshot;

/// Optimizer steps from one state to the next within a call.
const EVERY: usize = 10;
/// A state is copied where so many times its size is available.
const FREE: u64 = 4;
/// At most so many are kept.
const MOST: usize = 100;
/// Where a state can be computed again, copying may take no more than one part in so many of the time.
const SHARE: u32 = 50;

/// A place in a training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Optimizer steps made.
    pub step: usize,
    /// Micro-batches since the last of them.
    pub open_micro_batches: usize,
}

impl Place {
    pub(super) fn after(step: usize) -> Self {
        Self { step, open_micro_batches: 0 }
    }
}

/// A state that a training was in.
#[derive(Clone)]
pub(super) struct EarlierState {
    pub place: Place,
    /// What the training followed from here on.
    pub followed: Arc<Followed>,
    /// It cannot be computed from the one before it.
    is_needed: bool,
    /// Without the records of steps, evaluations and probes, which the training has.
    stored: Arc<Stored>,
}

impl EarlierState {
    /// # Errors
    /// It cannot be read from the disk.
    pub(super) fn snapshot(&self) -> std::io::Result<Snapshot> {
        self.stored.get()
    }
}

/// The earlier states of a training, by their places.
#[derive(Clone)]
pub(super) struct States {
    list: Vec<EarlierState>,
    /// Where calls of `train` began.
    calls: Vec<Place>,
    /// What it trains has been given other values.
    is_apart: bool,
    /// None are kept.
    is_off: bool,
    /// The bytes of a state that there was too little memory to copy.
    too_large: Option<usize>,
    /// When the last state was copied, and how long that took.
    copied: Option<(Instant, Duration)>,
    pub store: Arc<SnapshotStore>,
}

impl Default for States {
    fn default() -> Self {
        Self::kept_in(SnapshotStore::of_process())
    }
}

impl States {
    fn kept_in(store: Arc<SnapshotStore>) -> Self {
        Self {
            list: Vec::new(),
            calls: Vec::new(),
            is_apart: false,
            is_off: false,
            too_large: None,
            copied: None,
            store,
        }
    }

    /// For a training that nobody goes back in.
    pub(super) fn off() -> Self {
        Self { is_off: true, ..Self::default() }
    }

    /// A call of `train` begins, which follows `followed`.
    ///
    /// # Errors
    /// Those of `state`: its size in bytes, and what copies it.
    pub(super) fn begin_call(
        &mut self,
        place: Place,
        followed: Followed,
        state: (usize, impl FnOnce() -> Result<Snapshot>),
    ) -> Result<()> {
        if self.calls.last() != Some(&place) {
            self.calls.push(place);
        }
        self.follow(place, followed, state)
    }

    /// From here on the training follows `followed`.
    ///
    /// # Errors
    /// Those of `state`: its size in bytes, and what copies it.
    pub(super) fn follow(
        &mut self,
        place: Place,
        followed: Followed,
        state: (usize, impl FnOnce() -> Result<Snapshot>),
    ) -> Result<()> {
        let is_same = self.followed_to(place).is_some_and(|before| *before == followed);
        let is_needed = !is_same || self.is_apart || place.open_micro_batches > 0;
        let is_cheap = self.is_cheap();
        match self.list.last_mut() {
            Some(last) if last.place == place && !self.is_apart => {
                (last.followed, last.is_needed) = (Arc::new(followed), is_needed || last.is_needed);
            }
            Some(_) if !is_needed && !is_cheap => {}
            _ => self.add(place, Arc::new(followed), is_needed, state)?,
        }
        self.is_apart = false;
        Ok(())
    }

    /// Whether a state is to be kept after a step within a call.
    pub(super) fn is_due(&self, step: usize) -> bool {
        let is_behind = self.list.last().is_some_and(|last| last.place.step < step);
        step.is_multiple_of(EVERY) && is_behind && self.is_cheap()
    }

    /// Keeps the state after a step within a call.
    ///
    /// # Errors
    /// Those of `state`: its size in bytes, and what copies it.
    pub(super) fn step(&mut self, step: usize, state: (usize, impl FnOnce() -> Result<Snapshot>)) -> Result<()> {
        let Some(last) = self.list.last() else { return Ok(()) };
        self.add(Place::after(step), Arc::clone(&last.followed), false, state)
    }

    /// Whether copying a state would take little of the time since the last one.
    fn is_cheap(&self) -> bool {
        self.copied.is_none_or(|(at, took)| took * SHARE <= at.elapsed())
    }

    /// What the training trains has been given values that it has not computed.
    pub(super) fn set_apart(&mut self) {
        self.is_apart = true;
    }

    /// Where the last call began that has made a micro-batch.
    pub(super) fn last_call(&self, present: Place) -> Option<Place> {
        self.calls.iter().rfind(|place| **place < present).copied()
    }

    /// The last state up to `place`.
    pub(super) fn until(&self, place: Place) -> Option<&EarlierState> {
        self.list.iter().rfind(|state| state.place <= place)
    }

    /// What was followed on the way to `place`.
    pub(super) fn followed_to(&self, place: Place) -> Option<&Followed> {
        self.list.iter().rfind(|state| state.place < place).map(|state| &*state.followed)
    }

    /// The bytes of a state, where there was too little memory to copy one.
    pub(super) fn too_large(&self) -> Option<usize> {
        self.too_large
    }

    /// The first step that can be gone back to.
    pub(super) fn first_step(&self) -> Option<usize> {
        self.list.first().map(|state| state.place.step)
    }

    /// Takes out what is behind `place`.
    pub(super) fn take_later(&mut self, place: Place) -> Self {
        let states = self.list.partition_point(|state| state.place <= place);
        let calls = self.calls.partition_point(|call| *call <= place);
        let later = Self {
            list: self.list.split_off(states),
            calls: self.calls.split_off(calls),
            is_apart: self.is_apart,
            ..Self::kept_in(Arc::clone(&self.store))
        };
        self.is_apart = false;
        later
    }

    /// Puts back what was [taken out](Self::take_later).
    pub(super) fn put_back(&mut self, later: Self) {
        self.list.extend(later.list);
        self.calls.extend(later.calls);
        self.is_apart = later.is_apart;
    }

    /// Keeps a snapshot beside these states, some of which may go for it; none if there is no room for it.
    pub(super) fn keep(&mut self, snapshot: Snapshot) -> Option<Arc<Stored>> {
        let bytes = snapshot.bytes();
        while self.store.left().memory < bytes {
            // The oldest in memory goes to the disk, and where that is full, one of all goes.
            match self.list.iter().find(|state| state.stored.is_in_memory()) {
                Some(state) if state.stored.spill() => {}
                Some(_) => self.thin(),
                None => break,
            }
        }
        let is_full = || self.store.left().memory < bytes && self.store.left().disk < bytes;
        while is_full() && !self.list.is_empty() {
            self.list.remove(self.least());
        }
        self.store.put(snapshot)
    }

    fn add(
        &mut self,
        place: Place,
        followed: Arc<Followed>,
        is_needed: bool,
        (bytes, snapshot): (usize, impl FnOnce() -> Result<Snapshot>),
    ) -> Result<()> {
        if self.is_off {
            return Ok(());
        }
        if available_bytes().is_some_and(|available| available < FREE * bytes as u64) {
            self.too_large = Some(bytes);
            return Ok(());
        }
        let start = Instant::now();
        let mut snapshot = snapshot()?;
        snapshot.run.records = Vec::new();
        snapshot.run.evaluations = Vec::new();
        snapshot.run.probes = Vec::new();
        // In place of one with other values.
        self.list.retain(|state| state.place < place);
        if self.list.len() >= MOST {
            self.thin();
        }
        if let Some(stored) = self.keep(snapshot) {
            self.list.push(EarlierState { place, followed, is_needed, stored });
        }
        self.copied = Some((Instant::now(), start.elapsed()));
        Ok(())
    }

    fn thin(&mut self) {
        self.list.remove(self.least());
    }

    /// The index of the state that is missed least: of those that others can replace, the one that leaves the smallest gap
    /// for its age; else the oldest.
    fn least(&self) -> usize {
        let step = |index: usize| self.list[index].place.step as f64;
        let last = self.list.len().saturating_sub(1);
        let cost = |index: usize| (step(index + 1) - step(index - 1)) / (step(last) - step(index) + 1.0);
        let replaceable = (1..last).filter(|index| !self.list[*index].is_needed);
        replaceable.min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::snapshot_store::Room;

    fn followed(learning_rate: f64) -> Followed {
        let settings = Settings { learning_rate, ..Settings::default() };
        Followed { settings, probes: Vec::new(), dropped: Default::default() }
    }

    /// 400 bytes, whose values tell the step.
    fn snapshot(step: usize) -> Result<Snapshot> {
        Ok(Snapshot::of_values(vec![step as f32; 100]))
    }

    fn steps(states: &States) -> Vec<usize> {
        states.list.iter().map(|state| state.place.step).collect()
    }

    /// Every step is one that could be kept, and copying takes no time.
    fn train(states: &mut States, to: usize) {
        let first = states.list.last().map_or(0, |state| state.place.step);
        for step in first + 1..=to {
            states.copied = None;
            if states.is_due(step) {
                states.step(step, (400, || snapshot(step))).unwrap();
            }
        }
    }

    #[test]
    fn states_stay_within_their_bounds_and_grow_sparse_with_age() {
        let limits = Room { memory: 1200, disk: 2000 };
        let store = SnapshotStore::new(limits);
        let mut states = States::kept_in(Arc::clone(&store));
        states.begin_call(Place::after(0), followed(1.0), (400, || snapshot(0))).unwrap();
        for to in (EVERY..=100 * EVERY).step_by(EVERY) {
            train(&mut states, to);
            let left = store.left();
            let used = limits.memory - left.memory + limits.disk - left.disk;
            assert_eq!(used, 400 * states.list.len(), "{to}");
        }
        let kept = steps(&states);
        assert!(kept.len() == 8 && kept[0] == 0 && kept[7] == 1000, "{kept:?}");
        let gaps: Vec<_> = kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[0] >= 4 * gaps[6], "{kept:?}");
        for state in &states.list {
            let snapshot = state.snapshot().unwrap();
            assert!(snapshot.floats().all(|floats| floats.values[99] == state.place.step as f32));
        }
        drop(states);
        assert_eq!(store.left(), limits, "all room is given back");
    }

    #[test]
    fn what_cannot_be_computed_again_outlives_what_can() {
        let mut states = States::kept_in(SnapshotStore::new(Room { memory: 1600, disk: 0 }));
        states.begin_call(Place::after(0), followed(1.0), (400, || snapshot(0))).unwrap();
        train(&mut states, EVERY);
        // From here on with another rate.
        states.begin_call(Place::after(15), followed(2.0), (400, || snapshot(15))).unwrap();
        train(&mut states, 60);
        let kept = steps(&states);
        assert!(kept.len() == 4 && kept.contains(&15) && kept.contains(&60), "{kept:?}");
        assert_eq!(states.until(Place::after(17)).unwrap().followed.settings.learning_rate, 2.0);
        assert_eq!(states.until(Place::after(14)).unwrap().followed.settings.learning_rate, 1.0);
        assert_eq!(states.followed_to(Place::after(15)).unwrap().settings.learning_rate, 1.0);
    }

    #[test]
    fn a_state_without_room_is_not_kept() {
        let mut states = States::kept_in(SnapshotStore::new(Room { memory: 100, disk: 100 }));
        states.begin_call(Place::after(0), followed(1.0), (400, || snapshot(0))).unwrap();
        assert_eq!((steps(&states).len(), states.first_step()), (0, None));
        let mut states = States::kept_in(SnapshotStore::new(Room { memory: 400, disk: 0 }));
        states.begin_call(Place::after(0), followed(1.0), (400, || snapshot(0))).unwrap();
        assert!(states.keep(snapshot(3).unwrap()).is_some(), "the present is worth more than the past");
        assert_eq!(states.first_step(), None);
    }

    #[test]
    fn no_more_are_kept_than_a_process_may_have_open_files() {
        let mut states = States::kept_in(SnapshotStore::new(Room { memory: 0, disk: 1 << 30 }));
        states.begin_call(Place::after(0), followed(1.0), (400, || snapshot(0))).unwrap();
        train(&mut states, 3 * MOST * EVERY);
        assert_eq!((states.list.len(), states.first_step()), (MOST, Some(0)));
        assert!(states.list.iter().all(|state| !state.stored.is_in_memory()));
    }

    #[test]
    fn later_states_are_taken_out_and_put_back() {
        let mut states = States::default();
        states.begin_call(Place::after(0), followed(1.0), (400, || snapshot(0))).unwrap();
        train(&mut states, 30);
        states.copied = None;
        states.begin_call(Place::after(33), followed(1.0), (400, || snapshot(33))).unwrap();
        assert_eq!(states.last_call(Place::after(33)), Some(Place::after(0)));
        assert_eq!(states.last_call(Place { step: 33, open_micro_batches: 1 }), Some(Place::after(33)));
        let later = states.take_later(Place::after(20));
        assert_eq!((steps(&states), states.calls.len()), (vec![0, 10, 20], 1));
        states.put_back(later);
        assert_eq!((steps(&states), states.calls.len()), (vec![0, 10, 20, 30, 33], 2));
    }
}
