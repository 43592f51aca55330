//! `/`: the page, whose files are part of the program.

use std::sync::Arc;

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

use crate::app::App;

/// Path, type and text of each file.
const FILES: [(&str, &str, &str); 1] = [(
    "/",
    "text/html; charset=utf-8",
    include_str!("../../page/index.html"),
)];
/// Nothing from elsewhere, and no script that does not lie in a file of its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The path of a file of the page.
pub(super) fn path(path: &str) -> Option<&'static str> {
    let mut paths = FILES.iter().map(|(known, ..)| *known);
    paths.find(|known| *known == path)
}

pub(super) fn router() -> Router<Arc<App>> {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, get(move || async move { file(kind, text) }))
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
