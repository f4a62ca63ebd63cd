//! Workers: further processes, on this machine or others, that compute a session's gradients, losses and answers.
//!
//! Data parallelism: each worker has the whole model, and an optimizer step's micro-batches are shared out. Workers are
//! stateless. Before a step they get the values of what trains, and after it their gradients are summed, over MPI (see
//! `kernel/mpi`); the optimizer and all that a training is stay in the session. So one prompt or notebook has all
//! of them, `undo`, branches and sweeps work as ever, and a worker that dies costs no more than the step on its way.
//!
//! With `world_size` N, an optimizer step has N times `gradient_accumulation_steps` micro-batches, as with N processes of
//! LLaMA-Factory. The training is that of one process with the same number of micro-batches a step, up to the order of
//! sums: which worker computes a micro-batch has no part in it.

mod adapter_files;
mod answers;
#[cfg(feature = "cuda")]
mod device_sum;
mod error;
mod group;
mod invitation;
mod losses;
mod options;
mod serve;
mod settings_map;
mod share;
mod step;
mod wire;

use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tunebook_data::Encoded;
use tunebook_nn::gradients::Gradients;

use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::model::Model;
use crate::report::WorkersReport;
use crate::settings::Settings;
use crate::training::micro_batch::Learner;
use crate::training::micro_batch::MicroBatch;
use crate::training::micro_batch::Outcome;
use group::ProcessGroup;

pub use tunebook_mpi::Hosts;

pub(crate) use answers::Answering;
pub(crate) use losses::BatchLoss;

pub use error::Loss;
pub use error::LossReason;
pub use error::WorkersError;
pub use options::OnWorkerLoss;
pub use options::WorkersOptions;
pub use serve::serve;

/// So many losses in a row, without anything done in between, are no accident.
const LOSSES: usize = 3;

/// A session's workers. They belong to whoever has locked them, as long as they compute for him.
#[derive(Clone)]
pub(crate) struct SharedWorkers {
    workers: Arc<Mutex<Workers>>,
    /// What there was to say of them last.
    report: Arc<Mutex<WorkersReport>>,
}

impl SharedWorkers {
    pub(crate) fn new(workers: Workers) -> Self {
        let report = Arc::clone(&workers.report);
        Self { workers: Arc::new(Mutex::new(workers)), report }
    }

    pub(crate) fn report(&self) -> WorkersReport {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The workers, unless somebody else uses them, or they were lost.
    pub(crate) fn free(&self) -> Option<MutexGuard<'_, Workers>> {
        self.workers.try_lock().ok().filter(|workers| workers.ranks > 0)
    }
}

/// See [`crate::workers`].
pub(crate) struct Workers {
    options: WorkersOptions,
    /// None where they are to be started when they are needed.
    group: Option<ProcessGroup>,
    /// How many are left of those that were asked for; 0 where they are not to be used any more.
    ranks: usize,
    losses_in_a_row: usize,
    /// The host of the worker that was lost last.
    suspect: Option<String>,
    report: Arc<Mutex<WorkersReport>>,
}

impl Workers {
    /// Starts workers, and has them load the model if there is one.
    ///
    /// # Errors
    /// They cannot be started, or cannot load it; a stop.
    pub(crate) fn start(
        options: WorkersOptions,
        model: Option<&Model>,
        settings: &Settings,
        cx: &Context,
    ) -> Result<Self> {
        let ranks = options.workers;
        let mut group = ProcessGroup::start(&options, ranks, cx)?;
        if let Some(model) = model {
            group.load(model, settings, cx)?;
        }
        let library = group.library.clone();
        let report = WorkersReport { asked: ranks, workers: Vec::new(), library, times: None };
        let report = Arc::new(Mutex::new(report));
        let workers = Self { options, group: Some(group), ranks, losses_in_a_row: 0, suspect: None, report };
        workers.tell();
        Ok(workers)
    }

    /// Says who works, and what the last step took.
    fn tell(&self) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.workers = self.group.as_ref().map(ProcessGroup::reports).unwrap_or_default();
        report.times = self.group.as_ref().and_then(|group| group.times).or(report.times);
    }

    /// Adds the gradients of micro-batches to `gradients`, as [`Learner::forward_backward`] does.
    ///
    /// # Errors
    /// As there; workers were lost and none is left, or the others are not to go on.
    pub(crate) fn gradients<'s>(
        &mut self,
        learner: Learner,
        micro_batches: &[MicroBatch<'s>],
        gradients: &mut Gradients,
        on_progress: &dyn Fn(f64) -> tunebook_nn::Result<()>,
        cx: &Context,
    ) -> Result<Outcome<'s>> {
        let Learner { model, settings, .. } = learner;
        self.with_group(model, settings, cx, &mut |group| {
            step::step(group, learner, micro_batches, gradients, on_progress, cx)
        })
    }

    /// Tells `hear` the loss of each batch, in their order. A stop leaves the losses so far.
    ///
    /// # Errors
    /// As [`Workers::gradients`]; those of `hear`.
    pub(crate) fn losses(
        &mut self,
        batches: &[Vec<&Encoded>],
        run: RunContext,
        hear: &mut dyn FnMut(usize, BatchLoss) -> Result<()>,
        cx: &Context,
    ) -> Result<()> {
        // Those that were heard are not computed again when a worker is lost.
        let mut heard = 0;
        self.with_group(run.model, run.settings, cx, &mut |group| {
            let first = heard;
            let mut hear = |at, loss| {
                heard = at + 1;
                hear(at, loss)
            };
            losses::losses(group, first, batches, run, &mut hear, cx)
        })
    }

    /// Answers questions; see [`Answering`].
    ///
    /// # Errors
    /// As [`Workers::gradients`]; those of `answering`.
    pub(crate) fn answers(
        &mut self,
        labels: &[&[u32]],
        run: RunContext,
        answering: &mut dyn Answering,
        cx: &Context,
    ) -> Result<()> {
        let mut open = Vec::new();
        self.with_group(run.model, run.settings, cx, &mut |group| {
            // Questions that were open when a worker was lost.
            let again = std::mem::take(&mut open);
            answers::answers(group, again, (run, labels), answering, &mut open, cx)
        })
    }

    /// Does something with all workers. If one is lost, the others are started anew and it is done again.
    fn with_group<T>(
        &mut self,
        model: &Model,
        settings: &Settings,
        cx: &Context,
        job: &mut dyn FnMut(&mut ProcessGroup) -> Result<T>,
    ) -> Result<T> {
        loop {
            match self.ready(model, settings, cx).and_then(&mut *job) {
                Err(Error::Workers(error)) if matches!(*error, WorkersError::Lost(_)) => self.lose(*error, cx)?,
                Ok(done) => {
                    self.losses_in_a_row = 0;
                    self.tell();
                    return Ok(done);
                }
                Err(Error::Workers(error)) if self.is_without_host(&error) => {}
                // They have replied, and wait.
                Err(error @ (Error::Cancelled | Error::BadSample(_))) => return Err(error),
                Err(error) => {
                    self.end();
                    return Err(error);
                }
            }
        }
    }

    /// The workers, started if need be, with the model.
    fn ready(&mut self, model: &Model, settings: &Settings, cx: &Context) -> Result<&mut ProcessGroup> {
        let group = match self.group.take() {
            Some(group) => group,
            None => ProcessGroup::start(&self.options, self.ranks, cx)?,
        };
        let group = self.group.insert(group);
        group.load(model, settings, cx)?;
        group.begin();
        Ok(group)
    }

    /// Goes on without a worker that was lost, or does not.
    fn lose(&mut self, error: WorkersError, cx: &Context) -> Result<()> {
        let WorkersError::Lost(loss) = error else { return Err(error.into()) };
        let address = loss.worker.as_ref().and_then(|(rank, _)| self.group.as_ref()?.address(*rank));
        self.end();
        self.losses_in_a_row += 1;
        if self.options.on_loss == OnWorkerLoss::Stop {
            self.ranks = 0;
            return Err(WorkersError::Lost(loss).into());
        }
        if loss.worker.is_some() {
            self.ranks -= 1;
            if let (Some(hosts), Some(address)) = (&self.options.hosts, address) {
                let is_there =
                    |name: &str| (name, 0).to_socket_addrs().is_ok_and(|mut all| all.any(|at| at.ip() == address));
                self.suspect = hosts.iter().find(|host| is_there(&host.name)).map(|host| host.name.clone());
                let others = self.suspect.as_ref().and_then(|name| hosts.without_one(name));
                self.options.hosts = others.or_else(|| Some(hosts.clone()));
            }
        }
        if self.ranks == 0 || self.losses_in_a_row >= LOSSES {
            self.ranks = 0;
            return Err(WorkersError::LostAgain { times: self.losses_in_a_row, last: loss }.into());
        }
        cx.emit(Event::Note(Note::WorkerLost { loss, left: self.ranks }));
        Ok(())
    }

    /// Whether workers could not be started again, and there are others without the host of the one that was lost: it may be
    /// down altogether.
    fn is_without_host(&mut self, error: &WorkersError) -> bool {
        let cannot_start = matches!(error, WorkersError::LauncherEnded { .. } | WorkersError::NotAllJoined { .. });
        let (Some(mut hosts), Some(name), true) = (self.options.hosts.clone(), self.suspect.take(), cannot_start)
        else {
            return false;
        };
        while hosts.iter().any(|host| host.name == name) {
            let Some(others) = hosts.without_one(&name) else { return false };
            hosts = others;
        }
        self.ranks = self.ranks.min(hosts.slots());
        self.options.hosts = Some(hosts);
        true
    }

    fn end(&mut self) {
        if let Some(mut group) = self.group.take() {
            group.end(false);
        }
        self.tell();
    }
}

/// The name of this host.
#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "localhost".to_string())
}
