//! What a verb tells while it runs, and how it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use tunebook_data::Skipped;

use crate::advice::Advice;
use crate::advice::MemoryEstimate;
use crate::error::Error;
use crate::error::Result;
use crate::probes::ProbeRecord;
use crate::report::EvaluationRecord;
use crate::report::StepRecord;
use crate::report::SystemPrompt;
use crate::serialize;
use crate::workers::Loss;

/// Events of a running verb, in the order in which they happen.
#[derive(Clone, Debug, Serialize)]
pub enum Event {
    /// `done` of `total` units of a task that takes a while (samples encoded, prompt tokens read …).
    Progress { task: Task, done: usize, total: usize },
    /// `done` of `total` samples have their answer; `part`, from 0 to 1, counts the answers on their way as well.
    Predicting { done: usize, total: usize, part: f64 },
    /// Progress of a download: bytes of this file, and of all files that are needed.
    Download { file: String, done: u64, size: u64, all_done: u64, all: u64 },
    /// The memory that the training takes, before its first step.
    MemoryEstimate(MemoryEstimate),
    /// This call of `train` takes about `time` more, if its remaining `steps` steps are like the last one.
    Estimate {
        steps: usize,
        #[serde(serialize_with = "serialize::seconds")]
        time: Duration,
    },
    /// Advice about the training.
    Advice(Advice),
    /// `done` of `total` micro-batches of optimizer step `step` are complete; the fraction counts those in flight. This
    /// call of `train` ends with step `last_step` and has taken `elapsed` so far.
    MicroBatch {
        step: usize,
        last_step: usize,
        total_steps: usize,
        done: f64,
        total: usize,
        #[serde(serialize_with = "serialize::seconds")]
        elapsed: Duration,
    },
    /// A training goes on: the losses of the steps before this call of `train`, and of its evaluations, each after its step.
    Earlier { losses: Vec<(f64, f64)>, evaluations: Vec<(f64, f64)> },
    /// A sweep begins the training `number` of `total`, with these settings.
    Trial { number: usize, total: usize, settings: String },
    /// An optimizer step is complete.
    Step(StepRecord),
    /// The text that follows is the answer of an adapter, or of `base`.
    Answering(String),
    /// Held-out samples were evaluated during a training.
    Evaluated(EvaluationRecord),
    /// The probes of a training were answered.
    Probed(ProbeRecord),
    /// The next piece of generated text.
    Text(String),
    /// Something the user should know that is no error.
    Note(Note),
}

/// A task that takes a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
    /// Tensors.
    Writing,
    /// Questions to llama.cpp.
    Checking,
    /// Optimizer steps, computed once more.
    Replaying,
    /// Workers that are there, or have loaded the model.
    StartingWorkers,
    /// Reading files that go to a hub, in bytes.
    Hashing,
    /// Sending files to a hub, in bytes.
    Sending,
}

/// Something the user should know that is no error.
#[derive(Clone, Debug, Serialize)]
pub enum Note {
    /// A download begins: so many files and bytes, to a cache.
    Download {
        id: String,
        hub: &'static str,
        files: usize,
        size: u64,
        #[serde(serialize_with = "serialize::path")]
        cache: PathBuf,
    },
    /// Another program is fetching this file and holds this lock; the download waits for it.
    DownloadWaits {
        file: String,
        #[serde(serialize_with = "serialize::path")]
        lock: PathBuf,
    },
    /// The download was stopped; what has arrived is kept.
    DownloadStopped,
    /// The upload was stopped before its commit.
    UploadStopped,
    /// A hub cannot be reached; an earlier download is used.
    FromCache { id: String, hub: &'static str, problem: String },
    /// Samples to evaluate on that are skipped, and the first of them.
    CannotBeUsed { names: String, count: usize, first: Option<Box<Skipped>> },
    /// A sample turned out to be unusable when its turn came.
    LeftOut(Box<Skipped>),
    /// A probe cannot be asked, for this reason; the training goes on.
    ProbeLeftOut { question: String, problem: String },
    /// A training that ends with an error was saved in a checkpoint.
    Kept {
        #[serde(serialize_with = "serialize::path")]
        checkpoint: PathBuf,
    },
    /// Settings that affect how samples are encoded have changed since the data was chosen.
    FromNextData { keys: Vec<String> },
    /// A worker was lost; so many are left, and do again what was on its way.
    WorkerLost { loss: Loss, left: usize },
    /// There is less memory than before for several micro-batches at once, so sums differ in their last bits.
    OtherBits,
    /// These steps are computed once more to get to where `undo` goes; they took `time`.
    Replays {
        steps: usize,
        #[serde(serialize_with = "serialize::seconds")]
        time: Duration,
    },
    /// What an earlier training left in the output folder was moved to this folder.
    SetAside {
        #[serde(serialize_with = "serialize::path")]
        folder: PathBuf,
    },
    /// There are no samples to evaluate on except those of the training.
    NothingHeldOut { names: String },
    /// The file of a dataset does not have the SHA-1 that `file_sha1` says.
    OtherSha1 { name: String, sha1: String },
    /// Conversations are written in another chat template than the one that the model was trained with.
    OtherTemplate { template: &'static str, own: &'static str },
    /// Keys of a recipe that are accepted and have no effect.
    WithoutEffect { keys: Vec<String> },
    /// Settings that were changed during a training cannot be followed, for this reason; it goes on with those before.
    ChangesLeftOut { problem: String },
    /// Settings, as `key=value`, that returned to their earlier values because what they came with is gone.
    TakenBack { settings: Vec<String> },
    /// The model is asked with another system prompt than before.
    SystemPrompt(SystemPrompt),
    /// A training resumes from a checkpoint by itself.
    GoingOn {
        #[serde(serialize_with = "serialize::path")]
        checkpoint: PathBuf,
    },
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

/// The context of a verb: where its events go, and whether it should stop.
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

    /// Checks for cancellation.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the verb should stop.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
