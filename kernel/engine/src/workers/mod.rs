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
#[cfg(feature = "cuda")]
mod device_sum;
mod error;
mod group;
mod invitation;
mod options;
mod serve;
mod settings_map;
mod share;
mod wire;

use std::collections::VecDeque;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use tunebook_data::Encoded;
use tunebook_data::ImageProcessor;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;

use crate::bad_sample::of_sample;
use crate::conversation::RunContext;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Note;
use crate::model::Model;
use crate::report::AnswerEnd;
use crate::report::StepTimes;
use crate::report::WorkersReport;
use crate::settings::Settings;
use crate::step_metrics::StepMetrics;
use crate::training::micro_batch::Computed;
use crate::training::micro_batch::Learner;
use crate::training::micro_batch::MicroBatch;
use crate::training::micro_batch::Outcome;
use group::ProcessGroup;
use share::share;
use wire::LossOutcome;
use wire::Pixels;
use wire::Reply;
use wire::Request;
use wire::ShareOutcome;
use wire::WireMicroBatch;

pub use tunebook_mpi::Hosts;

pub use error::Loss;
pub use error::LossReason;
pub use error::WorkersError;
pub use options::OnWorkerLoss;
pub use options::WorkersOptions;
pub use serve::serve;

/// So many losses in a row, without anything done in between, are no accident.
const LOSSES: usize = 3;
/// Batches that a worker has at a time: the next one is there when one is done.
const BATCHES: usize = 2;
/// Questions that a worker has at a time, where no number of answers at once is set.
const QUESTIONS: usize = 32;

/// A session's workers. They belong to whoever has locked them: a training from its beginning to its end.
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
        workers.tell(None);
        Ok(workers)
    }

    /// Says who works, and what times the last step took.
    fn tell(&self, times: Option<StepTimes>) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.workers = self.group.as_ref().map(ProcessGroup::reports).unwrap_or_default();
        report.times = times.or(report.times);
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
        let (outcome, times) = self.with_group(model, settings, cx, &mut |group| {
            step(group, learner, micro_batches, gradients, on_progress, cx)
        })?;
        self.tell(times);
        Ok(outcome)
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
            losses(group, first, batches, run, &mut hear, cx)
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
            answers(group, again, (run, labels), answering, &mut open, cx)
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
        if self.group.is_none() {
            self.group = Some(ProcessGroup::start(&self.options, self.ranks, cx)?);
            self.tell(None);
        }
        let Some(group) = &mut self.group else { return Err(WorkersError::Busy.into()) };
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
            (hosts, self.ranks) = (others, self.ranks - 1);
        }
        self.options.hosts = Some(hosts);
        self.ranks > 0
    }

    fn end(&mut self) {
        if let Some(mut group) = self.group.take() {
            group.end(false);
        }
        self.tell(None);
    }
}

/// The loss of a batch.
pub(crate) enum BatchLoss {
    Loss(f64),
    /// A sample of it cannot be used.
    BadSample,
}

/// Who asks questions and hears the answers.
pub(crate) trait Answering {
    /// The next question: its number and the sample; none when there are no more.
    fn next(&mut self) -> Option<(usize, Encoded)>;

    /// Hears an answer; none where the sample cannot be used.
    ///
    /// # Errors
    /// It cannot be dealt with, which ends all.
    fn hear(&mut self, index: usize, answer: Option<(Vec<u32>, AnswerEnd)>) -> Result<()>;
}

/// The gradients of the micro-batches of a step. What times it took, if all were computed.
fn step<'s>(
    group: &mut ProcessGroup,
    learner: Learner,
    micro_batches: &[MicroBatch<'s>],
    gradients: &mut Gradients,
    on_progress: &dyn Fn(f64) -> tunebook_nn::Result<()>,
    cx: &Context,
) -> Result<(Outcome<'s>, Option<StepTimes>)> {
    let Learner { model, adapter, processor, settings } = learner;
    let start = Instant::now();
    group.take_over(Some(adapter), model, cx)?;
    let parameters = start.elapsed();
    let costs = Costs::new(group, learner, micro_batches);
    let speed = |worker: usize| if settings.full_determinism { 1.0 } else { group.speed(worker) };
    let shares = share(micro_batches.len(), group.len(), &|worker, place| costs.of(worker, place) / speed(worker));
    let of_share = |(worker, places): (usize, &Vec<usize>)| places.iter().map(|&place| costs.of(worker, place)).sum();
    let costs: Vec<f64> = shares.iter().enumerate().map(of_share).collect();
    for (rank, places) in shares.iter().enumerate() {
        let of_place = |&place: &usize| {
            let MicroBatch { number, samples } = &micro_batches[place];
            let samples = samples.iter().map(|sample| group.wire_sample(rank, sample)).collect();
            WireMicroBatch { number: *number, samples }
        };
        let micro_batches = places.iter().map(of_place).collect();
        let settings = settings_map::write(settings);
        group.send(rank, &Request::Gradients { settings, pixels: pixels(processor), micro_batches }, &[])?;
    }
    let replies = group.replies(&mut |fraction| Ok(on_progress(fraction)?))?;
    let computed = start.elapsed() - parameters;
    let (mut all, mut tokens, mut seconds): (Option<StepMetrics>, _, _) = (None, 0, Vec::new());
    for (rank, (reply, _)) in replies.into_iter().enumerate() {
        let sample_at = |(at, sample): (usize, usize)| micro_batches[shares[rank][at]].samples[sample];
        match reply {
            Reply::Gradients(ShareOutcome::Computed { metrics, tokens: more, seconds: took }) => {
                all = match (all, metrics) {
                    (Some(sum), Some(metrics)) => Some(sum.plus(&metrics)),
                    (sum, metrics) => sum.or(metrics),
                };
                tokens += more;
                seconds.push(took);
            }
            Reply::Gradients(ShareOutcome::NotFinite(samples)) => {
                return Ok((Outcome::NotFinite(samples.into_iter().map(sample_at).collect()), None));
            }
            Reply::Gradients(ShareOutcome::BadSample(at, sample)) => {
                return Err(why_bad(sample_at((at, sample)), processor).unwrap_or_else(|| group.cannot_read(rank)));
            }
            // Another one has found something.
            Reply::Gradients(ShareOutcome::Cancelled) => {}
            other => return Err(group.unexpected(rank, other)),
        }
    }
    let Some(metrics) = all.filter(|_| seconds.len() == group.len()) else { return Err(Error::Cancelled) };
    group.took(seconds, &costs);
    let before = Instant::now();
    add_sum(group, adapter, settings.full_determinism, gradients)?;
    let times = StepTimes {
        parameters: parameters.as_secs_f64(),
        computing: computed.as_secs_f64(),
        gradients: before.elapsed().as_secs_f64(),
        bytes: adapter.parameter_count() * size_of::<f32>(),
    };
    let micro_batches = micro_batches.len();
    Ok((Outcome::Computed(Computed { metrics, tokens, micro_batches }), Some(times)))
}

/// What micro-batches cost, in tokens.
struct Costs {
    /// For a worker that knows none of its pictures.
    full: Vec<f64>,
    /// How much less it is for workers that know some.
    less: Vec<Vec<(usize, f64)>>,
}

impl Costs {
    /// With `full_determinism`, they depend on nothing but the tokens, so that the same number of workers gives the same
    /// bits.
    fn new(group: &ProcessGroup, learner: Learner, micro_batches: &[MicroBatch]) -> Self {
        let Learner { model, adapter, processor, settings } = learner;
        // A token of a picture goes through the vision tower as four patches, and forward only.
        let vision = 2.0 * model.net.vision_size() as f64 / model.net.text.size().max(1) as f64;
        let vision = if settings.full_determinism { 0.0 } else { vision };
        let is_kept = !adapter.changes_pictures();
        let mut costs = Self { full: Vec::new(), less: Vec::new() };
        for batch in micro_batches {
            let tokens: usize = batch.samples.iter().map(|sample| sample.input_ids.len()).sum();
            let (mut full, mut less) = (tokens as f64, Vec::<(usize, f64)>::new());
            for image in batch.samples.iter().flat_map(|sample| &sample.images) {
                let cost = vision * processor.tokens(image.grid) as f64;
                full += cost;
                for &worker in group.who_know(&image.path).iter().filter(|_| is_kept) {
                    match less.iter_mut().find(|(known, _)| *known == worker) {
                        Some((_, sum)) => *sum += cost,
                        None => less.push((worker, cost)),
                    }
                }
            }
            costs.full.push(full);
            costs.less.push(less);
        }
        costs
    }

    fn of(&self, worker: usize, place: usize) -> f64 {
        let less = self.less[place].iter().find(|(known, _)| *known == worker);
        self.full[place] - less.map_or(0.0, |(_, less)| *less)
    }
}

/// Adds the sum of all workers' gradients.
fn add_sum(group: &mut ProcessGroup, adapter: &Adapter, in_order: bool, gradients: &mut Gradients) -> Result<()> {
    for rank in (0..group.len()).rev() {
        group.send(rank, &Request::Sum { in_order }, &[])?;
    }
    // The workers are within MPI, where nothing stops them.
    let mut replies = group.replies(&mut |_| Ok(()))?.into_iter();
    let Some((Reply::Sum { parts }, mut values)) = replies.next() else { return Err(Error::Cancelled) };
    for ((_, parameter), is_there) in adapter.vars().iter().zip(parts) {
        let rest = values.split_off(parameter.elem_count().min(values.len()));
        let mut sum = std::mem::replace(&mut values, rest);
        if !is_there {
            continue;
        }
        if let Some(before) = gradients.get(parameter) {
            let before = before.flatten_all()?.to_vec1::<f32>()?;
            sum.iter_mut().zip(before).for_each(|(sum, before)| *sum += before);
        }
        gradients.put(parameter, sum)?;
    }
    Ok(())
}

fn losses(
    group: &mut ProcessGroup,
    first: usize,
    batches: &[Vec<&Encoded>],
    run: RunContext,
    hear: &mut dyn FnMut(usize, BatchLoss) -> Result<()>,
    cx: &Context,
) -> Result<()> {
    group.take_over(run.adapter, run.model, cx)?;
    let mut waiting: VecDeque<usize> = (first..batches.len()).collect();
    // The batches that each worker has.
    let mut given = vec![VecDeque::new(); group.len()];
    let mut done: Vec<Option<BatchLoss>> = (first..batches.len()).map(|_| None).collect();
    let (mut next, mut cancelled) = (first, false);
    loop {
        for (rank, given) in given.iter_mut().enumerate() {
            while given.len() < BATCHES
                && !cancelled
                && let Some(at) = waiting.pop_front()
            {
                let samples = batches[at].iter().map(|sample| group.wire_sample(rank, sample)).collect();
                group.send(rank, &Request::Loss { pixels: pixels(run.processor), samples }, &[])?;
                given.push_back(at);
            }
        }
        if given.iter().all(VecDeque::is_empty) {
            return if cancelled { Err(Error::Cancelled) } else { Ok(()) };
        }
        if let Some((rank, reply, _)) = group.receive()? {
            let Some(at) = given[rank].pop_front() else { return Err(group.unexpected(rank, reply)) };
            done[at - first] = match reply {
                Reply::Loss(LossOutcome::Loss(loss)) => Some(BatchLoss::Loss(loss)),
                Reply::Loss(LossOutcome::BadSample) => Some(BatchLoss::BadSample),
                Reply::Loss(LossOutcome::Cancelled) => None,
                other => return Err(group.unexpected(rank, other)),
            };
        }
        while let Some(loss) = done.get_mut(next - first).and_then(Option::take) {
            hear(next, loss)?;
            next += 1;
        }
        if cx.is_cancelled() && !cancelled {
            cancelled = true;
            group.cancel()?;
        }
    }
}

/// `again` are questions to ask first. Those that are still open, if a worker is lost, are put into `open`.
fn answers(
    group: &mut ProcessGroup,
    again: Vec<(usize, Encoded)>,
    run: (RunContext, &[&[u32]]),
    answering: &mut dyn Answering,
    open: &mut Vec<(usize, Encoded)>,
    cx: &Context,
) -> Result<()> {
    let mut again = VecDeque::from(again);
    let mut given: Vec<Vec<(usize, Encoded)>> = vec![Vec::new(); group.len()];
    let done = ask(group, &mut again, &mut given, run, answering, cx);
    open.extend(again);
    open.extend(given.into_iter().flatten());
    open.sort_by_key(|(index, _)| *index);
    done
}

fn ask(
    group: &mut ProcessGroup,
    again: &mut VecDeque<(usize, Encoded)>,
    given: &mut [Vec<(usize, Encoded)>],
    (run, labels): (RunContext, &[&[u32]]),
    answering: &mut dyn Answering,
    cx: &Context,
) -> Result<()> {
    group.take_over(run.adapter, run.model, cx)?;
    let values: Vec<f32> = labels.iter().flat_map(|label| label.iter().map(|&token| f32::from_bits(token))).collect();
    let lengths: Vec<usize> = labels.iter().map(|label| label.len()).collect();
    for rank in 0..group.len() {
        let (settings, labels) = (settings_map::write(run.settings), lengths.clone());
        group.send(rank, &Request::Answer { settings, pixels: pixels(run.processor), labels }, &values)?;
    }
    let most = run.settings.per_device_eval_batch_size.unwrap_or(QUESTIONS);
    let (mut left, mut cancelled) = (group.len(), false);
    let (mut is_over, mut is_told) = (false, false);
    while left > 0 {
        // One after the other, so that all have the same number.
        while !is_over && !cancelled {
            let least = (0..given.len()).min_by_key(|&rank| given[rank].len()).unwrap_or(0);
            if given[least].len() >= most {
                break;
            }
            let Some((index, sample)) = again.pop_front().or_else(|| answering.next()) else {
                is_over = true;
                break;
            };
            let wire = group.wire_sample(least, &sample);
            given[least].push((index, sample));
            group.send(least, &Request::Question { index, sample: wire }, &[])?;
        }
        if (is_over || cancelled) && !is_told {
            (0..group.len()).try_for_each(|rank| group.send(rank, &Request::EndOfQuestions, &[]))?;
            is_told = true;
        }
        match group.receive()? {
            None => {}
            Some((rank, Reply::Answered { index, answer }, _)) => {
                given[rank].retain(|(given, _)| *given != index);
                answering.hear(index, answer.map(|answer| (answer.tokens, answer.end)))?;
            }
            Some((_, Reply::EndOfAnswers, _)) => left -= 1,
            Some((rank, other, _)) => return Err(group.unexpected(rank, other)),
        }
        if cx.is_cancelled() && !cancelled {
            cancelled = true;
            group.cancel()?;
        }
    }
    if cancelled { Err(Error::Cancelled) } else { Ok(()) }
}

/// Why a worker could not use a sample, as this process finds out; none if it can be used here.
fn why_bad(sample: &Encoded, processor: &ImageProcessor) -> Option<Error> {
    let failed = sample.images.iter().find_map(|image| processor.load(image).err())?;
    Some(of_sample(sample, failed.into()))
}

fn pixels(processor: &ImageProcessor) -> Pixels {
    Pixels { most: processor.image_max_pixels, least: processor.image_min_pixels }
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
