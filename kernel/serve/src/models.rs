//! `/v1/models`: the base model and every adapter, as models.

use axum::extract::Path;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use crate::error::ApiError;
use crate::routes::App;
use crate::wire::json_response;

pub(crate) async fn list(State(app): State<App>) -> Response {
    let models: Vec<_> = app.answerer.models().iter().map(|model| described(model, &app)).collect();
    json_response(&json!({"object": "list", "data": models}))
}

/// `id` is the rest of the path: a model's name may have slashes.
pub(crate) async fn one(State(app): State<App>, Path(id): Path<String>) -> Response {
    match app.answerer.models().contains(&id) {
        true => json_response(&described(&id, &app)),
        false => ApiError::unknown_model(&id).into_response(),
    }
}

fn described(id: &str, app: &App) -> Value {
    json!({"id": id, "object": "model", "created": app.started, "owned_by": "tunebook"})
}
