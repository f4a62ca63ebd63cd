//! What a verb tells while it runs, and how it is told to stop.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::report::EvaluationRecord;
use crate::report::StepRecord;

/// What a running verb reports, in the order in which it happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// `done` of `total` units of a task that takes a while (samples encoded, prompt tokens read …).
    Progress { task: &'static str, done: usize, total: usize },
    /// A file comes from a hub: so many of its bytes are here, and of all files that are to come.
    Download { file: String, done: u64, size: u64, all_done: u64, all: u64 },
    /// A micro-batch is through: `done` of `total` in the window of optimizer step `step`. This call of `train` ends
    /// with step `last_step`.
    MicroBatch { step: usize, last_step: usize, total_steps: usize, done: usize, total: usize },
    /// An optimizer step is complete.
    Step(StepRecord),
    /// Held-out samples were evaluated in the course of a training.
    Evaluated(EvaluationRecord),
    /// The next piece of generated text.
    Text(String),
    /// Something the user should know that is no error.
    Note(String),
}

/// A request to stop, shared between a face and the running verb.
#[derive(Clone, Default, Debug)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the running verb to stop at its next safe point.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Forgets an earlier request, before the next verb starts.
    pub fn reset(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// What every verb is given: where its events go and whether it should stop.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub emit: &'a (dyn Fn(Event) + Sync),
    pub cancel: &'a Cancel,
}

impl Context<'_> {
    pub fn emit(&self, event: Event) {
        (self.emit)(event);
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
