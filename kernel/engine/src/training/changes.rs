//! What is changed while a training runs, and counts from its next optimizer step on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use super::Run;
use super::TrainInputs;
use super::call::Call;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::probes::Probe;
use crate::settings::Settings;

/// What a training follows that its session may change.
#[derive(Clone, PartialEq)]
pub struct Followed {
    pub settings: Settings,
    pub probes: Vec<Probe>,
    pub dropped: BTreeSet<usize>,
}

impl Followed {
    pub(super) fn of(inputs: &TrainInputs) -> Self {
        let TrainInputs { settings, probes, dropped, .. } = inputs;
        Self { settings: settings.clone(), probes: probes.clone(), dropped: dropped.clone() }
    }
}

/// The way of changes from a session to its training.
#[derive(Clone, Default)]
pub struct Changes(Arc<Mutex<Option<Followed>>>);

impl Changes {
    /// Has the training follow this from its next step on.
    pub fn tell(&self, followed: Followed) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(followed);
    }

    fn take(&self) -> Option<Followed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Run {
    /// Follows what has changed, as if this call had ended here and another one had begun. What cannot be followed is
    /// told, and the training goes on as it was: hours of it are not to end with a wrong word.
    ///
    /// # Errors
    /// The device fails.
    pub(super) fn take_changes(
        &mut self,
        changes: &Changes,
        inputs: &mut TrainInputs,
        call: &mut Call,
        cx: &Context,
    ) -> Result<()> {
        let Some(mut other) = changes.take() else { return Ok(()) };
        let mut swap = |inputs: &mut TrainInputs| {
            std::mem::swap(&mut inputs.settings, &mut other.settings);
            std::mem::swap(&mut inputs.probes, &mut other.probes);
            std::mem::swap(&mut inputs.dropped, &mut other.dropped);
        };
        swap(inputs);
        match self.plan(inputs, call.begun, cx) {
            Ok(changed) => {
                *call = changed;
                self.keep_change(inputs)?;
            }
            Err(error) => {
                swap(inputs);
                cx.emit(Event::Note(Note::ChangesLeftOut { problem: error.to_string() }));
            }
        }
        Ok(())
    }
}
