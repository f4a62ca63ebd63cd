//! The page by itself, on loopback: who has the token in the address sees it.

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use axum::Router;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::Message;
use axum::extract::ws::WebSocket;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use tokio::runtime;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::PAGE;
use crate::SCRIPT;
use crate::STYLES;
use crate::connection::Connection;
use crate::panel::Panel;

/// The largest message of a page: a picture in base64.
const MOST: usize = 64 << 20;
/// Nothing of the page comes from elsewhere, and nobody else can show it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data: blob:; \
                      connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// The page's server.
pub struct Server {
    address: SocketAddr,
    token: String,
}

#[derive(Clone)]
struct App {
    panel: Arc<Panel>,
    token: Arc<str>,
    address: SocketAddr,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: String,
}

impl Server {
    /// Starts it at this port of loopback; 0 takes any. It goes on as long as the process does.
    ///
    /// # Errors
    /// The port cannot be had, or the system has no thread.
    pub fn start(panel: Arc<Panel>, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let (address, token) = (listener.local_addr()?, Uuid::new_v4().simple().to_string());
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let app = App { panel, token: token.as_str().into(), address };
        thread::Builder::new().name("panel-page".to_string()).spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, routes(app)).await
            })
        })?;
        Ok(Self { address, token })
    }

    /// The page's address, with the token.
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.token)
    }
}

fn routes(app: App) -> Router {
    let file =
        |kind: &'static str, text: &'static str| get(move || async move { ([(header::CONTENT_TYPE, kind)], text) });
    Router::new()
        .route("/", get(page))
        // They are the same for everybody, and say nothing of the session.
        .route("/panel.js", file("text/javascript; charset=utf-8", SCRIPT))
        .route("/panel.css", file("text/css; charset=utf-8", STYLES))
        .route("/ws", get(socket))
        .with_state(app)
}

async fn page(State(app): State<App>, Query(given): Query<Given>, headers: HeaderMap) -> Response {
    match app.lets_in(&given, &headers) {
        false => (StatusCode::FORBIDDEN, "The token in the address is missing or wrong.").into_response(),
        true => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::REFERRER_POLICY, "no-referrer"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (headers, PAGE).into_response()
        }
    }
}

async fn socket(
    State(app): State<App>,
    Query(given): Query<Given>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    match app.lets_in(&given, &headers) {
        false => StatusCode::FORBIDDEN.into_response(),
        true => upgrade.max_message_size(MOST).on_upgrade(move |socket| speak(socket, app.panel)),
    }
}

impl App {
    /// Whether a request has the token, and comes from the page itself: another page in the same browser can send requests
    /// here, under a name of its own if it has made that lead here.
    fn lets_in(&self, given: &Given, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let own = |host: &str| host == self.address.to_string() || host == format!("localhost:{}", self.address.port());
        let has_host = text(header::HOST).is_some_and(own);
        let has_origin = text(header::ORIGIN).is_none_or(|origin| origin.strip_prefix("http://").is_some_and(own));
        has_host && has_origin && given.token == *self.token
    }
}

/// Takes messages to the panel and back, until the page is gone.
async fn speak(mut socket: WebSocket, panel: Arc<Panel>) {
    let (sender, mut told) = mpsc::unbounded_channel();
    let send = move |message: &serde_json::Value| sender.send(message.to_string()).is_ok();
    let Ok(connection) = Connection::open(panel, Arc::new(send)) else { return };
    loop {
        tokio::select! {
            message = told.recv() => {
                let Some(message) = message else { return };
                if socket.send(Message::Text(message.into())).await.is_err() {
                    return;
                }
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    if let Ok(message) = serde_json::from_str(&text) {
                        connection.hear(message);
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        }
    }
}
