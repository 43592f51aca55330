//! One JSON line for each request, without what people wrote unless that was asked for.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

/// Lines that may wait for a slow reader of the log; more are lost, and nobody waits for them.
const WAITING: usize = 4096;

/// Where lines go.
pub type Sink = Box<dyn FnMut(&str) + Send>;

/// Hands lines to a thread of its own.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    lines: SyncSender<String>,
    pub(crate) text: bool,
}

impl Log {
    pub(crate) fn new(mut sink: Sink, text: bool) -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel::<String>(WAITING);
        let write = move || waiting.iter().for_each(|line| sink(&line));
        thread::Builder::new().name("log".into()).spawn(write)?;
        Ok(Self { lines, text })
    }

    fn write(&self, line: &impl Serialize) {
        if let Ok(line) = serde_json::to_string(line) {
            // A log that is not read is no reason to stop.
            let _ = self.lines.try_send(line);
        }
    }
}

/// What is known of a request, filled in where it becomes known.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Record {
    /// Seconds since 1970, when the request came.
    time: f64,
    peer: String,
    method: String,
    path: &'static str,
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    pub(crate) stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cached_tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) completion_tokens: Option<usize>,
    /// Until the first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_ms: Option<u64>,
    /// Until the last byte was handed over.
    ms: u64,
    /// Why the answer ended: `stop`, `length`, `error`, or `gone` if the client left before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finish: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<String>,
}

/// A request's record, which is written when the last copy is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Entry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Log,
    begin: Instant,
    record: Mutex<Record>,
}

impl Entry {
    pub(crate) fn new(log: &Log, peer: String, method: String, path: &'static str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let record = Record {
            time: since.map_or(0.0, |time| (time.as_millis() as f64) / 1e3),
            peer,
            method,
            path,
            ..Record::default()
        };
        Self(Arc::new(Inner {
            log: log.clone(),
            begin: Instant::now(),
            record: Mutex::new(record),
        }))
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.0.record.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds to what was written, if that is logged.
    pub(crate) fn add_text(&self, text: &str) {
        if self.0.log.text {
            self.set(|record| record.answer.get_or_insert_default().push_str(text));
        }
    }

    /// Keeps what was asked, if that is logged.
    pub(crate) fn set_request(&self, body: &[u8]) {
        if self.0.log.text {
            self.set(|record| record.request = Some(String::from_utf8_lossy(body).into_owned()));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let record = self
            .record
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        record.ms = self.begin.elapsed().as_millis() as u64;
        self.log.write(record);
    }
}
