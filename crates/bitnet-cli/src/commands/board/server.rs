//! The board's server: a page, and what of it changes.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bitnet_report::{board, board_part};

use super::read;
use crate::args::BoardArgs;
use crate::output;

/// What is shown, and to whom.
struct Shown {
    runs: Vec<PathBuf>,
    host: IpAddr,
}

/// Serves until Ctrl-C.
pub fn serve(args: BoardArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the server cannot be started")?;
    runtime.block_on(async {
        let address = SocketAddr::new(args.host, args.port);
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen at {address}; another --port may be free"))?;
        let address = listener.local_addr()?;
        output::line(&format!("http://{address}/"))?;
        if !args.host.is_loopback() {
            output::say("note: everybody who reaches this address sees the runs");
        }
        let shown = Arc::new(Shown {
            runs: args.runs,
            host: args.host,
        });
        let router = Router::new()
            .route("/", get(page))
            .route("/part", get(part))
            .layer(middleware::from_fn_with_state(Arc::clone(&shown), guard))
            .with_state(shown);
        axum::serve(listener, router)
            .with_graceful_shutdown(ended())
            .await
            .context("the server ended")
    })
}

/// Ctrl-C or SIGTERM.
async fn ended() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut ended) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = ended.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// A page of another site must not read this one by a name that it has pointed here: at a loopback address only names of
/// this machine are answered. Nothing is loaded from elsewhere.
async fn guard(State(shown): State<Arc<Shown>>, request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let name = host.map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    });
    let name = name.unwrap_or_default().trim_matches(['[', ']']);
    let own = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if shown.host.is_loopback() && !own {
        return (
            StatusCode::FORBIDDEN,
            "this is the board of another machine",
        )
            .into_response();
    }
    let mut answer = next.run(request).await;
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors \
             'none'",
        ),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}

async fn page(State(shown): State<Arc<Shown>>) -> Response {
    made(move || board(&read::runs(&shown.runs), true)).await
}

/// Answers with 304 where nothing changed.
async fn part(State(shown): State<Arc<Shown>>, headers: HeaderMap) -> Response {
    let mut answer =
        match tokio::task::spawn_blocking(move || board_part(&read::runs(&shown.runs))).await {
            Ok(part) => part,
            Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        };
    answer.shrink_to_fit();
    let tag = format!("\"{:016x}\"", checksum(answer.as_bytes()));
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes())
    {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let kind = "text/html; charset=utf-8".to_owned();
    ([(header::CONTENT_TYPE, kind), (header::ETAG, tag)], answer).into_response()
}

/// A page that is made away from the threads that answer.
async fn made(make: impl FnOnce() -> String + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(make).await {
        Ok(page) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
