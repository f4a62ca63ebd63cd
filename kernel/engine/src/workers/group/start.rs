//! How workers are started, and become a group.

use std::collections::HashMap;
use std::collections::HashSet;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::ToSocketAddrs;
use std::net::UdpSocket;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tunebook_mpi::Launch;
use tunebook_mpi::Launcher;

use super::Held;
use super::Incoming;
use super::LOOK;
use super::Life;
use super::Member;
use super::ProcessGroup;
use super::processes::allow_open_files;
use super::processes::in_own_group;
use crate::error::Error;
use crate::error::Result;
use crate::event::Context;
use crate::event::Event;
use crate::event::Task;
use crate::lang::Lang;
use crate::workers::error::WorkersError;
use crate::workers::host;
use crate::workers::invitation;
use crate::workers::invitation::Invitation;
use crate::workers::options::WorkersOptions;
use crate::workers::serve::no_delay;
use crate::workers::wire;
use crate::workers::wire::Hello;
use crate::workers::wire::Reply;

/// How long workers may take to start.
const START: Duration = Duration::from_secs(120);
/// How long a stranger who connects may take to show the token.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// Lines of the launcher's output that are kept.
const LINES: usize = 8;

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
    pub(in crate::workers) fn start(options: &WorkersOptions, ranks: usize, cx: &Context) -> Result<Self> {
        if cfg!(not(unix)) {
            return Err(WorkersError::NotHere.into());
        }
        // A connection for each worker; what else a session has open is less than this.
        allow_open_files(ranks as u64 + 512);
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
            program: &program,
            arguments: &["worker".into()],
        });
        let mut command = command.map_err(WorkersError::from)?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        in_own_group(&mut command);
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
            times: None,
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
    match wire::read_within(&mut &stream, wire::LONGEST_HELLO, 0).ok()? {
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
