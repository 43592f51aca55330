//! Connections: how many there may be, which one makes room for another, and how long a client may take nothing.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
    time::{Sleep, sleep},
};

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    /// Requests that have come whole and are not answered yet.
    working: AtomicUsize,
    /// When it came, or had its last answer.
    idle_since: Mutex<Instant>,
    evicted: Notify,
}

/// Where a request that has come whole is noted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark(Arc<OnceLock<Working>>);

impl Mark {
    /// Notes that it has, until the last copy of the mark is dropped.
    pub(crate) fn set(&self, connection: &Arc<Connection>) {
        self.0.get_or_init(|| connection.working());
    }
}

/// Says that a connection has a request that came whole: it is not closed to make room.
#[derive(Debug)]
struct Working(Arc<Connection>);

impl Connection {
    fn working(self: &Arc<Self>) -> Working {
        self.working.fetch_add(1, Ordering::Relaxed);
        Working(self.clone())
    }

    /// Ends when the connection is to make room.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let mut since = self
            .0
            .idle_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *since = Instant::now();
        self.0.working.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<HashMap<u64, Arc<Connection>>>,
}

impl Connections {
    /// Adds a connection. With `most` there already, the one that idles longest makes room; none if none idles.
    pub(crate) fn add(&self, number: u64, peer: SocketAddr, most: usize) -> Added {
        let connection = Arc::new(Connection {
            peer,
            working: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            evicted: Notify::new(),
        });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut evicted = false;
        if open.len() >= most {
            let idle = open
                .iter()
                .filter(|(_, c)| c.working.load(Ordering::Relaxed) == 0);
            let longest = idle.min_by_key(|(_, connection)| {
                *connection
                    .idle_since
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
            });
            let Some(longest) = longest.map(|(number, _)| *number) else {
                return Added::Full;
            };
            if let Some(connection) = open.remove(&longest) {
                connection.evicted.notify_one();
                evicted = true;
            }
        }
        open.insert(number, connection.clone());
        Added::Open {
            connection,
            evicted,
        }
    }

    pub(crate) fn remove(&self, number: u64) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
    }

    pub(crate) fn len(&self) -> usize {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

/// What became of a new connection.
pub(crate) enum Added {
    /// It is open, and another was closed for it if `evicted`.
    Open {
        connection: Arc<Connection>,
        evicted: bool,
    },
    /// All others have requests that are being answered.
    Full,
}

/// A stream that fails when its client takes nothing for so long.
pub(crate) struct Timed {
    stream: TcpStream,
    most: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    pub(crate) fn new(stream: TcpStream, most: Duration) -> Self {
        Self {
            stream,
            most,
            waiting: None,
        }
    }

    fn wait<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let most = self.most;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(most)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wait(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wait(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
