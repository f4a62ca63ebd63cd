//! The processes of the workers, and the way to each: started together by MPI's launcher, asked over sockets.
//!
//! The session is none of the ranks. MPI ends all ranks with one of them, and a notebook is not to end with a worker
//! (MPIClusterManagers.jl and ipyparallel keep them apart, too). So the launcher starts the workers, each connects to the
//! session, and a worker that dies is a connection that breaks off.

mod end;
mod processes;
mod start;

use std::collections::HashMap;
use std::collections::HashSet;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use std::time::Instant;

use tunebook_data::Encoded;
use tunebook_nn::Precision;
use tunebook_nn::adapter::Adapter;

use super::adapter_files;
use super::error::LossReason;
use super::error::WorkersError;
use super::settings_map;
use super::wire;
use super::wire::LoadModel;
use super::wire::Reply;
use super::wire::Request;
use super::wire::ShareOutcome;
use super::wire::WireSample;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::model::Model;
use crate::report::StepTimes;
use crate::report::WorkerReport;
use crate::settings::Dtype;
use crate::settings::Settings;

/// Between two looks at what else there is to do while workers are waited for.
const LOOK: Duration = Duration::from_millis(20);
/// How much of what one step says of a worker's speed is believed: single steps differ by chance.
const LEARNING: f64 = 0.2;

/// What the worker of that id has sent.
type Incoming = (usize, std::io::Result<(Reply, Vec<f32>)>);

/// Workers that run.
pub(super) struct ProcessGroup {
    launcher: Child,
    program: String,
    output: Arc<Mutex<Vec<String>>>,
    incoming: Receiver<Incoming>,
    /// By rank.
    members: Vec<Member>,
    /// What the MPI library calls itself.
    pub(super) library: String,
    timeout: Duration,
    /// The fingerprint of the model that they have.
    model: Option<String>,
    held: Held,
    /// Pictures of what is being computed: no other file is given to a worker.
    pictures: HashSet<PathBuf>,
    /// The workers that may have the features of a picture.
    known: HashMap<PathBuf, Vec<usize>>,
    /// How long each took for its share of the last step, in seconds.
    seconds: Vec<f64>,
    /// What the last step took.
    pub(super) times: Option<StepTimes>,
}

struct Member {
    /// By which the thread that listens to it knows it.
    id: usize,
    host: String,
    address: IpAddr,
    process: u32,
    cores: usize,
    threads: usize,
    stream: Arc<TcpStream>,
    life: Arc<Mutex<Life>>,
    /// How fast it is, beside the others; at first all are alike.
    speed: f64,
}

/// The last sign of life of a worker.
struct Life {
    at: Instant,
    /// The fraction of what it computes that is done.
    progress: f32,
}

/// What of a session's adapters the workers have.
enum Held {
    Unknown,
    Base,
    Adapter(Box<Adapter>),
}

impl ProcessGroup {
    /// How many workers the host of the one at `at` has, and the place of this one among them.
    fn neighbours(&self, at: usize) -> (usize, usize) {
        let is_here = |member: &&Member| member.host == self.members[at].host;
        (self.members.iter().filter(is_here).count(), self.members[..at].iter().filter(is_here).count())
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn reports(&self) -> Vec<WorkerReport> {
        let report = |(rank, member): (usize, &Member)| WorkerReport {
            rank,
            host: member.host.clone(),
            process: member.process,
            cores: member.cores,
            threads: member.threads,
            seconds: self.seconds.get(rank).copied(),
        };
        self.members.iter().enumerate().map(report).collect()
    }

    /// What the launcher and the workers have said last.
    fn said(&self) -> Vec<String> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the worker of that rank is.
    pub(super) fn address(&self, rank: usize) -> Option<IpAddr> {
        self.members.get(rank).map(|member| member.address)
    }

    /// Has all workers load the session's model, if they have not.
    ///
    /// # Errors
    /// One cannot, or has another model; a worker is lost; a stop.
    pub(super) fn load(&mut self, model: &Model, settings: &Settings, cx: &Context) -> Result<()> {
        if self.model.as_deref() == Some(model.fingerprint()) {
            return Ok(());
        }
        (self.model, self.held) = (None, Held::Unknown);
        let settings = Settings {
            dtype: if model.net.precision == Precision::F32 { Dtype::Float32 } else { Dtype::Bfloat16 },
            device: if model.net.device.is_cpu() {
                crate::settings::Device::Cpu
            } else {
                crate::settings::Device::Cuda
            },
            quantization_bit: model.report.quantized,
            ..settings.clone()
        };
        let name = PathBuf::from(&model.report.name);
        // What is a folder here is the same folder there.
        let name = if name.is_dir() { std::path::absolute(&name).unwrap_or(name) } else { name };
        let settings = settings_map::write(&settings);
        for at in 0..self.len() {
            let (neighbours, place) = self.neighbours(at);
            let threads = self.members[at].threads;
            let (name, settings) = (name.clone(), settings.clone());
            self.send(at, &Request::Load(Box::new(LoadModel { name, settings, threads, neighbours, place })), &[])?;
        }
        let replies = self.replies(&mut |_| cx.check_cancelled())?;
        for (rank, reply) in replies.into_iter().enumerate() {
            match reply {
                (Reply::Loaded { fingerprint }, _) if fingerprint == model.fingerprint() => {}
                (Reply::Loaded { .. }, _) => {
                    return Err(WorkersError::OtherModel { host: self.members[rank].host.clone() }.into());
                }
                (other, _) => return Err(self.unexpected(rank, other)),
            }
        }
        self.model = Some(model.fingerprint().to_string());
        Ok(())
    }

    /// Gives all workers the adapter with its values of now, or none.
    ///
    /// # Errors
    /// A worker is lost, or cannot take it over; a stop.
    pub(super) fn take_over(&mut self, adapter: Option<&Adapter>, model: &Model, cx: &Context) -> Result<()> {
        let Some(adapter) = adapter else {
            if !matches!(self.held, Held::Base) {
                self.ask_all(&Request::NoAdapter, &[], cx)?;
                self.held = Held::Base;
            }
            return Ok(());
        };
        if !matches!(&self.held, Held::Adapter(held) if is_same(held, adapter)) {
            self.held = Held::Unknown;
            let packed = adapter_files::pack(adapter, &model.net)?;
            self.ask_all(&Request::Adapter { bytes: packed.len() }, &wire::values_of(&packed), cx)?;
            self.held = Held::Adapter(Box::new(adapter.clone()));
        }
        let mut values = Vec::with_capacity(adapter.parameter_count());
        for (_, parameter) in adapter.vars() {
            values.extend(parameter.flatten_all()?.to_vec1::<f32>()?);
        }
        self.ask_all(&Request::Parameters { values: values.len() }, &values, cx)
    }

    /// Sends a request to all, with values to rank 0, and waits until all are ready. It cannot be stopped in between: the
    /// workers are within MPI.
    fn ask_all(&mut self, request: &Request, values: &[f32], cx: &Context) -> Result<()> {
        cx.check_cancelled()?;
        for at in (0..self.len()).rev() {
            self.send(at, request, if at == 0 { values } else { &[] })?;
        }
        for (rank, reply) in self.replies(&mut |_| Ok(()))?.into_iter().enumerate() {
            if !matches!(reply, (Reply::Ready, _)) {
                return Err(self.unexpected(rank, reply.0));
            }
        }
        Ok(())
    }

    /// A sample on its way to a worker, which may ask for its pictures.
    pub(super) fn wire_sample(&mut self, rank: usize, sample: &Encoded) -> WireSample {
        for image in &sample.images {
            let ranks = self.known.entry(image.path.clone()).or_default();
            if !ranks.contains(&rank) {
                ranks.push(rank);
            }
        }
        let sample = WireSample::of(sample);
        self.pictures.extend(sample.pictures().cloned());
        sample
    }

    /// The workers that have computed with a picture before.
    pub(super) fn who_know(&self, picture: &Path) -> &[usize] {
        self.known.get(picture).map_or(&[], Vec::as_slice)
    }

    /// How fast a worker is, beside the others.
    pub(super) fn speed(&self, rank: usize) -> f64 {
        self.members[rank].speed
    }

    /// The workers took so many seconds for shares of these costs.
    pub(super) fn took(&mut self, seconds: Vec<f64>, costs: &[f64]) {
        let rates: Vec<f64> = costs.iter().zip(&seconds).map(|(cost, seconds)| cost / seconds.max(1e-6)).collect();
        let busy = rates.iter().filter(|rate| **rate > 0.0).count().max(1);
        let mean = rates.iter().sum::<f64>() / busy as f64;
        for (member, rate) in self.members.iter_mut().zip(rates) {
            if rate > 0.0 {
                member.speed += LEARNING * ((rate / mean).clamp(0.1, 10.0) - member.speed);
            }
        }
        self.seconds = seconds;
    }

    /// Something else is computed: pictures of what was before are not given any more.
    pub(super) fn begin(&mut self) {
        self.pictures.clear();
    }

    /// # Errors
    /// The worker is lost.
    pub(super) fn send(&mut self, rank: usize, request: &Request, values: &[f32]) -> Result<()> {
        match wire::write(&mut &*self.members[rank].stream, request, values) {
            Ok(()) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(self.lost(rank, LossReason::Silent(self.timeout.as_secs())))
            }
            Err(_) => Err(self.lost(rank, LossReason::Connection)),
        }
    }

    /// Has all workers leave what they compute.
    ///
    /// # Errors
    /// A worker is lost.
    pub(super) fn cancel(&mut self) -> Result<()> {
        (0..self.len()).try_for_each(|rank| self.send(rank, &Request::Cancel, &[]))
    }

    /// One reply of each worker. `look` is asked every now and then, with the fraction that is done; where it says stop,
    /// workers are cancelled, and that is the error once all have replied.
    ///
    /// # Errors
    /// A worker is lost, or fails; that of `look`.
    pub(super) fn replies(&mut self, look: &mut dyn FnMut(f64) -> Result<()>) -> Result<Vec<(Reply, Vec<f32>)>> {
        let mut replies: Vec<Option<(Reply, Vec<f32>)>> = (0..self.len()).map(|_| None).collect();
        let mut stopped = None;
        while replies.iter().any(Option::is_none) {
            if let Some((rank, reply, values)) = self.receive()? {
                let leaves =
                    matches!(reply, Reply::Gradients(ShareOutcome::NotFinite(_) | ShareOutcome::BadSample(..)));
                // What the others compute is of no use then.
                if leaves {
                    self.cancel()?;
                }
                replies[rank] = Some((reply, values));
            }
            let done = |(member, reply): (&Member, &Option<_>)| if reply.is_some() { 1.0 } else { member.progress() };
            let fraction = self.members.iter().zip(&replies).map(done).sum::<f64>() / self.len() as f64;
            if stopped.is_none()
                && let Err(error) = look(fraction)
            {
                self.cancel()?;
                stopped = Some(error);
            }
        }
        match stopped {
            Some(error) => Err(error),
            None => Ok(replies.into_iter().flatten().collect()),
        }
    }

    /// What a worker says next, or nothing for a moment. Signs of life and requests for files are dealt with.
    ///
    /// # Errors
    /// A worker is lost, or cannot do what it was asked.
    pub(super) fn receive(&mut self) -> Result<Option<(usize, Reply, Vec<f32>)>> {
        let (id, frame) = match self.incoming.recv_timeout(LOOK) {
            Ok(incoming) => incoming,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.check_alive()?;
                return Ok(None);
            }
        };
        let Some(rank) = self.members.iter().position(|member| member.id == id) else { return Ok(None) };
        match frame {
            Err(_) => Err(self.lost(rank, LossReason::Connection)),
            Ok((Reply::NeedsFile { path }, _)) => {
                let bytes = if self.pictures.contains(&path) { std::fs::read(&path).ok() } else { None };
                let values = bytes.as_deref().map(wire::values_of).unwrap_or_default();
                self.send(rank, &Request::File { bytes: bytes.map(|bytes| bytes.len()) }, &values)?;
                Ok(None)
            }
            Ok((Reply::Failed { problem }, _)) => {
                Err(WorkersError::Refused { host: self.members[rank].host.clone(), problem }.into())
            }
            Ok((reply, values)) => Ok(Some((rank, reply, values))),
        }
    }

    /// # Errors
    /// A worker has not been heard of for too long.
    fn check_alive(&mut self) -> Result<()> {
        let is_silent = |member: &Member| member.life().at.elapsed() > self.timeout;
        if let Some(rank) = self.members.iter().position(is_silent) {
            let seconds = self.timeout.as_secs();
            return Err(self.lost(rank, LossReason::Silent(seconds)));
        }
        Ok(())
    }

    /// A worker cannot use an image that the session can.
    pub(super) fn cannot_read(&self, rank: usize) -> Error {
        WorkersError::CannotRead { host: self.members[rank].host.clone() }.into()
    }

    pub(super) fn unexpected(&self, rank: usize, reply: Reply) -> Error {
        let host = self.members[rank].host.clone();
        WorkersError::Refused { host, problem: format!("{reply:.60?}") }.into()
    }
}

impl Member {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> f64 {
        f64::from(self.life().progress)
    }
}

/// Whether two adapters train the same tensors, and in the same way.
fn is_same(held: &Adapter, adapter: &Adapter) -> bool {
    let ids = |adapter: &Adapter| adapter.vars().iter().map(|(_, var)| var.id()).collect::<Vec<_>>();
    held.config == adapter.config && ids(held) == ids(adapter)
}
