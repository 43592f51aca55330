//! `/v1/models`, `/health`, `/metrics`: what there is, and how it does.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use crate::{app::App, error::ApiError, model::Model};

pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let data: Vec<Value> = app
        .models
        .iter()
        .map(|model| describe(&app, model))
        .collect();
    Json(json!({"object": "list", "data": data}))
}

pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let model = app.model(Some(&name))?;
    Ok(Json(describe(&app, model)))
}

/// As OpenAI has it, with the model's other names and what it is under `meta`, as llama-server does.
fn describe(app: &App, model: &Arc<Model>) -> Value {
    let stands_for = |index: usize| Arc::ptr_eq(&app.models[index], model);
    let names = app.names.iter().filter(|(_, index)| stands_for(**index));
    let aliases: Vec<&String> = names
        .map(|(name, _)| name)
        .filter(|n| **n != model.name)
        .collect();
    let mut about = json!({
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "bitnet",
        "aliases": aliases,
        "status": "loading",
    });
    if let Ok(ready) = model.ready() {
        about["status"] = "ready".into();
        about["meta"] = ready.about.clone();
    }
    about
}

/// 200 as soon as every model is loaded, and until the server ends.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    let status = match app.models.iter().all(|model| model.is_ready()) {
        _ if app.is_ending() => "ending",
        true => "ok",
        false => "loading",
    };
    let code = match status {
        "ok" => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = (code, Json(json!({"status": status}))).into_response();
    if code != StatusCode::OK {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    response
}

pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let models = app.models.iter();
    let text = app
        .metrics
        .text(models.map(|model| (model.name.as_str(), &*model.metrics)));
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
