//! `/metrics`: what Prometheus collects, as OpenMetrics text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::Answerer;
use crate::Inbox;

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// In seconds: an answer may take milliseconds or, beside a training on a CPU, minutes.
const BUCKETS: [f64; 15] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// What the server counts of itself.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// HTTP requests that were answered, or whose answer has begun.
    pub requests: Family<Request, Counter>,
    pub running: Gauge,
    pub prompt_tokens: Counter<u64, AtomicU64>,
    pub generation_tokens: Counter<u64, AtomicU64>,
    pub time_to_first_token: Histogram,
    pub duration: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Request {
    pub path: &'static str,
    pub status: u16,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: Family::default(),
            running: Gauge::default(),
            prompt_tokens: Counter::default(),
            generation_tokens: Counter::default(),
            time_to_first_token: Histogram::new(BUCKETS),
            duration: Histogram::new(BUCKETS),
        }
    }
}

/// All that `/metrics` shows.
pub(crate) fn registry(metrics: &Metrics, inbox: Arc<Inbox>, answerer: Arc<dyn Answerer>) -> Registry {
    let mut registry = Registry::with_prefix("tunebook");
    registry.register("http_requests", "HTTP requests by path and status", metrics.requests.clone());
    registry.register("requests_running", "Requests that are being answered", metrics.running.clone());
    registry.register("prompt_tokens", "Tokens of prompts", metrics.prompt_tokens.clone());
    registry.register("generation_tokens", "Generated tokens", metrics.generation_tokens.clone());
    let help = "From a request's arrival to the first text of its answer";
    registry.register("time_to_first_token_seconds", help, metrics.time_to_first_token.clone());
    let help = "From a request's arrival to the end of its answer";
    registry.register("request_duration_seconds", help, metrics.duration.clone());
    registry.register_collector(Box::new(Now { inbox, answerer }));
    registry
}

/// The registry as text.
///
/// # Errors
/// None, in practice: the text is written to memory.
pub(crate) fn write(registry: &Registry) -> Result<String, fmt::Error> {
    let mut written = String::new();
    text::encode(&mut written, registry)?;
    Ok(written)
}

/// What is asked for only when somebody looks.
struct Now {
    inbox: Arc<Inbox>,
    answerer: Arc<dyn Answerer>,
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Now").finish_non_exhaustive()
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let waiting = crate::Gauge {
            name: "requests_waiting",
            help: "Requests that nobody has taken yet",
            value: self.inbox.len() as f64,
        };
        for gauge in [waiting].into_iter().chain(self.answerer.gauges()) {
            let (value, help) = (ConstGauge::new(gauge.value), format!("{}.", gauge.help));
            value.encode(encoder.encode_descriptor(gauge.name, &help, None, value.metric_type())?)?;
        }
        Ok(())
    }
}
