//! What can go wrong with workers.

use std::path::PathBuf;

use tunebook_mpi::CallError;
use tunebook_mpi::FindError;
use tunebook_mpi::HostsError;
use tunebook_mpi::LaunchError;
use tunebook_mpi::LineError;
use tunebook_mpi::NcclError;
use tunebook_mpi::OpenError;
use tunebook_quote::REMEDY;

/// Why workers cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    #[error("workers need MPI as Linux and macOS have it; on this system one process trains, with all cores")]
    NotHere,
    #[error("{0}{REMEDY}install MPI, which `help workers` explains, or name its launcher with launcher=")]
    NoLauncher(#[from] FindError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("hosts: {0}")]
    Hosts(#[from] HostsError),
    #[error("{file}, {problem}")]
    HostFile { file: PathBuf, problem: LineError },
    #[error("cannot use MPI: {0}{REMEDY}`help workers` says how to get one")]
    NoMpi(#[from] OpenError),
    #[error("MPI: {0}")]
    Call(#[from] CallError),
    #[error("NCCL: {0}")]
    Nccl(#[from] NcclError),
    #[error("there is no libnccl.so.2, but there is one on the host of rank 0{REMEDY}install NCCL on all hosts")]
    NoNccl,
    #[error("cannot start {program}: {source}")]
    Start { program: PathBuf, source: std::io::Error },
    #[error("cannot listen for workers: {0}")]
    Listen(std::io::Error),
    #[error("{program} ended ({status}) before all workers were there: {joined} of {workers} were{}", said(.output))]
    LauncherEnded { program: String, status: String, joined: usize, workers: usize, output: Vec<String> },
    #[error(
        "only {joined} of {workers} workers were there after {seconds} s{}{REMEDY}check that the hosts can be reached, and \
         that they can reach this one at {addresses}",
        said(.output)
    )]
    NotAllJoined { joined: usize, workers: usize, seconds: u64, addresses: String, output: Vec<String> },
    #[error("worker on {host}: {problem}")]
    Refused { host: String, problem: String },
    #[error(
        "the worker on {host} is tunebook {theirs}, the session {ours}{REMEDY}install the same version on all hosts"
    )]
    OtherVersion { host: String, theirs: String, ours: String },
    #[error(
        "the model on {host} has other weights than the session's{REMEDY}copy the session's model folder there, to the \
         same path"
    )]
    OtherModel { host: String },
    #[error("the worker on {host} cannot read an image that the session can read")]
    CannotRead { host: String },
    #[error("{0}{REMEDY}`workers N` starts workers again; `train` goes on from the last step, without them too")]
    Lost(Loss),
    #[error("the workers were lost {times} times in a row without finishing a step; the last time: {last}")]
    LostAgain { times: usize, last: Loss },
    #[error("workers are busy: a training uses them")]
    Busy,
    #[error("tunebook worker is started by `workers N`, not by hand")]
    ByHand,
    #[error("cannot reach the session at {addresses}")]
    NoSession { addresses: String },
}

/// A worker that was lost.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Loss {
    /// Its rank and host; none is the launcher.
    pub worker: Option<(usize, String)>,
    pub why: LossReason,
}

/// What is known of its end.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub enum LossReason {
    /// A signal ended it.
    Signal(i32),
    /// The connection broke off.
    Connection,
    /// Nothing was heard of it for so many seconds.
    Silent(u64),
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match &self.worker {
            Some((rank, host)) => write!(f, "worker {rank} on {host} ")?,
            None => write!(f, "the launcher of the workers ")?,
        }
        match self.why {
            LossReason::Signal(9) => {
                write!(f, "was killed (signal 9), as the system does when memory runs out")
            }
            LossReason::Signal(signal) => write!(f, "was ended by signal {signal}"),
            LossReason::Connection => write!(f, "closed its connection"),
            LossReason::Silent(seconds) => write!(f, "has not been heard of for {seconds} s"),
        }
    }
}

/// What the launcher said last.
fn said(output: &[String]) -> String {
    if output.is_empty() { String::new() } else { format!(". It said:\n  {}", output.join("\n  ")) }
}
