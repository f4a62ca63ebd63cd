//! How workers are started.

use std::path::PathBuf;
use std::time::Duration;

use tunebook_mpi::Hosts;

use crate::lang::Lang;

/// What is asked of a group of workers.
#[derive(Clone, Debug)]
pub struct WorkersOptions {
    pub workers: usize,
    /// Where they run; none is this host, or where the launcher decides.
    pub hosts: Option<Hosts>,
    /// The launcher's name or path; none is `mpiexec`, or what is there.
    pub launcher: Option<String>,
    /// Threads of each; none shares the cores of a host among its workers.
    pub threads: Option<usize>,
    /// How long a worker may be silent before it counts as lost.
    pub timeout: Duration,
    pub on_loss: OnWorkerLoss,
    /// The language of what workers report.
    pub lang: Lang,
    /// The program that is a worker; none is this one.
    pub program: Option<PathBuf>,
}

/// What happens when a worker is lost in the middle of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnWorkerLoss {
    /// The others go on, with the step that was lost.
    #[default]
    Continue,
    Stop,
}

impl WorkersOptions {
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            hosts: None,
            launcher: None,
            threads: None,
            timeout: Duration::from_secs(30),
            on_loss: OnWorkerLoss::default(),
            lang: Lang::default(),
            program: None,
        }
    }
}
