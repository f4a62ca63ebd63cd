//! What there is to say of workers.

use serde::Serialize;

/// The workers of a session.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkersReport {
    /// How many were asked for.
    pub asked: usize,
    /// By rank; empty while they are not running.
    pub workers: Vec<WorkerReport>,
    /// What the MPI library calls itself.
    pub library: String,
    /// Of the last optimizer step.
    pub times: Option<StepTimes>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerReport {
    pub rank: usize,
    pub host: String,
    /// The process's number on its host.
    pub process: u32,
    /// Of the host.
    pub cores: usize,
    pub threads: usize,
    /// How long its share of the last optimizer step took.
    pub seconds: Option<f64>,
}

/// What an optimizer step took with workers, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepTimes {
    /// Until all workers had the values of what trains.
    pub parameters: f64,
    /// Until the last worker had its gradients.
    pub computing: f64,
    /// Until the session had their sum.
    pub gradients: f64,
    /// Bytes of what trains.
    pub bytes: usize,
}
