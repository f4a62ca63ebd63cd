//! What the server asks of whoever answers.

/// Whoever answers. Its methods are called from the server's threads, on every request; they must not block.
pub trait Answerer: Send + Sync + 'static {
    /// There is something in the [`Inbox`](crate::Inbox).
    fn wake(&self);

    /// The names of the models that can be asked: the base model's, then those of its adapters. Empty where none is loaded.
    fn models(&self) -> Vec<String>;

    /// What it measures of itself, for `/metrics`.
    fn gauges(&self) -> Vec<Gauge>;
}

/// A value that goes up and down, as Prometheus has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gauge {
    /// With its unit, and without the program's name: `kv_cache_bytes`.
    pub name: &'static str,
    /// A sentence without its full stop.
    pub help: &'static str,
    pub value: f64,
}
