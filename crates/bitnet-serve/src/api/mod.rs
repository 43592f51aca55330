//! The endpoints.
//!
//! | file | endpoint |
//! |---|---|
//! | `chat`, `completions` | `/v1/chat/completions`, `/v1/completions`: what is asked |
//! | `generate`, `reply` | both: how it is answered, whole or in pieces; in which shapes |
//! | `embeddings` | `/v1/embeddings` |
//! | `models` | `/v1/models`, `/health`, `/metrics` |
//! | `text` | `/tokenize`, `/detokenize`, `/apply-template` |
//! | `page` | `/` and its files |

mod chat;
mod completions;
mod embeddings;
mod generate;
mod models;
mod page;
mod reply;
mod text;

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowOrigin, CorsLayer},
};

use crate::{
    app::App,
    error::{ApiError, ServeError},
    guard::guard,
};

/// Paths as the metrics and the log call them.
const PATHS: [&str; 9] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/models",
    "/health",
    "/metrics",
    "/tokenize",
    "/detokenize",
    "/apply-template",
];

/// The path as it is counted: what nobody knows is `other`.
pub(crate) fn known_path(path: &str) -> &'static str {
    if path.starts_with("/v1/models/") {
        return "/v1/models";
    }
    let known = PATHS.into_iter().find(|known| *known == path);
    known.or(page::path(path)).unwrap_or("other")
}

/// Whether a path is for those alone who have a key. The page and `/health` tell nothing.
pub(crate) fn needs_key(path: &str) -> bool {
    path != "/health" && page::path(path).is_none()
}

/// All endpoints.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/v1/chat/completions", post(chat::chat))
        .route("/v1/completions", post(completions::completions))
        .route("/v1/embeddings", post(embeddings::embeddings))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::one))
        .route("/health", get(models::health))
        .route("/metrics", get(models::metrics))
        .route("/tokenize", post(text::tokenize))
        .route("/detokenize", post(text::detokenize))
        .route("/apply-template", post(text::apply_template))
        .merge(page::router())
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(|_| panicked()))
        .layer(from_fn_with_state(app.clone(), guard));
    // The origins were checked when the server was made.
    if let Ok(Some(origins)) = origins(&app.settings.cors) {
        let cors = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE]);
        router = router.layer(cors);
    }
    router.with_state(app)
}

/// The origins whose pages may ask; none if there is none.
///
/// # Errors
/// If one of them is no origin.
pub(crate) fn origins(cors: &[String]) -> Result<Option<AllowOrigin>, ServeError> {
    if cors.iter().any(|origin| origin == "*") {
        return Ok(Some(AllowOrigin::any()));
    }
    let origin = |text: &String| {
        let value = HeaderValue::from_str(text).ok();
        let value = value.filter(|_| text.contains("://") && !text.ends_with('/'));
        value.ok_or_else(|| ServeError::Origin(text.clone()))
    };
    let origins: Vec<HeaderValue> = cors.iter().map(origin).collect::<Result<_, _>>()?;
    Ok((!origins.is_empty()).then(|| AllowOrigin::list(origins)))
}

async fn unknown(request: Request) -> ApiError {
    let path: String = request.uri().path().chars().take(80).collect();
    ApiError::not_found(format!("there is nothing at {path}")).code("unknown_path")
}

async fn wrong_method(request: Request) -> ApiError {
    let message = format!("{} is not for this path", request.method());
    ApiError::status(StatusCode::METHOD_NOT_ALLOWED, message).code("wrong_method")
}

fn panicked() -> Response {
    let message = "a defect of the server; its message is in the log";
    ApiError::status(StatusCode::INTERNAL_SERVER_ERROR, message)
        .code("internal_error")
        .into_response()
}
