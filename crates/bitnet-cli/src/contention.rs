//! How long this process's threads were ready to run but had no core: what else ran on the machine.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// Where Linux keeps each thread's time on a core, time waiting for one (both in nanoseconds), and turns.
const TASKS: &str = "/proc/self/task";

/// The threads' waiting times at a moment.
pub struct Waiting {
    begin: Instant,
    before: Option<BTreeMap<String, u64>>,
}

impl Waiting {
    /// From now on.
    pub fn start() -> Self {
        Self {
            begin: Instant::now(),
            before: waited(),
        }
    }

    /// Time spent waiting by all threads since the start, over the time of all cores; none where the system does not tell.
    pub fn share(&self) -> Option<f64> {
        let (before, now) = (self.before.as_ref()?, waited()?);
        let since = |(thread, now): (&String, &u64)| {
            now.saturating_sub(before.get(thread).copied().unwrap_or(0))
        };
        let nanoseconds: u64 = now.iter().map(since).sum();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Some(nanoseconds as f64 * 1e-9 / (self.begin.elapsed().as_secs_f64() * cores as f64))
    }
}

fn waited() -> Option<BTreeMap<String, u64>> {
    let threads = fs::read_dir(TASKS).ok()?.flatten();
    let of_thread = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanoseconds = text.split_whitespace().nth(1)?.parse().ok()?;
        Some((
            thread.file_name().to_string_lossy().into_owned(),
            nanoseconds,
        ))
    };
    let all: BTreeMap<String, u64> = threads.filter_map(of_thread).collect();
    (!all.is_empty()).then_some(all)
}
