//! How chats and completions are answered: as a whole, or in pieces while the model writes.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bitnet_generate::{Request, TokenLogprobs};
use bitnet_text::AnswerText;
use serde_json::Value;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::reply::{Kind, Reply, Usage};
use crate::{
    answer::{Answering, Piece, Step, Told},
    app::App,
    asked::{Asked, MaxTokens},
    error::ApiError,
    guard::Visit,
    log::Entry,
    model::Model,
};

/// A stream says something at least so often.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A text to continue.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) tokens: Vec<u32>,
    /// Tokens that the model's start of a text takes: no part of the text.
    pub(crate) start: usize,
    /// Its text, if the answer is to begin with it.
    pub(crate) echo: Option<String>,
}

impl Prompt {
    pub(crate) fn of_tokens(tokens: Vec<u32>) -> Self {
        Self {
            tokens,
            start: 0,
            echo: None,
        }
    }
}

/// A request that was understood, with its places in the batch.
pub(crate) struct Asking {
    model: Arc<Model>,
    asked: Asked,
    kind: Kind,
    prompts: Vec<Prompt>,
    requests: Vec<Request>,
    texts: Vec<AnswerText>,
    places: OwnedSemaphorePermit,
}

impl Asking {
    /// The choices of all prompts, `param` of the request.
    pub(crate) fn new(
        app: &App,
        model: Arc<Model>,
        asked: Asked,
        kind: Kind,
        (prompts, param): (Vec<Prompt>, &str),
        places: OwnedSemaphorePermit,
    ) -> Result<Self, ApiError> {
        let (mut requests, mut texts) = (Vec::new(), Vec::new());
        let ready = model.ready()?;
        let limits = &app.settings.limits;
        if prompts.len() * asked.n > limits.choices {
            let message = format!("`n`: more than {} choices in all", limits.choices);
            return Err(ApiError::field("n", message));
        }
        for prompt in &prompts {
            let (tokens, context) = (prompt.tokens.len(), ready.context);
            if tokens == 0 {
                let message =
                    format!("`{param}` is empty, and the model has no token to begin with");
                return Err(ApiError::field(param, message));
            }
            if tokens > context {
                let message = format!(
                    "this model's context is {context} tokens, `{param}` has {tokens}; make it shorter"
                );
                return Err(ApiError::field(param, message).code("context_length_exceeded"));
            }
            // The last token is written without being read.
            let room = (context + 1 - tokens).min(limits.answer_tokens);
            let max_tokens = match asked.max_tokens {
                MaxTokens::At(most) => most.min(room),
                MaxTokens::Absent | MaxTokens::Room => room,
            };
            for _ in 0..asked.n {
                let format = asked.format.as_ref();
                requests.push(Request {
                    prompt: prompt.tokens.clone(),
                    max_tokens,
                    sampling: asked.sampling(ready.text.defaults, requests.len()),
                    end_tokens: ready.end_tokens.clone(),
                    vocabulary: ready.vocabulary.clone(),
                    logprobs: asked.logprobs,
                    prompt_logprobs: prompt.echo.is_some() && asked.logprobs.is_some(),
                    constraint: format.map(|format| ready.constraint(format)).transpose()?,
                });
                texts.push(AnswerText::new(&ready.text, asked.stop.clone(), false));
            }
        }
        Ok(Self {
            model,
            asked,
            kind,
            prompts,
            requests,
            texts,
            places,
        })
    }
}

/// Reads a body, makes of it what is asked for, and answers.
pub(crate) async fn understand_and_answer(
    app: Arc<App>,
    visit: Visit,
    body: Body,
    understand: fn(&App, &[u8]) -> Result<Asking, ApiError>,
) -> Result<Response, ApiError> {
    let whole = visit.read(&app, body).await?;
    let begin = Instant::now();
    let shared = app.clone();
    let asking = app.understand(move || understand(&shared, &whole.bytes));
    let asking = asking.await?;
    answer(&app, visit, asking, begin).await
}

/// Has a request written, and answers it.
async fn answer(
    app: &Arc<App>,
    visit: Visit,
    asking: Asking,
    begin: Instant,
) -> Result<Response, ApiError> {
    let Asking {
        model,
        asked,
        kind,
        prompts,
        requests,
        texts,
        places,
    } = asking;
    let limits = &app.settings.limits;
    let prompt_tokens = prompts.iter().map(|prompt| prompt.tokens.len()).sum();
    let entry = visit.entry;
    entry.set(|record| {
        record.model = Some(model.name.clone());
        record.stream = asked.stream;
        record.prompt_tokens = Some(prompt_tokens);
    });
    let buffered = limits.buffered_events;
    let job = model
        .ready()?
        .write(requests, places, buffered, begin)
        .await?;
    let answering = Answering::new(
        job,
        texts,
        begin + limits.request_time,
        app.closing.subscribe(),
    );
    let written = Written {
        reply: Reply::new(kind, model, prompts, &asked),
        answering,
        entry,
        begin,
        n: asked.n,
        prompt_tokens,
        finish: None,
    };
    match asked.stream {
        true => Ok(stream(written, asked.include_usage)),
        false => whole(written).await,
    }
}

/// An answer that is being written, and what is noted of it in the end.
struct Written {
    reply: Reply,
    answering: Answering,
    entry: Entry,
    begin: Instant,
    n: usize,
    prompt_tokens: usize,
    /// Why it ended; none as long as it has not, or if the client left.
    finish: Option<&'static str>,
}

impl Written {
    async fn next(&mut self) -> Result<Option<Step>, ApiError> {
        let step = self.answering.next().await;
        match &step {
            Ok(Some(Step::Text(piece))) => {
                let first = self.begin.elapsed().as_millis() as u64;
                self.entry.set(|record| {
                    record.first_ms.get_or_insert(first);
                });
                self.entry.add_text(&piece.text);
                if piece.finish.is_some() && self.finish != Some("length") {
                    self.finish = piece.finish;
                }
            }
            Ok(_) => {}
            Err(_) => self.finish = Some("error"),
        }
        step
    }

    fn usage(&self) -> Usage {
        Usage {
            prompt: self.prompt_tokens,
            cached: self.answering.cached(self.n),
            completion: self.answering.written(),
        }
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let (usage, ended) = (self.usage(), self.answering.has_ended());
        let finish = match self.finish {
            Some("error") => "error",
            Some(finish) if ended => finish,
            _ => "gone",
        };
        self.entry.set(|record| {
            record.cached_tokens = Some(usage.cached);
            record.completion_tokens = Some(usage.completion);
            record.finish = Some(finish);
        });
    }
}

/// A choice that is collected.
#[derive(Default)]
struct Collected {
    text: String,
    tokens: Vec<Told>,
    prompt: Vec<TokenLogprobs>,
    finish: Option<&'static str>,
}

async fn whole(mut written: Written) -> Result<Response, ApiError> {
    let mut choices: Vec<Collected> = Vec::new();
    choices.resize_with(written.reply.choices(), Collected::default);
    while let Some(step) = written.next().await? {
        match step {
            Step::Reading { .. } => {}
            Step::Prompt { choice, tokens } => choices[choice].prompt = tokens,
            Step::Text(piece) => {
                let choice = &mut choices[piece.choice];
                choice.text.push_str(&piece.text);
                choice.tokens.extend(piece.tokens);
                choice.finish = piece.finish;
            }
        }
    }
    let reply = &written.reply;
    let choices = choices.into_iter().enumerate();
    let choices: Vec<Value> = choices
        .map(|(index, c)| reply.choice(index, &c.text, (&c.prompt, &c.tokens), c.finish))
        .collect();
    Ok(Json(reply.whole(choices, written.usage())).into_response())
}

/// A stream of events.
struct Events {
    written: Written,
    frames: VecDeque<Bytes>,
    include_usage: bool,
    done: bool,
}

fn stream(written: Written, include_usage: bool) -> Response {
    let mut events = Events {
        written,
        frames: VecDeque::new(),
        include_usage,
        done: false,
    };
    for chunk in events.written.reply.first_chunks() {
        events.push(chunk);
    }
    let frames = futures_util::stream::unfold(events, |mut events| async move {
        let frame = events.next().await?;
        Some((Ok::<_, Infallible>(frame), events))
    });
    let mut response = Body::from_stream(frames).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Proxies hold answers back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            if self.done {
                return None;
            }
            match timeout(HEARTBEAT, self.written.next()).await {
                Err(_) => return Some(": waiting\n\n".into()),
                Ok(Ok(Some(step))) => self.take(step),
                Ok(Ok(None)) => {
                    if self.include_usage {
                        let chunk = self.written.reply.usage_chunk(self.written.usage());
                        self.push(chunk);
                    }
                    self.end();
                }
                Ok(Err(error)) => {
                    self.push(error.body());
                    self.end();
                }
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Reading { read, of } if read < of => {
                let comment = format!(": {read} of {of} tokens of the prompt are read\n\n");
                self.frames.push_back(comment.into());
            }
            Step::Reading { .. } => {}
            Step::Prompt { choice, tokens } => {
                let chunk = self.written.reply.prompt_chunk(choice, &tokens);
                chunk.into_iter().for_each(|chunk| self.push(chunk));
            }
            Step::Text(Piece {
                choice,
                text,
                tokens,
                finish,
            }) => {
                let reply = &mut self.written.reply;
                let chunks = reply.chunks(choice, &text, &tokens, finish);
                chunks.into_iter().for_each(|chunk| self.push(chunk));
            }
        }
    }

    fn push(&mut self, chunk: Value) {
        self.frames.push_back(format!("data: {chunk}\n\n").into());
    }

    fn end(&mut self) {
        self.frames.push_back("data: [DONE]\n\n".into());
        self.done = true;
    }
}
