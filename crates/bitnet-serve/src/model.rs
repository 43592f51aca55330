//! A model that is served: its text side, the thread that runs it, and who may ask it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Instant,
};

use bitnet_generate::{Batch, Event, Pooling, Request, Vocabulary};
use bitnet_text::{ChatTemplate, TextModel};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc::Receiver, oneshot};

use crate::{
    about::about,
    error::ApiError,
    grammar::{Format, Grammars},
    metrics::ModelMetrics,
    worker::{Command, Embed, Writing},
};

/// Why a model could not be loaded.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

/// A model to serve.
pub struct ModelSource {
    /// What requests call it.
    pub name: String,
    /// Loads it, in a thread of its own.
    pub load: Box<dyn FnOnce() -> Result<LoadedModel, LoadError> + Send>,
}

/// What runs a model, and what its text is.
pub struct LoadedModel {
    /// Runs it.
    pub batch: Batch,
    /// Its tokenizer, template and the ends of its answers.
    pub text: TextModel,
    /// How a text's hidden states become its vector, or why they do not.
    pub pooling: Result<Pooling, String>,
}

/// A model and its state.
pub(crate) struct Model {
    pub(crate) name: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) metrics: Arc<ModelMetrics>,
    ready: OnceLock<Ready>,
}

/// A model that is loaded.
pub(crate) struct Ready {
    pub(crate) text: TextModel,
    pub(crate) template: Option<ChatTemplate>,
    /// Most tokens of a text.
    pub(crate) context: usize,
    pub(crate) end_tokens: Arc<[u32]>,
    /// What it may write.
    pub(crate) vocabulary: Vocabulary,
    /// What `/v1/models` says of it.
    pub(crate) about: Value,
    pooling: Result<Pooling, String>,
    grammars: OnceLock<Result<Grammars, String>>,
    commands: mpsc::Sender<Command>,
    /// The most texts that wait or are written, and what is left of them.
    queue: usize,
    places: Arc<Semaphore>,
    jobs: AtomicU64,
}

/// What comes of the choices of a request. Dropped, it gives them up.
pub(crate) struct Job {
    pub(crate) events: Receiver<(usize, Event)>,
    overrun: Arc<AtomicBool>,
    number: u64,
    commands: mpsc::Sender<Command>,
    _places: OwnedSemaphorePermit,
}

impl Model {
    pub(crate) fn new(name: String, created: u64) -> Self {
        Self {
            name,
            created,
            metrics: Arc::default(),
            ready: OnceLock::new(),
        }
    }

    /// Takes what was loaded, and the channel to its thread.
    pub(crate) fn set_ready(&self, ready: Ready) {
        // It is loaded once.
        let _ = self.ready.set(ready);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.get().is_some()
    }

    /// The loaded model, or that it is not there yet.
    pub(crate) fn ready(&self) -> Result<&Ready, ApiError> {
        self.ready.get().ok_or_else(|| {
            let message = format!("the model {} is being loaded", self.name);
            ApiError::unavailable("loading", message, 2)
        })
    }
}

impl Ready {
    /// # Errors
    /// If the model's template is not Jinja.
    pub(crate) fn new(
        text: TextModel,
        pooling: Result<Pooling, String>,
        batch: &Batch,
        commands: mpsc::Sender<Command>,
        queue: usize,
    ) -> Result<Self, LoadError> {
        let template = text.chat_template()?;
        let context = batch.context();
        let mut about = about(batch.engine());
        about["context_length"] = context.into();
        about["vocab_size"] = text.tokenizer.vocab_size().into();
        about["chat_template"] = template.is_some().into();
        about["end_token"] = (!text.eos.is_empty()).into();
        Ok(Self {
            template,
            context,
            end_tokens: text.eos.as_slice().into(),
            vocabulary: Vocabulary::new(text.tokenizer.vocab_size(), text.tokenizer.holes()),
            about,
            text,
            pooling,
            grammars: OnceLock::new(),
            commands,
            queue,
            places: Arc::new(Semaphore::new(queue)),
            jobs: AtomicU64::new(0),
        })
    }

    /// The constraint of a format. The first builds what all need; it takes a moment.
    pub(crate) fn constraint(
        &self,
        format: &Format,
    ) -> Result<Box<dyn bitnet_generate::Constraint>, ApiError> {
        let made = || Grammars::new(&self.text, self.end_tokens.clone());
        match self.grammars.get_or_init(made) {
            Ok(grammars) => grammars.constraint(format),
            Err(problem) => {
                let message = format!("this model's tokenizer cannot follow a grammar: {problem}");
                Err(ApiError::field("response_format", message))
            }
        }
    }

    /// Places for so many texts, or that there is none.
    pub(crate) fn places(&self, texts: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        if texts > self.queue {
            let most = self.queue;
            let message =
                format!("the request asks for {texts} texts; the server takes {most} at a time");
            return Err(ApiError::request(message).code("too_many_texts"));
        }
        let texts = u32::try_from(texts).unwrap_or(u32::MAX);
        let places = self.places.clone().try_acquire_many_owned(texts);
        places.map_err(|_| {
            let message = "too many requests wait for this model; try again in a moment";
            ApiError::unavailable("overloaded", message, 1)
        })
    }

    /// Has texts written. `buffered` events of each may wait to be taken.
    pub(crate) async fn write(
        &self,
        requests: Vec<Request>,
        places: OwnedSemaphorePermit,
        buffered: usize,
        begin: Instant,
    ) -> Result<Job, ApiError> {
        let (sender, events) = tokio::sync::mpsc::channel(buffered * requests.len().max(1));
        let (taken, answer) = oneshot::channel();
        let job = Job {
            events,
            overrun: Arc::default(),
            number: self.jobs.fetch_add(1, Ordering::Relaxed),
            commands: self.commands.clone(),
            _places: places,
        };
        let writing = Writing {
            job: job.number,
            requests,
            events: sender,
            overrun: job.overrun.clone(),
            taken,
            begin,
        };
        let sent = self.commands.send(Command::Write(writing));
        sent.map_err(|_| stopped())?;
        match answer.await {
            Ok(Ok(())) => Ok(job),
            Ok(Err(problem)) => Err(ApiError::request(problem)),
            Err(_) => Err(stopped()),
        }
    }

    /// How the states of a text become its vector.
    pub(crate) fn pooling(&self) -> Result<Pooling, ApiError> {
        self.pooling.clone().map_err(ApiError::request)
    }

    /// The vector of a text, as long as it comes out.
    pub(crate) async fn embed(
        &self,
        tokens: Vec<u32>,
        pooling: Pooling,
    ) -> Result<Vec<f32>, ApiError> {
        let (vector, answer) = oneshot::channel();
        let embed = Embed {
            tokens,
            pooling,
            vector,
        };
        let sent = self.commands.send(Command::Embed(embed));
        sent.map_err(|_| stopped())?;
        match answer.await {
            Ok(vector) => vector.map_err(|problem| {
                ApiError::status(axum::http::StatusCode::INTERNAL_SERVER_ERROR, problem)
            }),
            Err(_) => Err(stopped()),
        }
    }
}

impl Job {
    /// Gives one of the choices up.
    pub(crate) fn cancel(&self, choice: usize) {
        let job = self.number;
        // A thread that has ended writes nothing any more.
        let _ = self.commands.send(Command::Cancel { job, choice });
    }

    /// Why the events ended before their time.
    pub(crate) fn failure(&self) -> ApiError {
        match self.overrun.load(Ordering::Relaxed) {
            true => ApiError::status(
                axum::http::StatusCode::REQUEST_TIMEOUT,
                "the answer was read too slowly, and given up",
            )
            .code("slow_reader"),
            false => stopped(),
        }
    }
}

fn stopped() -> ApiError {
    let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
    ApiError::status(status, "the model has stopped").code("model_stopped")
}
