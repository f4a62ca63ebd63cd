//! Displays of trainings that go on when their cell has ended.
//!
//! A frontend finds a display by its id, whatever cell an update is on account of. nbclient hears only what the cell that
//! runs is answered, so an update is sent as part of that cell, if it is of the same client: a notebook that is executed
//! from a command line is then saved with the last state.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::wire::Origin;

/// How long a cell that has seen the end of a training waits for the displays of others to show it.
const PATIENCE: Duration = Duration::from_millis(500);
const LOOK_UP: Duration = Duration::from_millis(2);

/// What the threads that draw such displays share with the one that runs cells.
#[derive(Clone, Default)]
pub(crate) struct Background(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The cell that runs.
    cell: Option<Origin>,
    displays: usize,
}

/// A display, until it is dropped.
pub(crate) struct Display(Background);

impl Background {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_cell(&self, cell: Option<Origin>) {
        self.state().cell = cell;
    }

    /// Calls `tell` with the cell that runs, if one does; it does not end meanwhile.
    pub(crate) fn tell_cell(&self, tell: impl FnOnce(&Origin)) {
        self.state().cell.as_ref().map(tell);
    }

    pub(crate) fn begin_display(&self) -> Display {
        self.state().displays += 1;
        Display(self.clone())
    }

    /// Waits until all displays have come to their end.
    pub(crate) fn settle(&self) {
        let start = Instant::now();
        while self.state().displays > 0 && start.elapsed() < PATIENCE {
            thread::sleep(LOOK_UP);
        }
    }
}

impl Display {
    /// What an update of a display of the cell `own` is on account of.
    pub(crate) fn origin(&self, own: &Origin) -> Origin {
        let running = self.0.state().cell.clone();
        running.filter(|cell| cell.session() == own.session()).unwrap_or_else(|| own.clone())
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.0.state().displays -= 1;
    }
}
