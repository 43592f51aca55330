//! The thread that runs a model: it takes what is asked over a channel, lets the batch go on step by step, and tells what
//! comes of it over others.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Instant,
};

use bitnet_generate::{Batch, Embedding, Event, Pooling, Request, RequestId};
use tokio::sync::{
    mpsc::{Sender, error::TrySendError},
    oneshot,
};

use crate::{metrics::ModelMetrics, turns::Turns};

/// Tokens of a text to embed that are read between two steps of the batch.
const EMBED_PIECE: usize = 128;

/// What a model's thread is asked.
pub(crate) enum Command {
    /// Texts to write, all or none of them.
    Write(Writing),
    /// One of them is of no use any more.
    Cancel { job: u64, choice: usize },
    /// A text to embed.
    Embed(Embed),
}

/// The choices of a request.
pub(crate) struct Writing {
    /// A number of the request's own.
    pub(crate) job: u64,
    pub(crate) requests: Vec<Request>,
    /// Gets what is told, with the number of the choice. Whoever closes it does not want the rest.
    pub(crate) events: Sender<(usize, Event)>,
    /// Becomes true when an event was lost because too many waited.
    pub(crate) overrun: Arc<AtomicBool>,
    /// Whether the batch takes them.
    pub(crate) taken: oneshot::Sender<Result<(), String>>,
    /// When it was asked for.
    pub(crate) begin: Instant,
}

/// Where a text's vector goes, or why there is none.
type Vector = oneshot::Sender<Result<Vec<f32>, String>>;

/// A text to embed.
pub(crate) struct Embed {
    pub(crate) tokens: Vec<u32>,
    pub(crate) pooling: Pooling,
    pub(crate) vector: Vector,
}

/// A text that the batch writes.
struct Running {
    job: u64,
    choice: usize,
    events: Sender<(usize, Event)>,
    overrun: Arc<AtomicBool>,
    begin: Instant,
    last_token: Option<Instant>,
}

/// The thread's own.
struct Worker {
    batch: Batch,
    commands: mpsc::Receiver<Command>,
    running: HashMap<RequestId, Running>,
    embeddings: VecDeque<(Embedding, Vector)>,
    metrics: Arc<ModelMetrics>,
    turns: Arc<Turns>,
}

/// Runs the batch until nobody can ask any more. Returns whether it ended well.
pub(crate) fn run(
    batch: Batch,
    commands: mpsc::Receiver<Command>,
    metrics: Arc<ModelMetrics>,
    turns: Arc<Turns>,
) -> bool {
    let mut worker = Worker {
        batch,
        commands,
        running: HashMap::new(),
        embeddings: VecDeque::new(),
        metrics,
        turns,
    };
    // What the batch holds is dropped with it, and so are the channels: whoever waits learns of it.
    catch_unwind(AssertUnwindSafe(|| worker.run())).is_ok()
}

impl Worker {
    fn run(&mut self) {
        loop {
            if self.running.is_empty() && self.embeddings.is_empty() {
                match self.commands.recv() {
                    Ok(command) => self.take(command),
                    Err(_) => return,
                }
            }
            while let Ok(command) = self.commands.try_recv() {
                self.take(command);
            }
            self.drop_unwanted();
            let turns = self.turns.clone();
            turns.take(|| {
                self.step();
                self.embed();
            });
            self.metrics.set_batch(
                self.batch.queued(),
                self.batch.running(),
                self.batch.kv_bytes_used(),
            );
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Write(writing) => self.submit(writing),
            Command::Cancel { job, choice } => {
                let is_meant = |r: &Running| (r.job, r.choice) == (job, choice);
                self.cancel_where(is_meant);
            }
            Command::Embed(asked) => {
                match Embedding::new(self.batch.engine(), asked.tokens, asked.pooling) {
                    Ok(embedding) => self.embeddings.push_back((embedding, asked.vector)),
                    // Whoever asked may have gone.
                    Err(error) => drop(asked.vector.send(Err(error.to_string()))),
                }
            }
        }
    }

    fn submit(&mut self, writing: Writing) {
        if writing.events.is_closed() {
            return;
        }
        let mut taken = Vec::new();
        for (choice, request) in writing.requests.into_iter().enumerate() {
            match self.batch.submit(request) {
                Ok(id) => taken.push(id),
                Err(error) => {
                    taken.into_iter().for_each(|id| self.cancel(id));
                    // Whoever asked may have gone.
                    let _ = writing.taken.send(Err(error.to_string()));
                    return;
                }
            }
            let id = taken[choice];
            self.running.insert(
                id,
                Running {
                    job: writing.job,
                    choice,
                    events: writing.events.clone(),
                    overrun: writing.overrun.clone(),
                    begin: writing.begin,
                    last_token: None,
                },
            );
        }
        let _ = writing.taken.send(Ok(()));
    }

    fn cancel(&mut self, id: RequestId) {
        self.batch.cancel(id);
        self.running.remove(&id);
    }

    fn cancel_where(&mut self, is_meant: impl Fn(&Running) -> bool) {
        let meant = self.running.iter().filter(|(_, running)| is_meant(running));
        let meant: Vec<RequestId> = meant.map(|(id, _)| *id).collect();
        meant.into_iter().for_each(|id| self.cancel(id));
    }

    /// Gives up what nobody waits for.
    fn drop_unwanted(&mut self) {
        let metrics = self.metrics.clone();
        self.cancel_where(|running| {
            let gone = running.events.is_closed();
            if gone {
                metrics.cancelled();
            }
            gone
        });
        self.embeddings.retain(|(_, vector)| !vector.is_closed());
    }

    fn step(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let (running, metrics) = (&mut self.running, &self.metrics);
        let mut lost = Vec::new();
        self.batch.step(&mut |id, event| {
            let Some(text) = running.get_mut(&id) else {
                return;
            };
            observe(metrics, text, &event);
            let ends = matches!(event, Event::Finished { .. } | Event::Failed(_));
            let choice = text.choice;
            if let Err(error) = text.events.try_send((choice, event)) {
                match error {
                    TrySendError::Full(_) => {
                        text.overrun.store(true, Ordering::Relaxed);
                        metrics.overrun();
                    }
                    TrySendError::Closed(_) => metrics.cancelled(),
                }
                lost.push(id);
            }
            if ends {
                running.remove(&id);
            }
        });
        lost.into_iter().for_each(|id| self.cancel(id));
    }

    /// Reads a piece of the first text to embed.
    fn embed(&mut self) {
        let Some((embedding, _)) = self.embeddings.front_mut() else {
            return;
        };
        let done = embedding.read(self.batch.engine_mut(), EMBED_PIECE);
        if matches!(done, Ok(false)) {
            return;
        }
        if let Some((embedding, vector)) = self.embeddings.pop_front() {
            let finished = || {
                let vector = embedding.finish(true);
                vector.ok_or_else(|| "the model's hidden state is not finite".to_owned())
            };
            let result = done.map_err(|error| error.to_string());
            // Whoever asked may have gone.
            let _ = vector.send(result.and_then(|_| finished()));
        }
    }
}

fn observe(metrics: &ModelMetrics, text: &mut Running, event: &Event) {
    match event {
        Event::Token(_) => {
            let now = Instant::now();
            match text.last_token.replace(now) {
                None => metrics.first_token(now - text.begin),
                Some(before) => metrics.next_token(now - before),
            }
        }
        Event::Prompt { read, cached, of } if read == of => metrics.prompt(*of, *cached),
        _ => {}
    }
}
