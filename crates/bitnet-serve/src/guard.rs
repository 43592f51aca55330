//! What is checked of every request before anything is done for it, and what is noted of it.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Extension, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;

use crate::{
    api,
    app::{App, Whole},
    connection::{Connection, Mark},
    error::{ApiError, Refused},
    log::Entry,
};

/// What is known of whoever asks.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) entry: Entry,
    connection: Arc<Connection>,
    mark: Mark,
}

impl Visit {
    /// The request's body. From here on the connection is not closed to make room for another.
    pub(crate) async fn read(&self, app: &App, body: Body) -> Result<Whole, ApiError> {
        let whole = app.read(body).await?;
        self.mark.set(&self.connection);
        self.entry.set_request(&whole.bytes);
        Ok(whole)
    }
}

/// Checks a request, has it answered, and counts and logs it.
pub(crate) async fn guard(
    State(app): State<Arc<App>>,
    Extension(connection): Extension<Arc<Connection>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = api::known_path(request.uri().path());
    let method = request.method().to_string().chars().take(16).collect();
    let entry = Entry::new(&app.log, connection.peer.to_string(), method, path);
    let visit = Visit {
        entry: entry.clone(),
        connection: connection.clone(),
        mark: Mark::default(),
    };
    request.extensions_mut().insert(visit.clone());
    let mut response = match check(&app, path, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let status = response.status();
    app.metrics.request(path, status.as_u16());
    let refused = response
        .extensions()
        .get::<Refused>()
        .map(|refused| refused.0);
    if let Some(reason) = refused {
        app.metrics.rejection(reason);
    }
    entry.set(|record| {
        record.status = status.as_u16();
        record.refused = refused;
    });
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if app.is_ending() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    visit.mark.set(&connection);
    response.map(|body| {
        Body::new(Noted {
            body,
            _visit: visit,
        })
    })
}

/// A body whose end is noted: the log's line is written, and the connection idles.
struct Noted {
    body: Body,
    _visit: Visit,
}

impl HttpBody for Noted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn check(app: &App, path: &str, request: &Request) -> Result<(), ApiError> {
    check_host(app, request)?;
    check_origin(app, request.headers())?;
    if api::needs_key(path) {
        check_key(&app.settings.api_keys, request.headers())?;
    }
    if app.is_ending() && request.method() == Method::POST {
        return Err(ApiError::ending());
    }
    Ok(())
}

/// A page of somebody else's whose name was made to stand for loopback names itself in `Host`.
fn check_host(app: &App, request: &Request) -> Result<(), ApiError> {
    let Some(host) = request.headers().get(header::HOST) else {
        return match request.version() {
            Version::HTTP_11 => Err(ApiError::request("there is no `Host` header")),
            _ => Ok(()),
        };
    };
    if !app.settings.address.ip().is_loopback() {
        return Ok(());
    }
    let name = host.to_str().map(host_name).unwrap_or_default();
    let is_loopback = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    };
    let mut allowed = app.settings.allowed_hosts.iter();
    if is_loopback || allowed.any(|allowed| allowed.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let message = "this server listens on loopback and does not answer to the name in `Host`; --allow-host has it do so";
    Err(ApiError::status(StatusCode::FORBIDDEN, message).code("host_not_allowed"))
}

/// A host without its port.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => &host[..end + 2],
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// A page may ask the server that it is from, and others that were told to allow it.
fn check_origin(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let own = origin.split_once("://").map(|(_, authority)| authority);
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let mut allowed = app.settings.cors.iter();
    if (own.is_some() && own == host) || allowed.any(|allowed| allowed == "*" || allowed == origin)
    {
        return Ok(());
    }
    let message = "pages of this origin may not ask; --cors allows it";
    Err(ApiError::status(StatusCode::FORBIDDEN, message).code("origin_not_allowed"))
}

/// Compares with every key, in a time that does not tell how much of one is right.
fn check_key(keys: &[String], headers: &HeaderMap) -> Result<(), ApiError> {
    if keys.is_empty() {
        return Ok(());
    }
    let given = headers
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes);
    let given = given.and_then(|value| match value.split_at_checked(7) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(key),
        _ => None,
    });
    let Some(given) = given else {
        let message = "there is no key; give one as `Authorization: Bearer KEY`";
        return Err(ApiError::status(StatusCode::UNAUTHORIZED, message).code("missing_api_key"));
    };
    let found = keys.iter().map(|key| key.as_bytes().ct_eq(given));
    let found = found.fold(subtle::Choice::from(0), |any, one| any | one);
    match bool::from(found) {
        true => Ok(()),
        false => {
            let message = "the key is wrong";
            Err(ApiError::status(StatusCode::UNAUTHORIZED, message).code("invalid_api_key"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_without_its_port() {
        for (host, name) in [
            ("localhost", "localhost"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:8080", "[::1]"),
            ("[::1", "["),
            ("", ""),
        ] {
            assert_eq!(host_name(host), name);
        }
    }

    #[test]
    fn a_key_is_right_or_wrong_as_a_whole() {
        let keys = ["alpha".to_owned(), "beta".to_owned()];
        let ask = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            check_key(&keys, &headers).is_ok()
        };
        assert!(ask(Some("Bearer beta")) && ask(Some("bearer alpha")));
        for wrong in [
            "Bearer alph",
            "Bearer alphaa",
            "Bearer ",
            "alpha",
            "Basic alpha",
        ] {
            assert!(!ask(Some(wrong)), "{wrong}");
        }
        assert!(!ask(None));
        assert!(check_key(&[], &HeaderMap::new()).is_ok());
    }
}
