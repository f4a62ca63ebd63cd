//! Errors as OpenAI's API tells them.

use axum::body::Body;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::header::RETRY_AFTER;
use axum::http::header::WWW_AUTHENTICATE;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use crate::Refusal;
use crate::limits;

/// What OpenAI's clients obey when they decide whether to ask again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// An error, its status and its body. Boxed where it is returned, since it is larger than what is returned beside it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    pub message: String,
    pub param: Option<String>,
    /// Whether asking again helps, and after how many seconds. None: the status says so.
    retry: Option<Retry>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Retry {
    After(u32),
    Never,
}

pub(crate) type Result<T> = std::result::Result<T, Box<ApiError>>;

impl ApiError {
    /// The client's fault.
    fn invalid(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Box<Self> {
        let (kind, message) = ("invalid_request_error", message.into());
        Box::new(Self { status, kind, code, message, param: None, retry: None })
    }

    /// Nobody's fault that the client could mend. The clients of OpenAI ask again after a second or two.
    fn server(status: StatusCode, code: Option<&'static str>, message: impl Into<String>) -> Box<Self> {
        let (kind, message) = ("server_error", message.into());
        Box::new(Self { status, kind, code, message, param: None, retry: None })
    }

    /// A field has a value that it must not have.
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> Box<Self> {
        let mut error = Self::invalid(StatusCode::BAD_REQUEST, None, message);
        error.param = Some(param.into());
        error
    }

    /// A field asks for what this server does not do.
    pub(crate) fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Box<Self> {
        let mut error = Self::field(param, message);
        error.code = Some("unsupported_parameter");
        error
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Box<Self> {
        Self::invalid(StatusCode::BAD_REQUEST, None, message)
    }

    pub(crate) fn wrong_key(given: bool) -> Box<Self> {
        let message = match given {
            true => "Incorrect API key provided.",
            false => "You didn't provide an API key. Send it in the header: Authorization: Bearer KEY.",
        };
        Self::invalid(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message)
    }

    pub(crate) fn foreign_host() -> Box<Self> {
        let message = "Without an API key this server answers only where it is called localhost or by its address, so that \
                       no web page can read it under a name of its own. Start it with a key to use another name.";
        Self::invalid(StatusCode::FORBIDDEN, Some("host_not_allowed"), message)
    }

    pub(crate) fn not_json() -> Box<Self> {
        let message = "The body must be JSON: send the header Content-Type: application/json.";
        Self::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, message)
    }

    pub(crate) fn no_such_url(method: &str, path: &str) -> Box<Self> {
        let message = format!("Invalid URL ({method} {})", tunebook_quote::quote(path));
        Self::invalid(StatusCode::NOT_FOUND, Some("unknown_url"), message)
    }

    pub(crate) fn wrong_method(method: &str, path: &str) -> Box<Self> {
        let message = format!("Not allowed to {method} on {}", tunebook_quote::quote(path));
        Self::invalid(StatusCode::METHOD_NOT_ALLOWED, Some("method_not_supported"), message)
    }

    pub(crate) fn too_large() -> Box<Self> {
        let message = format!("The body is longer than {} MB.", limits::BODY >> 20);
        Self::invalid(StatusCode::PAYLOAD_TOO_LARGE, Some("request_too_large"), message)
    }

    pub(crate) fn too_slow() -> Box<Self> {
        Self::invalid(StatusCode::REQUEST_TIMEOUT, None, "The body took too long to arrive.")
    }

    pub(crate) fn unknown_model(model: &str) -> Box<Self> {
        let message = format!("The model `{}` does not exist. GET /v1/models lists those there are.", quoted(model));
        let mut error = Self::invalid(StatusCode::NOT_FOUND, Some("model_not_found"), message);
        error.param = Some("model".into());
        error
    }

    pub(crate) fn no_model() -> Box<Self> {
        Self::server(StatusCode::SERVICE_UNAVAILABLE, Some("no_model"), "No model is loaded.")
    }

    pub(crate) fn full() -> Box<Self> {
        let message = "Too many requests wait already. Ask again in a few seconds.";
        let (status, kind, code) = (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", Some("rate_limit_exceeded"));
        Box::new(Self { status, kind, code, message: message.into(), param: None, retry: Some(Retry::After(2)) })
    }

    pub(crate) fn no_room() -> Box<Self> {
        let mut error = Self::full();
        error.message =
            "The requests that are being answered take all memory there is for them. Ask again later.".into();
        error
    }

    pub(crate) fn stopping() -> Box<Self> {
        let mut error = Self::server(StatusCode::SERVICE_UNAVAILABLE, Some("stopped"), "The server was stopped.");
        error.retry = Some(Retry::Never);
        error
    }

    pub(crate) fn interrupted() -> Box<Self> {
        let message = "The answer was interrupted in the session that gives it.";
        let mut error = Self::server(StatusCode::SERVICE_UNAVAILABLE, Some("interrupted"), message);
        error.retry = Some(Retry::Never);
        error
    }

    /// A reply was dropped, or something went wrong in this crate.
    pub(crate) fn internal() -> Box<Self> {
        Self::server(StatusCode::INTERNAL_SERVER_ERROR, None, "The server had an error while it answered.")
    }

    pub(crate) fn refused(refusal: Refusal, model: &str) -> Box<Self> {
        match refusal {
            Refusal::UnknownModel => Self::unknown_model(model),
            Refusal::NoModel => Self::no_model(),
            Refusal::Invalid { message, param } => {
                let mut error = Self::bad_request(message);
                error.param = param;
                error
            }
            Refusal::TooLong { prompt_tokens, most } => {
                let message = format!(
                    "This model's maximum context length is {most} tokens. However, your messages resulted in \
                     {prompt_tokens} tokens. Please reduce the length of the messages."
                );
                let mut error = Self::field("messages", message);
                error.code = Some("context_length_exceeded");
                error
            }
            Refusal::Failed { message } => {
                let mut error = Self::server(StatusCode::INTERNAL_SERVER_ERROR, None, message);
                error.retry = Some(Retry::Never);
                error
            }
        }
    }

    pub(crate) fn body(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        match self.retry {
            Some(Retry::After(seconds)) => drop(headers.insert(RETRY_AFTER, HeaderValue::from(seconds))),
            Some(Retry::Never) => drop(headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"))),
            None => {}
        }
        response
    }
}

/// What a client wrote, cut to what a message has room for.
pub(crate) fn quoted(text: &str) -> String {
    tunebook_quote::quote(text)
}
