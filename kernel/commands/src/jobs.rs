//! The training of a host as a job, as in a shell: who hears it, how it is stopped, and how the last one ended.
//!
//! There is one at a time. Whoever comes late hears first what has been told so far, so a display that begins in the
//! middle shows the whole curve.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::unbounded;
use serde::Serialize;
use tunebook_engine::Cancel;
use tunebook_engine::Event;
use tunebook_engine::report::StepRecord;
use tunebook_engine::report::TrainEnd;
use tunebook_engine::report::TrainReport;
use tunebook_engine::serialize;
use tunebook_engine::training::job::TrainJob;

use crate::error::Error;
use crate::host::Message;
use crate::lang::Lang;
use crate::lang::Localize;
use crate::output::Output;

/// The jobs of a host.
#[derive(Default)]
pub struct Jobs(Mutex<State>);

#[derive(Default)]
struct State {
    /// Begun in the background, and still to be run.
    started: Option<TrainJob>,
    running: Option<Job>,
    /// The one before, and how it ended.
    last: Option<(Job, Ended)>,
}

/// A training that runs, or has run.
struct Job {
    adapter: String,
    /// A request goes on until it ends.
    is_foreground: bool,
    since: Instant,
    cancel: Cancel,
    listeners: Vec<Listener>,
    told: Told,
    /// Steps that have been made when it begins, the step after which it ends, and those of the whole training.
    steps: (usize, usize, usize),
}

struct Listener {
    messages: Sender<Message>,
    /// It is the request that waits for the job, and an interrupt of it means the job.
    waits: bool,
}

/// How a job ended.
#[derive(Clone)]
struct Ended {
    result: std::result::Result<TrainReport, Arc<Error>>,
    took: Duration,
    /// Whether somebody who waited has heard it.
    is_heard: bool,
}

/// What a job has told that a late listener has to hear.
#[derive(Default)]
struct Told {
    /// The memory that it takes.
    plan: Option<Event>,
    /// The training so far, where it goes on.
    earlier: Option<Event>,
    first: Option<Event>,
    /// Steps, evaluations, probes.
    records: Vec<Event>,
    now: Option<Event>,
}

/// What `jobs` shows.
#[derive(Clone, Debug, Serialize)]
pub struct JobReport {
    pub adapter: String,
    pub state: JobState,
    /// Steps made, the step after which it ends, and those of the whole training.
    pub step: usize,
    pub last_step: usize,
    pub total_steps: usize,
    /// Of the last step.
    pub loss: Option<f64>,
    #[serde(serialize_with = "serialize::seconds")]
    pub elapsed: Duration,
}

/// Where the training that runs stands, or where the last one has ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    pub running: bool,
    /// It has not come to its own end: it was stopped, or has failed.
    pub stopped: bool,
    /// Optimizer steps made.
    pub step: usize,
    /// The step behind which counts what is changed now: the one that is being made, if one is.
    pub counts_from: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum JobState {
    Running,
    /// Running, and asked to stop.
    Stopping,
    /// It came to the end of its steps, of its training, or was stopped early by its evaluations.
    Done,
    Stopped,
    Failed(String),
}

impl Jobs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job that begins in the background, once the request that begins it is done.
    pub(crate) fn start(&self, job: TrainJob, plan: Option<Event>) {
        let mut state = self.state();
        state.running = Some(Job::new(&job, Cancel::default(), false, plan));
        state.started = Some(job);
    }

    /// The job that is to be run now.
    pub(crate) fn take_started(&self) -> Option<(TrainJob, Cancel)> {
        let mut state = self.state();
        let cancel = state.running.as_ref()?.cancel.clone();
        state.started.take().map(|job| (job, cancel))
    }

    /// A job that begins in a request which goes on until it ends, and that `cancel` stops.
    pub(crate) fn begin(&self, job: &TrainJob, cancel: &Cancel) {
        self.state().running = Some(Job::new(job, cancel.clone(), true, None));
    }

    /// Whether one runs, or is about to.
    pub fn is_running(&self) -> bool {
        self.state().running.is_some()
    }

    /// Whether one runs, or has ended and nobody who waited has heard how.
    pub fn has_news(&self) -> bool {
        let state = self.state();
        state.running.is_some() || state.last.as_ref().is_some_and(|(_, ended)| !ended.is_heard)
    }

    /// Whether a request waits for it.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.state().running.as_ref().is_some_and(Job::is_waited_for)
    }

    /// Stops the one that runs at its next safe point; whether there is one.
    pub(crate) fn stop(&self) -> bool {
        let state = self.state();
        state.running.iter().for_each(|job| job.cancel.cancel());
        state.running.is_some()
    }

    /// What the running job, or else the last one, has told so far, and what it is going to tell; the last message is
    /// `Done`. None where there was no job yet.
    pub(crate) fn watch(&self) -> Option<Receiver<Message>> {
        let mut state = self.state();
        let (sender, receiver) = unbounded();
        let send = |message| drop(sender.send(message));
        if let Some(job) = &mut state.running {
            job.told.plan_and_events().map(Message::Event).for_each(send);
            job.listeners.push(Listener { messages: sender, waits: false });
            return Some(receiver);
        }
        let (job, ended) = state.last.as_ref()?;
        job.told.plan_and_events().map(Message::Event).for_each(send);
        ended.messages().into_iter().for_each(send);
        Some(receiver)
    }

    /// Has `messages` hear the running job to its end, as the request that waits for it. Where none runs, they hear how
    /// the last one ended, if nobody has yet.
    pub(crate) fn wait(&self, messages: Sender<Message>) {
        let mut state = self.state();
        let send = |message| drop(messages.send(message));
        match &mut *state {
            State { running: Some(job), .. } => {
                job.told.events().map(Message::Event).for_each(send);
                job.listeners.push(Listener { messages, waits: true });
            }
            State { last: Some((_, ended)), .. } if !ended.is_heard => {
                ended.is_heard = true;
                ended.messages().into_iter().for_each(send);
            }
            _ => {
                send(Message::Output(Output::Job(None)));
                send(Message::Done(Ok(())));
            }
        }
    }

    /// Takes in what the running job tells, and passes it on.
    pub(crate) fn tell(&self, event: &Event) {
        if let Some(job) = &mut self.state().running {
            job.told.hear(event);
            job.listeners.iter().for_each(|listener| listener.hear(Message::Event(event.clone())));
        }
    }

    /// Passes on what the running job shows.
    pub(crate) fn show(&self, output: &Output) {
        if let Some(job) = &self.state().running {
            job.listeners.iter().for_each(|listener| listener.hear(Message::Output(output.clone())));
        }
    }

    /// The running job is over.
    pub(crate) fn end(&self, result: std::result::Result<TrainReport, Arc<Error>>) {
        let mut state = self.state();
        let Some(mut job) = state.running.take() else { return };
        let ended = Ended { result, took: job.since.elapsed(), is_heard: job.is_waited_for() };
        for listener in std::mem::take(&mut job.listeners) {
            ended.messages().into_iter().for_each(|message| listener.hear(message));
        }
        state.last = Some((job, ended));
    }

    /// The running job, or else the last one.
    pub fn report(&self, lang: Lang) -> Option<JobReport> {
        let state = self.state();
        match (&state.running, &state.last) {
            (Some(job), _) => Some(job.report(None, lang)),
            (None, Some((job, ended))) => Some(job.report(Some(ended), lang)),
            (None, None) => None,
        }
    }

    /// Where the running job stands, or where the last one has ended.
    pub fn standing(&self) -> Option<Standing> {
        let state = self.state();
        let (job, ended) = match (&state.running, &state.last) {
            (Some(job), _) => (job, None),
            (None, Some((job, ended))) => (job, Some(ended)),
            (None, None) => return None,
        };
        let step = job.step();
        let begun = match job.told.now {
            Some(Event::MicroBatch { step, .. }) if ended.is_none() => step,
            _ => step,
        };
        Some(Standing {
            running: ended.is_none(),
            stopped: ended
                .is_some_and(|ended| ended.result.as_ref().map_or(true, |report| report.end == TrainEnd::Interrupted)),
            step,
            counts_from: step.max(begun),
        })
    }
}

impl Listener {
    /// One that is gone hears nothing, and nothing is lost by it.
    fn hear(&self, message: Message) {
        let _ = self.messages.send(message);
    }
}

impl Job {
    fn new(job: &TrainJob, cancel: Cancel, is_foreground: bool, plan: Option<Event>) -> Self {
        Self {
            adapter: job.adapter_name().to_string(),
            is_foreground,
            since: Instant::now(),
            cancel,
            listeners: Vec::new(),
            told: Told { plan, ..Told::default() },
            steps: (job.history().len(), job.last_step(), job.total_steps()),
        }
    }

    fn is_waited_for(&self) -> bool {
        self.is_foreground || self.listeners.iter().any(|listener| listener.waits)
    }

    /// The last step that it has made itself.
    fn record(&self) -> Option<&StepRecord> {
        self.told.records.iter().rev().find_map(|event| match event {
            Event::Step(record) => Some(record),
            _ => None,
        })
    }

    /// Optimizer steps made.
    fn step(&self) -> usize {
        self.record().map_or(self.steps.0, |record| record.step)
    }

    fn report(&self, ended: Option<&Ended>, lang: Lang) -> JobReport {
        let steps = |event: &Event| match *event {
            Event::MicroBatch { last_step, total_steps, .. } => Some((last_step, total_steps)),
            _ => None,
        };
        let planned = (self.steps.1, self.steps.2);
        let (last_step, total_steps) = self.told.now.as_ref().and_then(steps).unwrap_or(planned);
        JobReport {
            adapter: self.adapter.clone(),
            state: match ended {
                None if self.cancel.is_cancelled() => JobState::Stopping,
                None => JobState::Running,
                Some(ended) => ended.state(lang),
            },
            step: self.step(),
            last_step,
            total_steps,
            loss: self.record().map(StepRecord::loss),
            elapsed: ended.map_or_else(|| self.since.elapsed(), |ended| ended.took),
        }
    }
}

impl Ended {
    fn messages(&self) -> Vec<Message> {
        match &self.result {
            Ok(report) => vec![Message::Output(Output::Trained(report.clone())), Message::Done(Ok(()))],
            Err(error) => vec![Message::Done(Err(Error::OfJob(Arc::clone(error))))],
        }
    }

    fn state(&self, lang: Lang) -> JobState {
        match &self.result {
            Ok(TrainReport { end: TrainEnd::Interrupted, .. }) => JobState::Stopped,
            Ok(_) => JobState::Done,
            Err(error) => JobState::Failed(error.localize(lang)),
        }
    }
}

impl Told {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::MemoryEstimate(_) => self.plan = Some(event.clone()),
            Event::Earlier { .. } => self.earlier = Some(event.clone()),
            Event::MicroBatch { .. } => {
                self.first.get_or_insert_with(|| event.clone());
                self.now = Some(event.clone());
            }
            Event::Step(_) | Event::Evaluated(_) | Event::Probed(_) => self.records.push(event.clone()),
            _ => {}
        }
    }

    fn plan_and_events(&self) -> impl Iterator<Item = Event> {
        self.plan.iter().cloned().chain(self.events())
    }

    fn events(&self) -> impl Iterator<Item = Event> {
        self.earlier.iter().chain(&self.first).chain(&self.records).chain(&self.now).cloned()
    }
}
