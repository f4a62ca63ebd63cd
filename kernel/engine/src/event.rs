//! What a verb tells while it runs, and how it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tunebook_data::Skipped;

use crate::advice::Advice;
use crate::advice::MemoryEstimate;
use crate::error::Error;
use crate::error::Result;
use crate::report::EvaluationRecord;
use crate::report::StepRecord;
use crate::report::SystemPrompt;

/// What a running verb reports, in the order in which it happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// `done` of `total` units of a task that takes a while (samples encoded, prompt tokens read …).
    Progress { task: Task, done: usize, total: usize },
    /// A file comes from a hub: so many of its bytes are here, and of all files that are to come.
    Download { file: String, done: u64, size: u64, all_done: u64, all: u64 },
    /// What the training that begins takes of the memory.
    MemoryEstimate(MemoryEstimate),
    /// This call of `train` goes on for about `time`, as long as `steps` steps take that are like the last one.
    Estimate { steps: usize, time: Duration },
    /// What is wrong with how the training goes.
    Advice(Advice),
    /// `done` of `total` micro-batches in the window of optimizer step `step` are through, with the part that is done of
    /// those that are on their way. This call of `train` ends with step `last_step`.
    MicroBatch { step: usize, last_step: usize, total_steps: usize, done: f64, total: usize },
    /// An optimizer step is complete.
    Step(StepRecord),
    /// The text that comes next is the answer of an adapter, or of `base`.
    Answering(String),
    /// Held-out samples were evaluated in the course of a training.
    Evaluated(EvaluationRecord),
    /// The next piece of generated text.
    Text(String),
    /// Something the user should know that is no error.
    Note(Note),
}

/// What takes a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Records of a file.
    Reading,
    /// Samples to train on.
    Encoding,
    /// Samples to evaluate on.
    EncodingEval,
    /// Parameters.
    Quantizing,
    /// Copying a model's weights to a device, in bytes.
    Uploading,
    /// Samples.
    Evaluating,
    /// Samples.
    Predicting,
    /// Tensors.
    Writing,
}

/// Something the user should know that is no error.
#[derive(Clone, Debug)]
pub enum Note {
    /// So many files and bytes come from a hub to a cache.
    Download { id: String, hub: &'static str, files: usize, size: u64, cache: PathBuf },
    /// Another program fetches this file, which is waited for; it holds this lock.
    DownloadWaits { file: String, lock: PathBuf },
    /// What has come stays.
    DownloadStopped,
    /// A hub cannot be reached; what was downloaded before is taken.
    FromCache { id: String, hub: &'static str, problem: String },
    /// Samples to evaluate on that are left out, and the first of them.
    CannotBeUsed { names: String, count: usize, first: Option<Box<Skipped>> },
    /// A sample turned out to be unusable when its turn came.
    LeftOut(Box<Skipped>),
    /// A training that ends with an error is kept in a checkpoint.
    Kept { checkpoint: PathBuf },
    /// Settings by which samples are encoded have changed since the data was chosen.
    FromNextData { keys: Vec<String> },
    /// There is too little memory for as many tokens at once as before, so that sums differ in their last bits.
    OtherBits,
    /// What an earlier training has left in an output folder is now in this one.
    SetAside { folder: PathBuf },
    /// There are no samples to evaluate on but those of the training.
    NothingHeldOut { names: String },
    /// The file of a data set has another SHA-1 than `file_sha1` says.
    OtherSha1 { name: String, sha1: String },
    /// Keys of a recipe that are accepted and do nothing.
    WithoutEffect { keys: Vec<String> },
    /// Settings, as `key=value`, that are as they were before something came that is gone now.
    TakenBack { settings: Vec<String> },
    /// The model is asked with another system prompt than before.
    SystemPrompt(SystemPrompt),
    /// A training goes on from a checkpoint by itself.
    GoingOn { checkpoint: PathBuf },
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

    /// Lets the verb go on.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if it is to stop.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
