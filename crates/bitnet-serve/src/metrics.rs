//! What is counted, as Prometheus reads it.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Upper ends of the buckets of times until a first token, in seconds.
const FIRST: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// The same of times for each further token.
const NEXT: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Of the server as a whole.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// By path and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// By reason.
    rejections: Mutex<BTreeMap<&'static str, u64>>,
    pub(crate) connections: AtomicUsize,
    pub(crate) evictions: AtomicU64,
}

/// Of a model.
#[derive(Debug)]
pub(crate) struct ModelMetrics {
    queued: AtomicUsize,
    running: AtomicUsize,
    kv_bytes: AtomicUsize,
    prompt_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    generated_tokens: AtomicU64,
    cancelled: AtomicU64,
    overrun: AtomicU64,
    first: Histogram,
    next: Histogram,
}

impl Default for ModelMetrics {
    fn default() -> Self {
        Self {
            queued: AtomicUsize::default(),
            running: AtomicUsize::default(),
            kv_bytes: AtomicUsize::default(),
            prompt_tokens: AtomicU64::default(),
            cached_tokens: AtomicU64::default(),
            generated_tokens: AtomicU64::default(),
            cancelled: AtomicU64::default(),
            overrun: AtomicU64::default(),
            first: Histogram::new(FIRST),
            next: Histogram::new(NEXT),
        }
    }
}

#[derive(Debug)]
struct Histogram {
    ends: &'static [f64],
    counts: Vec<AtomicU64>,
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Histogram {
    fn new(ends: &'static [f64]) -> Self {
        Self {
            ends,
            counts: ends.iter().map(|_| AtomicU64::default()).collect(),
            count: AtomicU64::default(),
            nanoseconds: AtomicU64::default(),
        }
    }

    fn observe(&self, time: Duration) {
        let bucket = self.ends.partition_point(|end| *end < time.as_secs_f64());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) -> fmt::Result {
        let mut sum = 0;
        for (end, count) in self.ends.iter().zip(&self.counts) {
            sum += count.load(Ordering::Relaxed);
            writeln!(out, "{name}_bucket{{{labels},le=\"{end}\"}} {sum}")?;
        }
        let count = self.count.load(Ordering::Relaxed);
        let seconds = self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
        writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
        writeln!(out, "{name}_sum{{{labels}}} {seconds}")?;
        writeln!(out, "{name}_count{{{labels}}} {count}")
    }
}

impl Metrics {
    pub(crate) fn request(&self, path: &'static str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((path, status)).or_default() += 1;
    }

    pub(crate) fn rejection(&self, reason: &'static str) {
        let mut all = self
            .rejections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *all.entry(reason).or_default() += 1;
    }

    /// The text format of Prometheus; the models by their names.
    pub(crate) fn text<'a>(
        &self,
        models: impl Iterator<Item = (&'a str, &'a ModelMetrics)> + Clone,
    ) -> String {
        let mut out = String::new();
        // Nothing fails that is written to memory.
        let _ = self.write(&mut out, models);
        out
    }

    fn write<'a>(
        &self,
        out: &mut String,
        models: impl Iterator<Item = (&'a str, &'a ModelMetrics)> + Clone,
    ) -> fmt::Result {
        head(
            out,
            "bitnet_requests_total",
            "counter",
            "Requests that were answered.",
        )?;
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for ((path, status), count) in requests.iter() {
            let labels = format!("path=\"{path}\",status=\"{status}\"");
            sample(out, "bitnet_requests_total", &labels, count)?;
        }
        drop(requests);
        head(
            out,
            "bitnet_rejections_total",
            "counter",
            "Requests that were refused, by reason.",
        )?;
        let all = self
            .rejections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (reason, count) in all.iter() {
            sample(
                out,
                "bitnet_rejections_total",
                &format!("reason=\"{reason}\""),
                count,
            )?;
        }
        drop(all);
        head(out, "bitnet_connections", "gauge", "Open connections.")?;
        writeln!(
            out,
            "bitnet_connections {}",
            self.connections.load(Ordering::Relaxed)
        )?;
        let name = "bitnet_connections_evicted_total";
        head(
            out,
            name,
            "counter",
            "Idle connections that were closed to make room.",
        )?;
        writeln!(out, "{name} {}", self.evictions.load(Ordering::Relaxed))?;

        for (name, kind, help, value) in ModelMetrics::SERIES {
            head(out, name, kind, help)?;
            for (model, metrics) in models.clone() {
                sample(out, name, &model_label(model), value(metrics))?;
            }
        }
        for (name, help, histogram) in ModelMetrics::HISTOGRAMS {
            head(out, name, "histogram", help)?;
            for (model, metrics) in models.clone() {
                histogram(metrics).write(out, name, &model_label(model))?;
            }
        }
        Ok(())
    }
}

type Series = (
    &'static str,
    &'static str,
    &'static str,
    fn(&ModelMetrics) -> u64,
);
type Times = (&'static str, &'static str, fn(&ModelMetrics) -> &Histogram);

impl ModelMetrics {
    const SERIES: [Series; 8] = [
        (
            "bitnet_requests_queued",
            "gauge",
            "Texts that wait for a place in the batch.",
            |m| m.queued.load(Ordering::Relaxed) as u64,
        ),
        (
            "bitnet_requests_running",
            "gauge",
            "Texts in the batch.",
            |m| m.running.load(Ordering::Relaxed) as u64,
        ),
        (
            "bitnet_kv_bytes",
            "gauge",
            "Bytes of keys and values in use.",
            |m| m.kv_bytes.load(Ordering::Relaxed) as u64,
        ),
        (
            "bitnet_prompt_tokens_total",
            "counter",
            "Tokens of prompts.",
            |m| m.prompt_tokens.load(Ordering::Relaxed),
        ),
        (
            "bitnet_cached_tokens_total",
            "counter",
            "Of them, found in the cache.",
            |m| m.cached_tokens.load(Ordering::Relaxed),
        ),
        (
            "bitnet_generated_tokens_total",
            "counter",
            "Tokens written.",
            |m| m.generated_tokens.load(Ordering::Relaxed),
        ),
        (
            "bitnet_cancelled_total",
            "counter",
            "Texts whose client left.",
            |m| m.cancelled.load(Ordering::Relaxed),
        ),
        (
            "bitnet_slow_readers_total",
            "counter",
            "Texts that were given up because their client read too slowly.",
            |m| m.overrun.load(Ordering::Relaxed),
        ),
    ];
    const HISTOGRAMS: [Times; 2] = [
        (
            "bitnet_time_to_first_token_seconds",
            "From the end of a request to its first token.",
            |m| &m.first,
        ),
        (
            "bitnet_time_per_output_token_seconds",
            "From each token to the next.",
            |m| &m.next,
        ),
    ];

    pub(crate) fn set_batch(&self, queued: usize, running: usize, kv_bytes: usize) {
        self.queued.store(queued, Ordering::Relaxed);
        self.running.store(running, Ordering::Relaxed);
        self.kv_bytes.store(kv_bytes, Ordering::Relaxed);
    }

    pub(crate) fn prompt(&self, tokens: usize, cached: usize) {
        self.prompt_tokens
            .fetch_add(tokens as u64, Ordering::Relaxed);
        self.cached_tokens
            .fetch_add(cached as u64, Ordering::Relaxed);
    }

    pub(crate) fn first_token(&self, time: Duration) {
        self.generated_tokens.fetch_add(1, Ordering::Relaxed);
        self.first.observe(time);
    }

    pub(crate) fn next_token(&self, time: Duration) {
        self.generated_tokens.fetch_add(1, Ordering::Relaxed);
        self.next.observe(time);
    }

    pub(crate) fn overrun(&self) {
        self.overrun.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn cancelled(&self) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn sample(out: &mut String, name: &str, labels: &str, value: impl Display) -> fmt::Result {
    writeln!(out, "{name}{{{labels}}} {value}")
}

fn model_label(model: &str) -> String {
    let escaped = model
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("model=\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = ModelMetrics::default();
        for milliseconds in [5, 10, 11, 700_000] {
            metrics.first_token(Duration::from_millis(milliseconds));
        }
        let text = Metrics::default().text([("a\"b", &metrics)].into_iter());
        for line in [
            "bitnet_time_to_first_token_seconds_bucket{model=\"a\\\"b\",le=\"0.01\"} 2",
            "bitnet_time_to_first_token_seconds_bucket{model=\"a\\\"b\",le=\"0.025\"} 3",
            "bitnet_time_to_first_token_seconds_bucket{model=\"a\\\"b\",le=\"60\"} 3",
            "bitnet_time_to_first_token_seconds_bucket{model=\"a\\\"b\",le=\"+Inf\"} 4",
            "bitnet_time_to_first_token_seconds_sum{model=\"a\\\"b\"} 700.026",
            "bitnet_generated_tokens_total{model=\"a\\\"b\"} 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
