//! A worker: it holds the model, and computes what its session asks of it.
//!
//! It has no training of its own. The values of what trains come before each step, the samples with it, and gradients go
//! back, so that a session can undo, branch and change settings without a worker knowing, and loses nothing with it.
//! Between two requests a worker waits at its socket and never within MPI, where waiting takes a core.
//!
//! It ends with its session: when the connection closes, it does too.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::Sender;
use std::sync::mpsc::TryRecvError;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use candle_core::Tensor;
use tunebook_data::Encoded;
use tunebook_data::ImageProcessor;
use tunebook_mpi::Mpi;
use tunebook_nn::adapter::Adapter;
use tunebook_nn::gradients::Gradients;

use super::adapter_files;
use super::error::WorkersError;
use super::host;
use super::invitation::Invitation;
use super::settings_map;
use super::wire;
use super::wire::Hello;
use super::wire::LoadModel;
use super::wire::LossOutcome;
use super::wire::Pixels;
use super::wire::Reply;
use super::wire::Request;
use super::wire::SettingsMap;
use super::wire::ShareOutcome;
use super::wire::WireAnswer;
use super::wire::WireMicroBatch;
use super::wire::WireSample;
use crate::conversation::RunContext;
use crate::device;
use crate::drafts::NGrams;
use crate::error::Error;
use crate::error::Result;
use crate::event::Cancel;
use crate::event::Context;
use crate::generate::Answer;
use crate::generate::Choice;
use crate::generate::Generated;
use crate::generate::Generator;
use crate::generate::Requests;
use crate::hub;
use crate::lang::Lang;
use crate::memory;
use crate::memory::Trainable;
use crate::model::Model;
use crate::pictures::Features;
use crate::predict::prompt;
use crate::prefix::Prefix;
use crate::report::AnswerEnd;
use crate::step_metrics::StepMetrics;
use crate::training::collate::Collator;
use crate::training::micro_batch::Computed;
use crate::training::micro_batch::Learner;
use crate::training::micro_batch::MicroBatch;
use crate::training::micro_batch::Outcome;
use crate::training::objective::CrossEntropy;
use crate::training::step::evaluate_batch;

/// How often a worker shows that it lives, and how far it is.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
const PROGRESS: Duration = Duration::from_millis(100);
/// How long a worker may take to leave what it computes when its session is gone.
const GRACE: Duration = Duration::from_secs(2);

/// Works for the session that started this process, to its end. `describe` puts into words what cannot be done, in the
/// session's language.
///
/// # Errors
/// No session has started it; the session cannot be reached.
pub fn serve(describe: &dyn Fn(&Error, Lang) -> String) -> Result<()> {
    let invitation = Invitation::from_environment().ok_or(WorkersError::ByHand)?;
    let lang = if invitation.chinese { Lang::Zh } else { Lang::En };
    let describe = |error: &Error| describe(error, lang);
    let stream = invitation.dial()?;
    let from = stream.try_clone().map_err(WorkersError::Listen)?;
    let session = Arc::new(Connection { stream: Mutex::new(stream) });
    let hello = Hello {
        token: invitation.token.clone(),
        protocol: wire::PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_string(),
        host: host(),
        process: std::process::id(),
        cores: thread::available_parallelism().map_or(1, usize::from),
    };
    session.send(&Reply::Hello(hello), &[])?;
    let mpi = match Mpi::open(invitation.beside.as_deref(), invitation.ranks) {
        Ok(mpi) => mpi,
        Err(error) => {
            let problem = describe(&WorkersError::from(error).into());
            return session.send(&Reply::Failed { problem }, &[]);
        }
    };
    let (sender, requests) = channel();
    let (cancel, progress) = (Cancel::default(), Arc::new(AtomicU32::new(0)));
    listen(from, sender, cancel.clone());
    show_life(Arc::clone(&session), Arc::clone(&progress));
    session.send(&Reply::Joined { rank: mpi.rank(), library: name_of(mpi.version()) }, &[])?;
    let inbox = Inbox { requests, waiting: VecDeque::new() };
    let worker = Worker {
        session,
        inbox,
        cancel,
        progress,
        mpi,
        model: None,
        features: Features::default(),
        adapter: None,
        gradients: Gradients::default(),
        tokens_at_once: None,
        memory_share: 1,
        #[cfg(feature = "cuda")]
        device_sum: None,
        files: HashMap::new(),
        folder: None,
    };
    worker.serve(&describe)
}

/// `Open MPI v4.1.4`, without what follows of how it was built.
fn name_of(version: &str) -> String {
    let name = version.split(',').next().unwrap_or_default();
    name.replace("Version:", "").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where replies go.
struct Connection {
    stream: Mutex<TcpStream>,
}

impl Connection {
    /// # Errors
    /// The session is gone.
    fn send(&self, reply: &Reply, values: &[f32]) -> Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        wire::write(&mut *stream, reply, values).map_err(|_| Error::Cancelled)
    }
}

/// Hears what the session says, beside what is computed: a cancellation counts at once. When the session is gone, the
/// process ends.
fn listen(mut from: TcpStream, sender: Sender<(Request, Vec<f32>)>, cancel: Cancel) {
    thread::spawn(move || {
        while let Ok((request, values)) = wire::read(&mut from) {
            match request {
                Request::Cancel => cancel.cancel(),
                // The session asks for more only when it has all answers: an earlier cancellation is over.
                Request::Gradients { .. } | Request::Loss { .. } | Request::Answer { .. } => cancel.reset(),
                _ => {}
            }
            if sender.send((request, values)).is_err() {
                break;
            }
        }
        cancel.cancel();
        drop(sender);
        thread::sleep(GRACE);
        std::process::exit(1);
    });
}

/// Shows every now and then that this process lives, and more often how far it is.
fn show_life(session: Arc<Connection>, progress: Arc<AtomicU32>) {
    thread::spawn(move || {
        let (mut told, mut at) = (0, Instant::now());
        loop {
            thread::sleep(PROGRESS);
            let now = progress.load(Ordering::Relaxed);
            if now == told && at.elapsed() < SIGN_OF_LIFE {
                continue;
            }
            (told, at) = (now, Instant::now());
            if session.send(&Reply::Alive { progress: f32::from_bits(now) }, &[]).is_err() {
                return;
            }
        }
    });
}

/// What the session asks, in its order.
struct Inbox {
    requests: Receiver<(Request, Vec<f32>)>,
    /// What came while something else was waited for.
    waiting: VecDeque<(Request, Vec<f32>)>,
}

impl Inbox {
    /// The next request; none when the session is gone.
    fn next(&mut self) -> Option<(Request, Vec<f32>)> {
        self.waiting.pop_front().or_else(|| self.requests.recv().ok())
    }

    /// The next one, if it is here.
    fn try_next(&mut self) -> std::result::Result<(Request, Vec<f32>), TryRecvError> {
        self.waiting.pop_front().map_or_else(|| self.requests.try_recv(), Ok)
    }

    /// The file that was asked for; none if it cannot be had.
    fn file(&mut self) -> Option<(usize, Vec<f32>)> {
        loop {
            match self.requests.recv().ok()? {
                (Request::File { bytes }, values) => return bytes.map(|bytes| (bytes, values)),
                (Request::Cancel, _) => {}
                other => self.waiting.push_back(other),
            }
        }
    }
}

struct Worker {
    session: Arc<Connection>,
    inbox: Inbox,
    cancel: Cancel,
    /// The fraction of what is computed that is done, as bits of an f32.
    progress: Arc<AtomicU32>,
    mpi: Mpi,
    model: Option<Model>,
    features: Features,
    adapter: Option<Adapter>,
    /// Those of the last share.
    gradients: Gradients,
    /// See [`memory::tokens_at_once`].
    tokens_at_once: Option<usize>,
    /// Workers that share this host's memory.
    memory_share: usize,
    #[cfg(feature = "cuda")]
    device_sum: Option<super::device_sum::DeviceSum>,
    /// Where files lie that came from the session, by their path there and length.
    files: HashMap<(PathBuf, u64), PathBuf>,
    folder: Option<tempfile::TempDir>,
}

impl Worker {
    /// Answers one request after the other, until the session is gone.
    fn serve(mut self, describe: &dyn Fn(&Error) -> String) -> Result<()> {
        while let Some((request, values)) = self.inbox.next() {
            self.tell_progress(0.0);
            match self.answer(request, values) {
                Ok(Some((reply, values))) => self.session.send(&reply, &values)?,
                Ok(None) => {}
                Err(error) => self.session.send(&Reply::Failed { problem: describe(&error) }, &[])?,
            }
        }
        self.mpi.finalize().map_err(WorkersError::from)?;
        Ok(())
    }

    fn answer(&mut self, request: Request, values: Vec<f32>) -> Result<Option<(Reply, Vec<f32>)>> {
        let reply = match request {
            Request::Load(load) => self.load(*load)?,
            Request::NoAdapter => {
                self.adapter = None;
                Reply::Ready
            }
            Request::Adapter { bytes } => {
                let packed = self.broadcast(values, bytes.div_ceil(size_of::<f32>()))?;
                self.adapter = Some(adapter_files::unpack(wire::bytes_of(&packed, bytes), &self.model()?.net)?);
                self.tokens_at_once = None;
                Reply::Ready
            }
            Request::Parameters { values: count } => {
                let parameters = self.broadcast(values, count)?;
                self.take_over(&parameters)?;
                Reply::Ready
            }
            Request::Gradients { settings, pixels, micro_batches } => {
                Reply::Gradients(self.gradients(settings, pixels, micro_batches)?)
            }
            Request::Sum { in_order } => return self.sum(in_order).map(Some),
            Request::Loss { pixels, samples } => Reply::Loss(self.loss(pixels, samples)?),
            Request::Answer { settings, pixels, labels } => {
                self.answers(settings, pixels, labels, &values)?;
                Reply::EndOfAnswers
            }
            // Late, after a cancellation.
            Request::Question { .. } | Request::EndOfQuestions | Request::File { .. } | Request::Cancel => {
                return Ok(None);
            }
        };
        Ok(Some((reply, Vec::new())))
    }

    fn model(&self) -> Result<&Model> {
        self.model.as_ref().ok_or(Error::NoModel)
    }

    fn load(&mut self, load: LoadModel) -> Result<Reply> {
        let LoadModel { name, settings, threads, neighbours, place } = load;
        // A second model finds the pool as it is.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        memory::share_with(neighbours);
        self.memory_share = neighbours;
        device::prefer(place);
        let settings = settings_map::read(&settings)?;
        let cx = Context { emit: &|_| {}, cancel: &self.cancel };
        let folder = hub::model(&name, &settings, &cx)?;
        self.model = None;
        let mut model = Model::load(&folder, settings.dtype, device::open(settings.device)?)?;
        if let Some(bit) = settings.quantization_bit {
            model.quantize(bit, &cx)?;
        }
        model.upload(&cx)?;
        let fingerprint = model.fingerprint().to_string();
        (self.model, self.features, self.adapter) = (Some(model), Features::default(), None);
        self.tokens_at_once = None;
        Ok(Reply::Loaded { fingerprint })
    }

    /// The values that rank 0 has.
    fn broadcast(&self, values: Vec<f32>, count: usize) -> Result<Vec<f32>> {
        let mut values = if self.mpi.rank() == 0 { values } else { vec![0.0; count] };
        self.mpi.broadcast(&mut values).map_err(WorkersError::from)?;
        Ok(values)
    }

    /// Takes over the values of what trains, in the order of [`Adapter::vars`].
    fn take_over(&mut self, parameters: &[f32]) -> Result<()> {
        let adapter = self.adapter.as_ref().ok_or(Error::NoAdapter)?;
        let mut rest = parameters;
        for (_, parameter) in adapter.vars() {
            let (values, others) = rest.split_at(parameter.elem_count());
            rest = others;
            parameter.set(&Tensor::from_slice(values, parameter.shape(), parameter.device())?)?;
        }
        adapter.changed();
        Ok(())
    }

    /// The sum of the gradients of all workers, of which rank 0 tells.
    fn sum(&mut self, in_order: bool) -> Result<(Reply, Vec<f32>)> {
        let adapter = self.adapter.as_ref().ok_or(Error::NoAdapter)?;
        let gradients = std::mem::take(&mut self.gradients);
        let (parameters, count) = (adapter.vars(), adapter.parameter_count());
        let mut parts = Vec::with_capacity(parameters.len() + 1);
        for (_, parameter) in &parameters {
            let sum = gradients.get(parameter).cloned();
            parts.push(sum.map_or_else(|| parameter.zeros_like(), Ok)?.flatten_all()?);
        }
        // How many workers have a gradient of each parameter.
        let counts: Vec<f32> =
            parameters.iter().map(|(_, parameter)| f32::from(gradients.get(parameter).is_some())).collect();
        parts.push(Tensor::new(counts, &self.model()?.net.device)?);
        drop(gradients);
        let mut values = self.summed(&parts, in_order)?;
        let mut parts = Vec::new();
        if self.mpi.rank() == 0 {
            parts = values.split_off(count).into_iter().map(|count| count > 0.0).collect();
        }
        Ok((Reply::Sum { parts }, values))
    }

    /// The sums of all workers' values, at rank 0: the tensors' end to end.
    fn summed(&mut self, parts: &[Tensor], in_order: bool) -> Result<Vec<f32>> {
        #[cfg(feature = "cuda")]
        if !in_order && !self.model()?.net.device.is_cpu() {
            use super::device_sum;
            use super::device_sum::DeviceSum;
            let joined = match self.device_sum.take() {
                Some(joined) => joined,
                None => DeviceSum::join(&self.mpi)?,
            };
            if let DeviceSum::Nccl(nccl) = self.device_sum.insert(joined) {
                return device_sum::sum(nccl, parts, self.mpi.rank());
            }
        }
        let mut values = Vec::with_capacity(parts.iter().map(Tensor::elem_count).sum());
        for part in parts {
            values.extend(part.to_vec1::<f32>()?);
        }
        let summed = if in_order { self.mpi.sum_in_order(&mut values) } else { self.mpi.sum(&mut values) };
        summed.map_err(WorkersError::from)?;
        if self.mpi.rank() > 0 {
            values.clear();
        }
        Ok(values)
    }

    fn gradients(
        &mut self,
        settings: SettingsMap,
        pixels: Pixels,
        micro_batches: Vec<WireMicroBatch>,
    ) -> Result<ShareOutcome> {
        let start = Instant::now();
        self.gradients = Gradients::default();
        let mut settings = settings_map::read(&settings)?;
        // A limit is that of a host.
        settings.memory = settings.memory.map(|limit| limit / self.memory_share as f64);
        let processor = self.processor(pixels)?;
        let mut places = Vec::new();
        let mut encoded = Vec::with_capacity(micro_batches.len());
        for (at, WireMicroBatch { number, samples }) in micro_batches.into_iter().enumerate() {
            let first = places.len();
            places.extend((0..samples.len()).map(|sample| (at, sample)));
            encoded.push((number, self.encoded(samples, first)?));
        }
        let micro_batches: Vec<MicroBatch> = encoded
            .iter()
            .map(|(number, samples)| MicroBatch { number: *number, samples: samples.iter().collect() })
            .collect();
        let adapter = self.adapter.as_ref().ok_or(Error::NoAdapter)?;
        let model = self.model.as_ref().ok_or(Error::NoModel)?;
        let trainable = Trainable::of(adapter);
        let at_once = memory::tokens_at_once(&model.net, trainable, settings.memory, self.tokens_at_once);
        self.tokens_at_once = Some(at_once);
        let limit = if settings.has_noise(adapter) { 0 } else { at_once };
        let learner = Learner { model, adapter, processor: &processor, settings: &settings };
        let (mut all, mut tokens): (Option<StepMetrics>, _) = (None, 0);
        let mut rest = &micro_batches[..];
        while !rest.is_empty() {
            let (group, others) = rest.split_at(group(rest, limit));
            let done = micro_batches.len() - rest.len();
            rest = others;
            let on_progress = |fraction: f64| {
                let fraction = (done as f64 + fraction * group.len() as f64) / micro_batches.len() as f64;
                self.progress.store((fraction as f32).to_bits(), Ordering::Relaxed);
                if self.cancel.is_cancelled() { Err(tunebook_nn::Error::Cancelled) } else { Ok(()) }
            };
            let coming = others.iter().flat_map(|micro_batch| micro_batch.samples.iter().copied());
            let (features, gradients) = (&mut self.features, &mut self.gradients);
            match learner.forward_backward(group, coming, features, gradients, &on_progress) {
                Ok(Outcome::Computed(Computed { metrics, tokens: more, .. })) => {
                    all = Some(all.map_or_else(|| metrics.clone(), |sum| sum.plus(&metrics)));
                    tokens += more;
                }
                Ok(Outcome::NotFinite(samples)) => {
                    let samples = samples.iter().map(|sample| places[sample.origin.index]);
                    return Ok(ShareOutcome::NotFinite(samples.collect()));
                }
                Err(Error::BadSample(sample)) => {
                    let (micro_batch, sample) = places[sample.origin.index];
                    return Ok(ShareOutcome::BadSample(micro_batch, sample));
                }
                Err(Error::Cancelled) => return Ok(ShareOutcome::Cancelled),
                Err(error) => return Err(error),
            }
        }
        model.net.check_unchanged()?;
        Ok(ShareOutcome::Computed { metrics: all, tokens, seconds: start.elapsed().as_secs_f64() })
    }

    fn loss(&mut self, pixels: Pixels, samples: Vec<WireSample>) -> Result<LossOutcome> {
        let processor = self.processor(pixels)?;
        let samples = self.encoded(samples, 0)?;
        let batch: Vec<_> = samples.iter().collect();
        let (model, adapter) = (self.model.as_ref().ok_or(Error::NoModel)?, self.adapter.as_ref());
        let stop = || self.cancel.is_cancelled();
        let features = &mut self.features;
        let net = &model.net;
        let mut collator =
            Collator { net, adapter, processor: &processor, features, shares_prefixes: true, stop: &stop };
        let loss = collator.collate(std::slice::from_ref(&batch)).and_then(|packed| {
            let ctx = tunebook_nn::layers::ForwardContext { stop: Some(&stop), ..model.forward_context(adapter) };
            let loss = evaluate_batch(net, &CrossEntropy, packed, ctx)?.loss();
            net.check_unchanged()?;
            Ok(loss)
        });
        match loss {
            Ok(loss) => Ok(LossOutcome::Loss(loss)),
            Err(Error::BadSample(_)) => Ok(LossOutcome::BadSample),
            Err(Error::Cancelled) => Ok(LossOutcome::Cancelled),
            Err(error) => Err(error),
        }
    }

    /// Answers the questions that follow.
    fn answers(&mut self, settings: SettingsMap, pixels: Pixels, labels: Vec<usize>, values: &[f32]) -> Result<()> {
        let settings = settings_map::read(&settings)?;
        let processor = self.processor(pixels)?;
        let mut rest: &[u32] = bytemuck::cast_slice(values);
        let mut grams = NGrams::default();
        for length in labels {
            let (label, others) = rest.split_at(length);
            grams.add(label, 0);
            rest = others;
        }
        let (model, adapter) = (self.model.take().ok_or(Error::NoModel)?, self.adapter.take());
        let cancel = self.cancel.clone();
        let run = RunContext {
            model: &model,
            adapter: adapter.as_ref(),
            processor: &processor,
            settings: &settings,
            labels: Some(&grams),
        };
        let mut questions = Questions { worker: self, run, open: HashMap::new(), ended: false };
        let made = Generator::new(run).run(&mut Prefix::default(), &mut questions, &|| cancel.is_cancelled());
        // What the session has sent meanwhile belongs to what was cancelled.
        while made.is_ok() && !questions.ended {
            match questions.worker.inbox.next() {
                None | Some((Request::EndOfQuestions, _)) => break,
                Some(_) => {}
            }
        }
        (self.model, self.adapter) = (Some(model), adapter);
        made
    }

    /// The model's processor with the session's limits.
    fn processor(&self, Pixels { most, least }: Pixels) -> Result<ImageProcessor> {
        Ok(self.model()?.processor.clone().with_limits(most, least)?)
    }

    /// Samples with numbers from `first` on, and their images where they can be read.
    fn encoded(&mut self, samples: Vec<WireSample>, first: usize) -> Result<Vec<Encoded>> {
        let mut place = |path: PathBuf, length| self.place(path, length);
        (first..).zip(samples).map(|(number, sample)| sample.encoded(number, &mut place)).collect()
    }

    /// Where the session's file of that path and length lies here: at the same path, or where it is put when it has come
    /// from the session. At the same path if the session cannot read it either.
    fn place(&mut self, path: PathBuf, length: u64) -> Result<PathBuf> {
        let is_same = std::fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() == length);
        if is_same || length == 0 {
            return Ok(path);
        }
        let key = (path, length);
        if let Some(known) = self.files.get(&key) {
            return Ok(known.clone());
        }
        self.session.send(&Reply::NeedsFile { path: key.0.clone() }, &[])?;
        let Some((bytes, values)) = self.inbox.file() else { return Ok(key.0) };
        let folder = match self.folder.take() {
            Some(folder) => self.folder.insert(folder),
            None => {
                let made = tunebook_files::private_folder("pictures");
                self.folder.insert(made.map_err(|source| Error::Write { path: std::env::temp_dir(), source })?)
            }
        };
        let mut here = folder.path().join(self.files.len().to_string());
        if let Some(extension) = key.0.extension() {
            here.set_extension(extension);
        }
        let written = std::fs::write(&here, wire::bytes_of(&values, bytes));
        written.map_err(|source| Error::Write { path: here.clone(), source })?;
        self.files.insert(key, here.clone());
        Ok(here)
    }

    fn tell_progress(&self, fraction: f64) {
        self.progress.store((fraction as f32).to_bits(), Ordering::Relaxed);
    }
}

/// How many of the first micro-batches go through the model together: as many as have no more than `limit` tokens, and one
/// at least.
fn group(micro_batches: &[MicroBatch], limit: usize) -> usize {
    let tokens = |batch: &MicroBatch| batch.samples.iter().map(|sample| sample.input_ids.len()).sum::<usize>();
    let sums = micro_batches.iter().scan(0, |sum, batch| {
        *sum += tokens(batch);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= limit).count().max(1)
}

/// The questions of a session, and what is to be told of their answers.
struct Questions<'w, 'r> {
    worker: &'w mut Worker,
    run: RunContext<'r>,
    /// The tokens of the answers on their way.
    open: HashMap<usize, Vec<u32>>,
    /// No more are coming.
    ended: bool,
}

impl<'r> Requests<'r> for Questions<'_, 'r> {
    fn next(&mut self) -> Result<Option<crate::generate::Request<'r>>> {
        while !self.ended {
            let next = match self.open.is_empty() {
                true => self.worker.inbox.next().ok_or(TryRecvError::Disconnected),
                false => self.worker.inbox.try_next(),
            };
            let (index, sample) = match next {
                Ok((Request::Question { index, sample }, _)) => (index, sample),
                Ok((Request::EndOfQuestions, _)) | Err(TryRecvError::Disconnected) => {
                    self.ended = true;
                    break;
                }
                Ok((Request::Cancel, _)) => return Err(Error::Cancelled),
                Ok(_) => continue,
                Err(TryRecvError::Empty) => break,
            };
            let samples = self.worker.encoded(vec![sample], index)?;
            let Some(sample) = samples.into_iter().next() else { continue };
            let cx = Context { emit: &|_| {}, cancel: &self.worker.cancel };
            match prompt(&sample, self.run, &mut self.worker.features, &cx) {
                Err(Error::BadSample(_)) => {
                    self.worker.session.send(&Reply::Answered { index, answer: None }, &[])?;
                }
                prompt => {
                    let (prompt, RunContext { model, adapter, settings, .. }) = (prompt?, self.run);
                    let choice = Choice::new(settings, &model.generation, settings.seed.wrapping_add(index as u64));
                    self.open.insert(index, Vec::new());
                    return Ok(Some(crate::generate::Request { id: index, prompt, choice, adapter, alternatives: 0 }));
                }
            }
        }
        Ok(None)
    }

    fn hear(&mut self, id: usize, generated: Generated) -> Result<()> {
        match generated {
            Generated::Token(token) => self.open.entry(id).or_default().push(token),
            Generated::Score(..) => {}
            Generated::End(Answer { end, .. }) => {
                let tokens = self.open.remove(&id).unwrap_or_default();
                if end != AnswerEnd::Interrupted {
                    let answer = Some(WireAnswer { tokens, end });
                    self.worker.session.send(&Reply::Answered { index: id, answer }, &[])?;
                }
            }
        }
        Ok(())
    }
}

/// # Errors
/// The socket cannot be set up.
pub(super) fn no_delay(stream: &TcpStream) -> io::Result<()> {
    // Small messages go back and forth.
    stream.set_nodelay(true)
}
