//! What is refused, in OpenAI's words: `{"error": {"message", "type", "param", "code"}}`.

use std::{io, net::SocketAddr};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// Why a server does not run, or runs no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}; choose another with --host and --port")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Threads or signals are not to be had.
    #[error("cannot run a server: {0}")]
    System(#[from] io::Error),
    /// Two models answer to one name.
    #[error("two models are called {0:?}; name them, as in NAME=MODEL")]
    Name(String),
    /// An alias stands for nothing.
    #[error("the alias {alias:?} stands for {model:?}, which is no model here; there are {known}")]
    Alias {
        /// The alias.
        alias: String,
        /// What it stands for.
        model: String,
        /// The models' names.
        known: String,
    },
    /// A model cannot be loaded.
    #[error("{name}: {problem}")]
    Load {
        /// The model.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value that no header can hold.
    #[error("{0:?} is no origin; give one as https://example.org, or *")]
    Origin(String),
    /// A model's thread panicked.
    #[error(
        "the model {0} stopped because of a defect of this program; set RUST_BACKTRACE=1 to see where and report it"
    )]
    Stopped(String),
}

/// What a request is answered instead of what it asks for.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
    message: String,
    /// Seconds after which it is worth another try.
    retry_after: Option<u32>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            param: None,
            code: None,
            message: message.into(),
            retry_after: None,
        }
    }

    /// The request is wrong as a whole.
    pub(crate) fn request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A field is wrong.
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::request(message);
        error.param = Some(param.into());
        error
    }

    /// A field that OpenAI has and this server has not.
    pub(crate) fn unsupported(param: impl Into<String>) -> Self {
        let param = param.into();
        let message = format!("`{param}` is not supported by this server; leave it out");
        Self::field(param, message).code("unsupported_parameter")
    }

    /// A field that nobody knows.
    pub(crate) fn unknown(param: impl Into<String>) -> Self {
        let param = param.into();
        let message = format!("`{param}` is not a field of this request; leave it out");
        Self::field(param, message).code("unknown_parameter")
    }

    /// Another status than 400.
    pub(crate) fn status(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = match status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        Self::new(status, kind, message)
    }

    /// Not now, but later.
    /// What a request hears while the server ends.
    pub(crate) fn ending() -> Self {
        Self::unavailable("shutting_down", "the server is shutting down", 5)
    }

    pub(crate) fn unavailable(
        code: &'static str,
        message: impl Into<String>,
        seconds: u32,
    ) -> Self {
        let mut error = Self::status(StatusCode::SERVICE_UNAVAILABLE, message).code(code);
        error.retry_after = Some(seconds);
        error
    }

    /// There is nothing of this name.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::status(StatusCode::NOT_FOUND, message)
    }

    /// The field that is meant.
    pub(crate) fn at(mut self, param: &str) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// A word for the metrics and the log.
    pub(crate) fn reason(&self) -> &'static str {
        self.code.unwrap_or(self.kind)
    }

    /// The body.
    pub(crate) fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

/// Beside a refusal, for the log and the metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused(pub(crate) &'static str);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Refused(self.reason()));
        response
    }
}
