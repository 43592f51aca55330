//! What all requests share.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, HttpBody},
    http::StatusCode,
};
use http_body_util::BodyExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{timeout, timeout_at},
};

use crate::{error::ApiError, log::Log, metrics::Metrics, model::Model, settings::Settings};

/// Requests that are understood at a time, each on a thread: cutting a long text takes a moment.
const UNDERSTOOD: usize = 4;
/// Time in which the rest of a refused body is thrown away, so that its client reads why.
const DRAIN: Duration = Duration::from_secs(1);
/// Bytes that the budget of bodies counts in.
const UNIT: usize = 1 << 10;

/// What all requests share.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) models: Vec<Arc<Model>>,
    /// Names that stand for a model, its own too.
    pub(crate) names: BTreeMap<String, usize>,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    /// Whether the server is told to end: it takes nothing new.
    pub(crate) ending: watch::Sender<bool>,
    /// Whether the time for running answers is over: what is not whole says so.
    pub(crate) closing: watch::Sender<bool>,
    bodies: Arc<Semaphore>,
    understanding: Semaphore,
}

/// A body, and its share of what all bodies may take.
pub(crate) struct Whole {
    pub(crate) bytes: Vec<u8>,
    _share: OwnedSemaphorePermit,
}

impl App {
    pub(crate) fn new(
        settings: Settings,
        models: Vec<Arc<Model>>,
        names: BTreeMap<String, usize>,
        log: Log,
    ) -> Self {
        let units = settings.limits.bodies_bytes.max(settings.limits.body_bytes) / UNIT;
        Self {
            bodies: Arc::new(Semaphore::new(units + 1)),
            settings,
            models,
            names,
            metrics: Metrics::default(),
            log,
            ending: watch::Sender::new(false),
            closing: watch::Sender::new(false),
            understanding: Semaphore::new(UNDERSTOOD),
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// The model that a request names; the only one, if it names none.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<&Arc<Model>, ApiError> {
        let known = || {
            let names: Vec<&str> = self.models.iter().map(|m| m.name.as_str()).collect();
            names.join(", ")
        };
        let index = match (name, &self.models[..]) {
            (Some(name), _) => self.names.get(name).copied(),
            (None, [_]) => Some(0),
            (None, _) => {
                let message = format!("`model` is missing; there are {}", known());
                return Err(ApiError::field("model", message));
            }
        };
        index
            .and_then(|index| self.models.get(index))
            .ok_or_else(|| {
                let name: String = name.unwrap_or_default().chars().take(80).collect();
                let message = format!("there is no model {name:?}; there are {}", known());
                ApiError::not_found(message)
                    .at("model")
                    .code("model_not_found")
            })
    }

    /// Reads a body within its limits.
    pub(crate) async fn read(&self, body: Body) -> Result<Whole, ApiError> {
        let limits = &self.settings.limits;
        let deadline = Instant::now() + limits.body_time;
        let read = timeout_at(deadline.into(), self.read_within(body));
        read.await.unwrap_or_else(|_| {
            let message = format!(
                "the body did not arrive within {} s",
                limits.body_time.as_secs_f64()
            );
            Err(ApiError::status(StatusCode::REQUEST_TIMEOUT, message).code("body_timeout"))
        })
    }

    async fn read_within(&self, mut body: Body) -> Result<Whole, ApiError> {
        let most = self.settings.limits.body_bytes;
        let mut bytes = Vec::new();
        let mut share = self.share(1)?;
        let mut room = UNIT;
        let announced = HttpBody::size_hint(&body).lower();
        let mut is_long = announced > most as u64;
        while !is_long {
            let Some(frame) = body.frame().await else {
                let _share = share;
                return Ok(Whole { bytes, _share });
            };
            let frame = frame.map_err(|_| ApiError::request("the body broke off"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            is_long = bytes.len() + data.len() > most;
            if !is_long {
                let needed = bytes.len() + data.len();
                if needed > room {
                    let units = (needed - room).div_ceil(UNIT);
                    share.merge(self.share(units)?);
                    room += units * UNIT;
                }
                bytes.extend_from_slice(&data);
            }
        }
        drop((bytes, share));
        // Whoever is still sending does not read yet.
        let rest = async { while let Some(Ok(_)) = body.frame().await {} };
        let _ = timeout(DRAIN, rest).await;
        let message = format!("the body has more than {most} bytes");
        Err(ApiError::status(StatusCode::PAYLOAD_TOO_LARGE, message).code("body_too_large"))
    }

    fn share(&self, units: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let share = self.bodies.clone().try_acquire_many_owned(units);
        share.map_err(|_| {
            let message = "the server reads too many requests at a time; try again in a moment";
            ApiError::unavailable("overloaded", message, 1)
        })
    }

    /// Does what takes a moment on a thread that nobody else waits for.
    pub(crate) async fn understand<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let failed = || {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            ApiError::status(
                status,
                "the request could not be understood: a defect of the server",
            )
        };
        let _turn = self.understanding.acquire().await.map_err(|_| failed())?;
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(_) => Err(failed()),
        }
    }
}
