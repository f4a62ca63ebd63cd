//! The processes of the workers, and the way to each: started together by MPI's launcher, asked over sockets.
//!
//! The session is none of the ranks. MPI ends all ranks with one of them, and a notebook is not to end with a worker
//! (MPIClusterManagers.jl and ipyparallel keep them apart, too). So the launcher starts the workers, each connects to the
//! session, and a worker that dies is a connection that breaks off.

use std::collections::HashMap;
use std::collections::HashSet;
use std::io::BufRead;
use std::io::BufReader;
use std::io::ErrorKind;
use std::io::Read;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::ToSocketAddrs;
use std::net::UdpSocket;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tunebook_data::Encoded;
use tunebook_mpi::Launch;
use tunebook_mpi::Launcher;
use tunebook_nn::adapter::Adapter;

use super::adapter_files;
use super::error::Loss;
use super::error::LossReason;
use super::error::WorkersError;
use super::host;
use super::invitation;
use super::invitation::Invitation;
use super::options::WorkersOptions;
use super::serve::no_delay;
use super::settings_map;
use super::wire;
use super::wire::Hello;
use super::wire::LoadModel;
use super::wire::Reply;
use super::wire::Request;
use super::wire::WireSample;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Task;
use crate::lang::Lang;
use crate::model::Model;
use crate::report::WorkerReport;
use crate::settings::Dtype;
use crate::settings::Settings;
use tunebook_nn::Precision;

/// Between two looks at what else there is to do while workers are waited for.
const LOOK: Duration = Duration::from_millis(20);
/// How long workers may take to start.
const START: Duration = Duration::from_secs(120);
/// How long a stranger who connects may take to show the token.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// How long processes may take to end by themselves.
const END: Duration = Duration::from_secs(3);
/// How much of what one step says of a worker's speed is believed: single steps differ by chance.
const LEARNING: f64 = 0.2;
/// Lines of the launcher's output that are kept.
const LINES: usize = 8;

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
    pub(super) seconds: Vec<f64>,
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

/// Somebody who has shown the token.
struct Arrival {
    hello: Hello,
    stream: TcpStream,
}

impl ProcessGroup {
    /// Starts `ranks` workers.
    ///
    /// # Errors
    /// There is no launcher or no MPI; the launcher ends, or not all workers come; a stop. None is left behind.
    pub(super) fn start(options: &WorkersOptions, ranks: usize, cx: &Context) -> Result<Self> {
        allow_connections(ranks);
        let launcher = Launcher::find(options.launcher.as_deref()).map_err(WorkersError::from)?;
        // A batch system decides by itself where ranks run.
        let is_here = options.hosts.is_none() && std::env::var_os("SLURM_JOB_ID").is_none();
        let place = if is_here { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        let listener = TcpListener::bind((place, 0)).map_err(WorkersError::Listen)?;
        let port = listener.local_addr().map_err(WorkersError::Listen)?.port();
        listener.set_nonblocking(true).map_err(WorkersError::Listen)?;
        let invitation = Invitation {
            token: uuid::Uuid::new_v4().to_string(),
            addresses: addresses(options, is_here).into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
            ranks,
            beside: Some(launcher.path().to_path_buf()),
            chinese: options.lang == Lang::Zh,
        };
        let program = match &options.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(WorkersError::Listen)?,
        };
        let variable = invitation.variable().map_err(|source| Error::Json { path: program.clone(), source })?;
        let command = launcher.command(&Launch {
            ranks,
            hosts: options.hosts.as_ref(),
            env: &[(invitation::VARIABLE, &variable)],
            remote_shell: None,
            program: &program,
            arguments: &["worker".into()],
        });
        let mut command = command.map_err(WorkersError::from)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        // Ctrl-C at a terminal is the session's: it has the workers stop cleanly.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child =
            command.spawn().map_err(|source| WorkersError::Start { program: command.get_program().into(), source })?;
        let output = Arc::new(Mutex::new(Vec::new()));
        keep_lines(child.stdout.take(), &output);
        keep_lines(child.stderr.take(), &output);
        let (sender, incoming) = channel();
        let mut group = Self {
            launcher: child,
            program: name,
            output,
            incoming,
            members: Vec::new(),
            library: String::new(),
            timeout: options.timeout,
            model: None,
            held: Held::Unknown,
            pictures: HashSet::new(),
            known: HashMap::new(),
            seconds: Vec::new(),
        };
        group.gather(listener, &invitation, sender, cx)?;
        group.share_cores(options.threads);
        Ok(group)
    }

    /// Waits until all workers are there, in the order of their ranks.
    fn gather(
        &mut self,
        listener: TcpListener,
        invitation: &Invitation,
        sender: Sender<Incoming>,
        cx: &Context,
    ) -> Result<()> {
        let (start, ranks) = (Instant::now(), invitation.ranks);
        let (introduce, arrivals) = channel::<Arrival>();
        let mut present = Vec::new();
        let mut joined = 0;
        let mut order = vec![None; ranks];
        while joined < ranks {
            cx.check_cancelled()?;
            cx.emit(Event::Progress { task: Task::StartingWorkers, done: joined, total: ranks });
            while let Ok((stream, _)) = listener.accept() {
                let (introduce, token) = (introduce.clone(), invitation.token.clone());
                thread::spawn(move || _ = introduced(stream, &token).map(|arrival| introduce.send(arrival)));
            }
            for arrival in arrivals.try_iter() {
                present.push(self.welcome(arrival, present.len(), &sender)?);
            }
            match self.incoming.recv_timeout(LOOK) {
                Ok((id, Ok((Reply::Joined { rank, library }, _)))) if rank < ranks && order[rank].is_none() => {
                    self.library = library;
                    order[rank] = Some(id);
                    joined += 1;
                }
                Ok((id, Ok((Reply::Failed { problem }, _)))) => {
                    let host = present.iter().find(|member: &&Member| member.id == id);
                    let host = host.map_or_else(String::new, |member| member.host.clone());
                    return Err(WorkersError::Refused { host, problem }.into());
                }
                _ => {}
            }
            let ended = self.launcher.try_wait().ok().flatten();
            if let Some(status) = ended.filter(|_| joined < ranks) {
                // What it has said last is on its way.
                thread::sleep(10 * LOOK);
                let (program, status, output) = (self.program.clone(), status.to_string(), self.said());
                return Err(WorkersError::LauncherEnded { program, status, joined, workers: ranks, output }.into());
            }
            if start.elapsed() > START {
                let (addresses, output) = (invitation.listed(), self.said());
                let seconds = START.as_secs();
                return Err(WorkersError::NotAllJoined { joined, workers: ranks, seconds, addresses, output }.into());
            }
        }
        cx.emit(Event::Progress { task: Task::StartingWorkers, done: ranks, total: ranks });
        for id in order.into_iter().flatten() {
            let at = present.iter().position(|member| member.id == id);
            self.members.extend(at.map(|at| present.swap_remove(at)));
        }
        Ok(())
    }

    /// Listens to somebody who has shown the token.
    fn welcome(&self, arrival: Arrival, id: usize, sender: &Sender<Incoming>) -> Result<Member> {
        let Arrival { hello: Hello { protocol, version, host, process, cores, .. }, stream } = arrival;
        if protocol != wire::PROTOCOL || version != env!("CARGO_PKG_VERSION") {
            let ours = format!("{} (protocol {})", env!("CARGO_PKG_VERSION"), wire::PROTOCOL);
            return Err(
                WorkersError::OtherVersion { host, theirs: format!("{version} (protocol {protocol})"), ours }.into()
            );
        }
        let address = stream.peer_addr().map_err(WorkersError::Listen)?.ip();
        // One that takes nothing in is not alive, either.
        stream.set_write_timeout(Some(self.timeout)).map_err(WorkersError::Listen)?;
        let (stream, life) = (Arc::new(stream), Life { at: Instant::now(), progress: 0.0 });
        let life = Arc::new(Mutex::new(life));
        let (sender, heard) = (sender.clone(), Heard { stream: Arc::clone(&stream), life: Arc::clone(&life) });
        thread::spawn(move || {
            let mut from = BufReader::new(heard);
            loop {
                let frame = wire::read(&mut from);
                if let Ok((Reply::Alive { progress }, _)) = frame {
                    from.get_ref().life().progress = progress;
                    continue;
                }
                let is_over = frame.is_err();
                if sender.send((id, frame)).is_err() || is_over {
                    return;
                }
            }
        });
        Ok(Member { id, host, address, process, cores, threads: 1, stream, life, speed: 1.0 })
    }

    /// Gives each worker `threads`, or its part of the cores of its host.
    fn share_cores(&mut self, threads: Option<usize>) {
        for at in 0..self.members.len() {
            let (neighbours, _) = self.neighbours(at);
            let member = &mut self.members[at];
            member.threads = threads.unwrap_or(member.cores / neighbours).max(1);
        }
    }

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
        for at in 0..self.len() {
            let (neighbours, place) = self.neighbours(at);
            let threads = self.members[at].threads;
            let (name, settings) = (name.clone(), settings_map::write(&settings));
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
        let path = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        self.pictures.extend(sample.images.iter().map(|image| path(&image.path)));
        WireSample::of(sample)
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
                let leaves = matches!(
                    reply,
                    Reply::Gradients(
                        super::wire::ShareOutcome::NotFinite(_) | super::wire::ShareOutcome::BadSample(..)
                    )
                );
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
    /// A worker has not been heard of for too long, or the launcher has ended.
    fn check_alive(&mut self) -> Result<()> {
        let is_silent = |member: &Member| member.life().at.elapsed() > self.timeout;
        if let Some(rank) = self.members.iter().position(is_silent) {
            let seconds = self.timeout.as_secs();
            return Err(self.lost(rank, LossReason::Silent(seconds)));
        }
        Ok(())
    }

    /// The loss of a worker, as far as is known.
    fn lost(&mut self, rank: usize, why: LossReason) -> Error {
        let worker = Some((rank, self.members[rank].host.clone()));
        let silent = matches!(why, LossReason::Silent(_));
        // The launcher knows more, and says it as it ends.
        let deadline = Instant::now() + if silent { Duration::ZERO } else { END };
        let mut status = None;
        while status.is_none() && Instant::now() < deadline {
            status = self.launcher.try_wait().ok().flatten();
            thread::sleep(LOOK);
        }
        thread::sleep(if silent { Duration::ZERO } else { LOOK });
        if let Some(signal) = status.and_then(signal_of) {
            return WorkersError::Lost(Loss { worker: None, why: LossReason::Signal(signal) }).into();
        }
        let told = told_signal(&self.said());
        let why = match (told, why) {
            (Some(signal), LossReason::Connection) => LossReason::Signal(signal),
            (_, why) => why,
        };
        WorkersError::Lost(Loss { worker, why }).into()
    }

    /// A worker cannot use an image that the session can.
    pub(super) fn cannot_read(&self, rank: usize) -> Error {
        WorkersError::CannotRead { host: self.members[rank].host.clone() }.into()
    }

    pub(super) fn unexpected(&self, rank: usize, reply: Reply) -> Error {
        let host = self.members[rank].host.clone();
        WorkersError::Refused { host, problem: format!("{reply:.60?}") }.into()
    }

    /// Ends all processes: as they can by themselves if `politely`, else at once.
    pub(super) fn end(&mut self, politely: bool) {
        self.members.iter().for_each(|member| _ = member.stream.shutdown(std::net::Shutdown::Both));
        let deadline = Instant::now() + if politely { END } else { Duration::ZERO };
        while self.launcher.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        #[cfg(unix)]
        {
            use rustix::process::Pid;
            use rustix::process::Signal;
            let here = host();
            // One that was stopped does not hear that its connection has closed.
            for member in self.members.iter().filter(|member| member.host == here) {
                if is_worker(member.process)
                    && let Some(process) = Pid::from_raw(member.process as i32)
                {
                    _ = rustix::process::kill_process(process, Signal::KILL);
                }
            }
            // The launcher ends those on other hosts. What it has started here may be there without it.
            if let Some(group) = Pid::from_raw(self.launcher.id() as i32)
                && rustix::process::kill_process_group(group, Signal::TERM).is_ok()
            {
                let deadline = Instant::now() + END;
                while rustix::process::test_kill_process_group(group).is_ok() && Instant::now() < deadline {
                    _ = self.launcher.try_wait();
                    thread::sleep(LOOK);
                }
                _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
        }
        _ = self.launcher.kill();
        _ = self.launcher.wait();
        self.members.clear();
    }
}

/// What a worker sends; each part of it is a sign of life.
struct Heard {
    stream: Arc<TcpStream>,
    life: Arc<Mutex<Life>>,
}

impl Heard {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Heard {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = (&*self.stream).read(buffer)?;
        self.life().at = Instant::now();
        Ok(read)
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

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let politely = !self.members.is_empty();
        self.end(politely);
    }
}

/// Whether the process is a worker still, and its number not another program's by now.
#[cfg(unix)]
fn is_worker(process: u32) -> bool {
    match std::fs::read(format!("/proc/{process}/cmdline")) {
        Ok(line) => line.split(|byte| *byte == 0).any(|argument| argument == b"worker"),
        // Where there is no such folder.
        Err(_) => !std::path::Path::new("/proc/self").exists(),
    }
}

/// Whether two adapters train the same tensors, and in the same way.
fn is_same(held: &Adapter, adapter: &Adapter) -> bool {
    let ids = |adapter: &Adapter| adapter.vars().iter().map(|(_, var)| var.id()).collect::<Vec<_>>();
    held.config == adapter.config && ids(held) == ids(adapter)
}

/// Raises the limit of open files, as far as that goes, to a connection for each worker.
fn allow_connections(ranks: usize) {
    #[cfg(unix)]
    {
        use rustix::process::Resource;
        use rustix::process::Rlimit;
        let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
        // What else a session has open is less than this.
        let wanted = ranks as u64 + 512;
        if current.is_some_and(|current| current < wanted) {
            let current = maximum.map_or(wanted, |most| most.min(wanted));
            _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum });
        }
    }
}

/// The addresses of this host, as the others see it.
fn addresses(options: &WorkersOptions, is_here: bool) -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    if is_here {
        return addresses;
    }
    // The way to a host begins at the address at which that host can reach this one.
    let way = |to: SocketAddr| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    let own = host();
    let names =
        options.hosts.iter().flat_map(|hosts| hosts.iter()).map(|host| host.name.as_str()).chain([own.as_str()]);
    let resolved = names.filter_map(|name| (name, 9).to_socket_addrs().ok()).flatten();
    let seen: Vec<_> = resolved.filter(SocketAddr::is_ipv4).filter_map(way).collect();
    for address in seen {
        if !addresses.contains(&address) {
            // Before the loopback, at which another host would find a stranger.
            addresses.insert(addresses.len() - 1, address);
        }
    }
    addresses
}

/// Who has connected, if he shows the token.
fn introduced(stream: TcpStream, token: &str) -> Option<Arrival> {
    stream.set_nonblocking(false).ok()?;
    no_delay(&stream).ok()?;
    stream.set_read_timeout(Some(INTRODUCTION)).ok()?;
    match wire::read_within(&mut &stream, wire::LONGEST_HELLO).ok()? {
        (Reply::Hello(hello), _) if hello.token == token => {
            stream.set_read_timeout(None).ok()?;
            Some(Arrival { hello, stream })
        }
        _ => None,
    }
}

/// Keeps the last lines of what a process says.
fn keep_lines(from: Option<impl Read + Send + 'static>, lines: &Arc<Mutex<Vec<String>>>) {
    let Some(from) = from else { return };
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(|line| line.ok()) {
            let line = tunebook_quote::message(String::from_utf8_lossy(&line).trim_end());
            if line.chars().any(char::is_alphanumeric) {
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.push(line);
                let more = lines.len().saturating_sub(LINES);
                lines.drain(..more);
            }
        }
    });
}

#[cfg(unix)]
fn signal_of(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal_of(_: std::process::ExitStatus) -> Option<i32> {
    None
}

/// The signal of which the launcher tells: `exited on signal 9 (Killed)` (Open MPI), `Killed (signal 9)` (MPICH).
fn told_signal(lines: &[String]) -> Option<i32> {
    let of_line = |line: &String| {
        let rest = line.to_ascii_lowercase();
        let digits = rest.split_once("signal")?.1;
        let digits: String =
            digits.chars().skip_while(|c| *c == ':' || *c == ' ').take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    lines.iter().find_map(of_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_launchers_say_of_a_killed_process_is_understood() {
        for (line, signal) in [
            ("mpirun noticed that process rank 1 with PID 0 on node a exited on signal 9 (Killed).", Some(9)),
            ("YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)", Some(9)),
            ("=   KILLED BY SIGNAL: 11 (Segmentation fault)", Some(11)),
            ("This typically refers to a problem with your application.", None),
        ] {
            assert_eq!(told_signal(&[line.to_string()]), signal, "{line}");
        }
    }
}
