//! `/v1/chat/completions`: from a request to a place in the inbox, and to its answer as a whole or as a stream.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::Response;
use tokio::sync::mpsc;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task;

use crate::Asked;
use crate::Part;
use crate::Reply;
use crate::body;
use crate::error::ApiError;
use crate::error::Result;
use crate::inbox::Place;
use crate::reply::Event;
use crate::request::Request;
use crate::routes::App;
use crate::stream;
use crate::whole;

pub(crate) async fn complete(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    match answer(app, &headers, body).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn answer(app: App, headers: &HeaderMap, body: Body) -> Result<Response> {
    if !says_json(headers) {
        body::discard(body, &app.limits).await;
        return Err(ApiError::not_json());
    }
    let (body, mut room) = body::read(body, headers, &app.room, &app.limits).await?;
    let allow_urls = app.fetcher.is_some();
    let read = task::spawn_blocking(move || Request::read(&body, allow_urls)).await;
    let mut request = read.map_err(|_| ApiError::internal())??;
    check_model(&app, &request.model)?;
    if !request.pictures.is_empty() {
        room.merge(fetch(&app, &mut request).await?);
    }
    let form = Form {
        model: request.model.clone(),
        choices: request.options.n,
        logprobs: request.options.top_logprobs.is_some(),
        include_usage: request.include_usage,
    };
    let stream = request.stream;
    let answer = Answer::ask(app, request, room)?;
    match stream {
        true => stream::respond(answer, form).await,
        false => whole::respond(answer, form).await,
    }
}

/// A browser sends JSON to another origin only after it has asked, and is not told that it may.
fn says_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn check_model(app: &App, model: &String) -> Result<()> {
    let models = app.answerer.models();
    match (models.is_empty(), models.contains(model)) {
        (true, _) => Err(ApiError::no_model()),
        (_, false) => Err(ApiError::unknown_model(model)),
        (_, true) => Ok(()),
    }
}

/// Fetches the pictures that are on other servers, and reserves room for them.
async fn fetch(app: &App, request: &mut Request) -> Result<body::Part> {
    let Some(fetcher) = app.fetcher.clone() else { return Err(ApiError::internal()) };
    let turn = app.fetching.acquire().await.map_err(|_| ApiError::stopping())?;
    let pictures = std::mem::take(&mut request.pictures);
    let fetched = task::spawn_blocking(move || fetcher.fetch(&pictures).map(|files| (pictures, files))).await;
    let (pictures, files) = fetched.map_err(|_| ApiError::internal())??;
    drop(turn);
    let bytes = files.iter().map(Vec::len).sum();
    for (picture, file) in pictures.iter().zip(files) {
        request.messages[picture.message].parts[picture.part] = Part::Image(file);
    }
    app.room.reserve(bytes, app.limits.wait).await
}

/// What is to be written, beside what is answered.
#[derive(Debug)]
pub(crate) struct Form {
    pub model: String,
    pub choices: usize,
    pub logprobs: bool,
    pub include_usage: bool,
}

/// The client's side of a reply. Dropped, as when the client leaves, it takes the request out of the inbox, and the reply
/// tells that nobody wants it any more.
pub(crate) struct Answer {
    events: UnboundedReceiver<Event>,
    unread: Arc<AtomicUsize>,
    pub app: App,
    model: String,
    _place: Place,
    _room: body::Part,
}

impl Answer {
    /// Puts a request into the inbox.
    ///
    /// # Errors
    /// Too many wait there.
    fn ask(app: App, request: Request, room: body::Part) -> Result<Self> {
        let (sender, events) = mpsc::unbounded_channel();
        let unread = Arc::new(AtomicUsize::new(0));
        let (n, metrics) = (request.options.n, Arc::clone(&app.metrics));
        let reply = Reply::new(sender, n, &request.stops, Arc::clone(&unread), app.limits.unread, metrics);
        let Request { model, messages, tools, options, .. } = request;
        let asked = Asked { model: model.clone(), messages, tools, options, reply };
        let place = app.inbox.push(asked).ok_or_else(ApiError::full)?;
        app.answerer.wake();
        Ok(Self { events, unread, app, model, _place: place, _room: room })
    }

    /// What happens next. Not to be called again after an error.
    ///
    /// # Errors
    /// The request is refused, its reply was dropped, or the server stops.
    pub(crate) async fn next(&mut self) -> Result<Event> {
        let event = tokio::select! {
            biased;
            () = self.app.stopped() => return Err(ApiError::stopping()),
            event = self.events.recv() => event,
        };
        let event = event.ok_or_else(ApiError::internal)?;
        self.unread.fetch_sub(event.size(), Ordering::Relaxed);
        match event {
            Event::Refused(refusal) => Err(ApiError::refused(refusal, &self.model)),
            event => Ok(event),
        }
    }
}
