//! Which path leads where, and what every request goes through.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::Answerer;
use crate::Inbox;
use crate::body;
use crate::body::Room;
use crate::completions;
use crate::error::ApiError;
use crate::fetch::Fetcher;
use crate::guard::Guard;
use crate::limits;
use crate::limits::Limits;
use crate::metrics;
use crate::metrics::Metrics;
use crate::models;
use crate::wire::now;

const COMPLETIONS: &str = "/v1/chat/completions";
const MODELS: &str = "/v1/models";
const HEALTH: &str = "/health";
const METRICS: &str = "/metrics";

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub answerer: Arc<dyn Answerer>,
    pub inbox: Arc<Inbox>,
    pub metrics: Arc<Metrics>,
    pub registry: Arc<Registry>,
    pub guard: Arc<Guard>,
    /// None: pictures are not fetched.
    pub fetcher: Option<Arc<Fetcher>>,
    /// How many more requests may fetch pictures now.
    pub fetching: Arc<Semaphore>,
    pub room: Room,
    pub limits: Limits,
    /// In seconds since 1970.
    pub started: u64,
    /// Turns true when the server is to stop.
    pub stopping: watch::Receiver<bool>,
}

impl App {
    pub(crate) fn new(
        answerer: Arc<dyn Answerer>,
        guard: Guard,
        fetcher: Option<Fetcher>,
        limits: Limits,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let inbox = Arc::new(Inbox::new(limits.waiting, Arc::clone(&metrics)));
        let registry = metrics::registry(&metrics, Arc::clone(&inbox), Arc::clone(&answerer));
        Self {
            answerer,
            inbox,
            metrics,
            registry: Arc::new(registry),
            guard: Arc::new(guard),
            fetcher: fetcher.map(Arc::new),
            fetching: Arc::new(Semaphore::new(limits::FETCHING)),
            room: Room::new(limits.room),
            limits,
            started: now(),
            stopping,
        }
    }

    /// Comes back when the server is to stop.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // Without its sender the server has gone, too.
        drop(stopping.wait_for(|stopping| *stopping).await);
    }
}

pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route(COMPLETIONS, post(completions::complete))
        .route(MODELS, get(models::list))
        .route(&format!("{MODELS}/{{*id}}"), get(models::one))
        .route(HEALTH, get(|| async { StatusCode::OK }))
        .route(METRICS, get(measures))
        .fallback(async |State(app), request| refuse(&app, request, ApiError::no_such_url).await)
        .method_not_allowed_fallback(async |State(app), request| refuse(&app, request, ApiError::wrong_method).await)
        .layer(middleware::from_fn_with_state(app.clone(), guarded))
        .with_state(app)
}

/// Lets a request through if it may ask, and counts it. That the server is there, everybody may know.
async fn guarded(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = label(request.uri().path());
    let allowed = match path {
        HEALTH => Ok(()),
        _ => app.guard.check(request.headers(), request.uri().host()),
    };
    let response = match allowed {
        Ok(()) => next.run(request).await,
        Err(error) => refuse(&app, request, |_, _| error).await,
    };
    app.metrics.requests.get_or_create(&metrics::Request { path, status: response.status().as_u16() }).inc();
    response
}

/// An error, by method and path.
async fn refuse(app: &App, request: Request, error: impl FnOnce(&str, &str) -> Box<ApiError>) -> Response {
    let (head, body) = request.into_parts();
    body::discard(body, &app.limits).await;
    error(head.method.as_str(), head.uri.path()).into_response()
}

/// A path as a metric's label. There are few of them, whatever clients ask for.
fn label(path: &str) -> &'static str {
    match path {
        COMPLETIONS => COMPLETIONS,
        MODELS => MODELS,
        HEALTH => HEALTH,
        METRICS => METRICS,
        _ if path.starts_with("/v1/models/") => "/v1/models/{id}",
        _ => "other",
    }
}

async fn measures(State(app): State<App>) -> Response {
    match metrics::write(&app.registry) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => ApiError::internal().into_response(),
    }
}
