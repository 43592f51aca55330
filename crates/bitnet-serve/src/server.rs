//! The server itself: it listens, loads its models, answers, and ends in good order.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    sync::{mpsc as channel, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tower::ServiceExt;

use crate::{
    api,
    app::App,
    connection::{Added, Connection, Connections, Timed},
    error::ServeError,
    log::{Log, Sink},
    model::{Model, ModelSource, Ready},
    settings::Settings,
    turns::Turns,
    worker,
};

/// Connections that the system may hold before they are taken.
const BACKLOG: u32 = 4096;
/// Threads that speak with clients; the models have their own.
const THREADS: usize = 2;
/// Threads that understand requests.
const BLOCKING_THREADS: usize = 8;
/// Time to say that an answer ends unfinished.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The pause after the system had no file descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// A server that listens and has not begun to answer.
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    sources: Vec<ModelSource>,
    stop: watch::Sender<bool>,
}

/// Ends a server: running answers have some time, then it is over.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Asks it to end. More than once is as good as once.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// What a thread tells of its model.
enum News {
    Loaded(usize, Box<Ready>),
    Failed(usize, String),
    Stopped(usize),
}

impl Server {
    /// Listens. `aliases` are further names, each with the model that it stands for; `sink` gets the lines of the log.
    ///
    /// # Errors
    /// If the address cannot be had, a name stands for two models or an alias for none, or an origin is none.
    pub fn bind(
        settings: Settings,
        sources: Vec<ModelSource>,
        aliases: &[(String, String)],
        sink: Sink,
    ) -> Result<Self, ServeError> {
        let names = names(&sources, aliases)?;
        api::origins(&settings.cors)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("http")
            .enable_all()
            .build()?;
        let listener = runtime.block_on(async { listen(settings.address) });
        let listener = listener.map_err(|source| ServeError::Bind {
            address: settings.address,
            source,
        })?;
        let address = listener.local_addr()?;
        let log = Log::new(sink, settings.log_text)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let created = since.map_or(0, |time| time.as_secs());
        let models = sources
            .iter()
            .map(|s| Arc::new(Model::new(s.name.clone(), created)));
        let app = App::new(settings, models.collect(), names, log);
        Ok(Self {
            runtime,
            listener,
            address,
            app: Arc::new(app),
            sources,
            stop: watch::Sender::new(false),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Loads the models, one after the other, and answers until it is stopped. `ready` is called when all are loaded.
    ///
    /// # Errors
    /// If a model cannot be loaded, or its thread panics.
    pub fn run(self, ready: impl FnOnce()) -> Result<(), ServeError> {
        let (tell, mut news) = channel::unbounded_channel();
        let app = self.app.clone();
        load(self.sources, &app, tell)?;
        let result = self.runtime.block_on(async {
            let mut serving =
                tokio::spawn(serve(self.listener, app.clone(), self.stop.subscribe()));
            let result = tokio::select! {
                result = watch_models(&app, &mut news, ready) => result,
                _ = &mut serving => return Ok(()),
            };
            serving.abort();
            result
        });
        // A request may still be understood, or a model loaded: nobody waits for that.
        self.runtime.shutdown_background();
        result
    }
}

fn names(
    sources: &[ModelSource],
    aliases: &[(String, String)],
) -> Result<BTreeMap<String, usize>, ServeError> {
    let mut names = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        if names.insert(source.name.clone(), index).is_some() {
            return Err(ServeError::Name(source.name.clone()));
        }
    }
    for (alias, model) in aliases {
        let index = sources.iter().position(|source| source.name == *model);
        let index = index.ok_or_else(|| ServeError::Alias {
            alias: alias.clone(),
            model: model.clone(),
            known: sources
                .iter()
                .map(|s| s.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        if names.insert(alias.clone(), index).is_some() {
            return Err(ServeError::Name(alias.clone()));
        }
    }
    Ok(names)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A server that was just ended may be started again at once.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Loads the models in a thread, each of which then goes on in one of its own.
fn load(
    sources: Vec<ModelSource>,
    app: &App,
    tell: channel::UnboundedSender<News>,
) -> std::io::Result<()> {
    let queue = app.settings.limits.queue;
    let metrics: Vec<_> = app
        .models
        .iter()
        .map(|model| model.metrics.clone())
        .collect();
    let turns = Arc::new(Turns::default());
    let all = move || {
        for (index, (source, metrics)) in sources.into_iter().zip(metrics).enumerate() {
            let failed = |problem: String| drop(tell.send(News::Failed(index, problem)));
            let loaded = match (source.load)() {
                Ok(loaded) => loaded,
                Err(error) => return failed(error.to_string()),
            };
            let (commands, asked) = mpsc::channel();
            let batch = loaded.batch;
            let ready = match Ready::new(loaded.text, loaded.pooling, &batch, commands, queue) {
                Ok(ready) => Box::new(ready),
                Err(error) => return failed(error.to_string()),
            };
            let (stopped, turns) = (tell.clone(), turns.clone());
            let run = move || {
                if !worker::run(batch, asked, metrics, turns) {
                    let _ = stopped.send(News::Stopped(index));
                }
            };
            if let Err(error) = thread::Builder::new().name("model".into()).spawn(run) {
                return failed(error.to_string());
            }
            if tell.send(News::Loaded(index, ready)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("load".into()).spawn(all)?;
    Ok(())
}

/// Takes models as they are loaded. Ends only if one fails.
async fn watch_models(
    app: &App,
    news: &mut channel::UnboundedReceiver<News>,
    ready: impl FnOnce(),
) -> Result<(), ServeError> {
    let mut ready = Some(ready);
    loop {
        let name = |index: usize| app.models[index].name.clone();
        match news.recv().await {
            Some(News::Loaded(index, loaded)) => {
                app.models[index].set_ready(*loaded);
                if app.models.iter().all(|model| model.is_ready())
                    && let Some(ready) = ready.take()
                {
                    ready();
                }
            }
            Some(News::Failed(index, problem)) => {
                let name = name(index);
                return Err(ServeError::Load { name, problem });
            }
            Some(News::Stopped(index)) => return Err(ServeError::Stopped(name(index))),
            // All threads have ended well: the server itself ends.
            None => std::future::pending().await,
        }
    }
}

/// Takes connections until it is to stop; then lets the answers end that are being written.
async fn serve(listener: TcpListener, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let connections = Arc::new(Connections::default());
    let router = api::router(app.clone());
    let mut tasks = JoinSet::new();
    let mut number = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(_) => {
                sleep(EXHAUSTED).await;
                continue;
            }
        };
        number += 1;
        match connections.add(number, peer, app.settings.limits.connections) {
            Added::Full => refuse(stream),
            Added::Open {
                connection,
                evicted,
            } => {
                let evictions = u64::from(evicted);
                app.metrics
                    .evictions
                    .fetch_add(evictions, Ordering::Relaxed);
                let router = router.clone();
                let (app, connections) = (app.clone(), connections.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = converse(stream, router, &app, &connection) => {}
                        () = connection.evicted() => {}
                    }
                    connections.remove(number);
                    app.metrics
                        .connections
                        .store(connections.len(), Ordering::Relaxed);
                });
            }
        }
        app.metrics
            .connections
            .store(connections.len(), Ordering::Relaxed);
    }
    drop(listener);
    app.ending.send_replace(true);
    let deadline = Instant::now() + app.settings.limits.shutdown_time;
    while let Ok(Some(_)) = timeout_at(deadline, tasks.join_next()).await {}
    app.closing.send_replace(true);
    let deadline = Instant::now() + LAST_WORDS;
    while let Ok(Some(_)) = timeout_at(deadline, tasks.join_next()).await {}
    tasks.shutdown().await;
}

/// Says that there is no place, without waiting for anything.
fn refuse(stream: TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
        content-length: 0\r\n\r\n";
    let _ = stream.try_write(ANSWER);
}

/// Answers the requests of a connection.
async fn converse(stream: TcpStream, router: Router, app: &App, connection: &Arc<Connection>) {
    let limits = &app.settings.limits;
    // Small pieces are to leave at once.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Timed::new(stream, limits.write_time));
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_bytes.max(8 << 10))
        .serve_connection(stream, service);
    tokio::pin!(connection);
    let mut ending = app.ending.subscribe();
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ending.wait_for(|ending| *ending) => {}
    }
    connection.as_mut().graceful_shutdown();
    // What a client did wrong is its own business.
    let _ = connection.await;
}
