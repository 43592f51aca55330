//! `/`: the page, whose files are part of the program.

use std::sync::Arc;

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

use crate::app::App;
use crate::page::{FILES, POLICY};

/// The path of a file of the page.
pub(super) fn path(path: &str) -> Option<&'static str> {
    crate::page::file(path).map(|file| file.path)
}

pub(super) fn router() -> Router<Arc<App>> {
    FILES.iter().fold(Router::new(), |router, one| {
        router.route(
            one.path,
            get(move || async move { file(one.content_type, one.body) }),
        )
    })
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        // A newer program has a newer page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
