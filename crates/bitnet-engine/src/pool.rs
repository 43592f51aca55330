//! A thread pool for pieces of work of a few microseconds.
//!
//! A token of a 0.7 B model takes 5 ms in 5 pieces of work a layer, 120 in all. A thread that sleeps between them needs 5 to
//! 20 µs to wake for each; one that spins needs about a quarter of one. So a thread without work spins for a moment, then
//! offers its core to others ([`std::thread::yield_now`]) and at last sleeps: an idle model burns no processor time.
//!
//! Another program may take one of the cores for milliseconds, in which a piece of work must not wait for the thread that it
//! ran on. Three things see to that:
//!
//! - Work is handed out as [`Tasks`]: each thread has a range of them, and helps the others when it is through.
//! - A round is over when its tasks are done. Threads that have not begun by then are not waited for.
//! - What must be waited for, a task that its thread has begun, is waited for asleep after a moment: its thread may need the
//!   core of the one that waits.
//!
//! The thread that calls [`SpinPool::run`] works too.

use std::{
    any::Any,
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use crate::{lent::Lent, partition::part_of};

/// How long a thread without work stays awake: several times what lies between two tokens (sampling, printing).
const AWAKE: Duration = Duration::from_micros(500);

/// How long the calling thread waits awake for tasks that others have begun: several times what one takes.
const AWAKE_FOR_OTHERS: Duration = Duration::from_micros(100);

/// How long a thread spins before it offers its core to others: what threads differ by in a piece of work.
const SPIN: Duration = Duration::from_micros(20);

/// Rounds of spinning before a thread looks at the clock: what threads differ by in a short piece of work.
const SPINS: u32 = 64;

/// Tasks of a round at most: a [`Cursor`] counts them in its low bits, and rounds in the others.
const MOST_TASKS: usize = (1 << 20) - 1;

/// Threads that work together, each with a state (its buffers).
#[derive(Debug)]
pub(crate) struct SpinPool<S> {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    states: Vec<S>,
}

/// What a round's pointer points at: the work of thread `i` in the round of that number.
type Work<'a> = &'a (dyn Fn(usize, u64) + Sync);

#[derive(Debug)]
struct Shared {
    current: Current,
    /// Of each thread, the calling one first.
    posts: Vec<Post>,
    stop: AtomicBool,
    /// Which workers sleep.
    sleeping: Vec<AtomicBool>,
    /// Whether the thread in [`SpinPool::run`] sleeps, and which it is.
    caller_sleeps: AtomicBool,
    caller: Mutex<Option<Thread>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// What workers look at for the next round, in a cache line (pair) of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Current {
    /// Number of the round: odd while threads may join it, even when it is closed.
    round: AtomicU64,
    /// What to do in this round, a [`Work`] of the thread in [`SpinPool::run`]; written while no worker is in a round.
    work: AtomicPtr<()>,
}

/// What one thread writes most, in a cache line (pair) of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Post {
    /// The round that a worker is in, or asks to join; 0 for none.
    joined: AtomicU64,
    cursor: Cursor,
}

/// How many of a thread's tasks are taken, below the number of the round in which they are: a cursor of an earlier round
/// counts as 0, so that the calling thread need not reset those of the others.
#[derive(Debug, Default)]
struct Cursor(AtomicU64);

impl Cursor {
    /// Takes the next of `count` tasks in a round.
    fn take(&self, round: u64, count: usize) -> Option<usize> {
        const COUNTED: u64 = MOST_TASKS as u64 + 1;
        // Relaxed: what tasks write is ordered by the beginning and the end of the round.
        let mut cursor = self.0.load(Ordering::Relaxed);
        loop {
            // No thread takes a task of a round before its beginning or after its end, so the number is this round's, or an
            // earlier one's: 2^44 rounds of a microsecond are half a year.
            let begun = round.wrapping_mul(COUNTED);
            let taken = match cursor.wrapping_sub(begun) {
                taken if taken < COUNTED => taken,
                _ => 0,
            };
            if taken as usize >= count {
                return None;
            }
            let next = begun + taken + 1;
            match self
                .0
                .compare_exchange_weak(cursor, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(taken as usize),
                Err(other) => cursor = other,
            }
        }
    }
}

/// The tasks of one thread in one round: those of its own range that are left, then those of the others' ranges. Over all
/// threads of the round every task comes exactly once.
pub(crate) struct Tasks<'a> {
    posts: &'a [Post],
    round: u64,
    count: usize,
    thread: usize,
    /// Ranges found empty, this thread's own the first.
    passed: usize,
}

impl Iterator for Tasks<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let threads = self.posts.len();
        while self.passed < threads {
            let owner = (self.thread + self.passed) % threads;
            let range = part_of(self.count, owner, threads);
            if let Some(taken) = self.posts[owner].cursor.take(self.round, range.len()) {
                return Some(range.start + taken);
            }
            self.passed += 1;
        }
        None
    }
}

impl<S: Send> SpinPool<S> {
    /// A pool with a thread for each state, of which the calling thread is one.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub(crate) fn new(states: Vec<S>) -> std::io::Result<SpinPool<S>> {
        let workers = states.len().saturating_sub(1);
        let shared = Arc::new(Shared {
            current: Current {
                round: AtomicU64::new(0),
                work: AtomicPtr::new(ptr::null_mut()),
            },
            posts: states.iter().map(|_| Post::default()).collect(),
            stop: AtomicBool::new(false),
            sleeping: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            caller_sleeps: AtomicBool::new(false),
            caller: Mutex::new(None),
            panic: Mutex::new(None),
        });
        let mut pool = SpinPool {
            shared,
            workers: Vec::with_capacity(workers),
            states,
        };
        for index in 0..workers {
            let shared = Arc::clone(&pool.shared);
            let builder = thread::Builder::new().name(format!("bitnet-{}", index + 1));
            pool.workers
                .push(builder.spawn(move || shared.serve(index + 1))?);
        }
        Ok(pool)
    }

    /// Number of threads, the calling one included.
    pub(crate) fn threads(&self) -> usize {
        self.states.len()
    }

    /// Does the tasks `0..count`, and returns when all are done: `work(state, tasks)` runs on some of the threads, each with
    /// its own state, and does the tasks that it takes. Which thread does which task is chance. `threads` is 1, for what the
    /// calling thread does faster alone, or all of them.
    ///
    /// # Panics
    ///
    /// If a call panics: with its payload, after the others are done.
    pub(crate) fn run(
        &mut self,
        threads: usize,
        count: usize,
        work: impl Fn(&mut S, Tasks<'_>) + Sync,
    ) {
        let all = self.threads();
        assert!(threads == 1 || threads == all, "one thread or all");
        assert!(count <= MOST_TASKS, "{count} tasks in a round");
        if threads == 1 {
            let tasks = Tasks {
                posts: &[Post::default()],
                round: 0,
                count,
                thread: 0,
                passed: 0,
            };
            return work(&mut self.states[0], tasks);
        }
        let states = Lent::new(&mut self.states);
        let posts = &self.shared.posts[..];
        self.shared.round(&self.workers, &|thread, round| {
            // SAFETY: every thread has its own index, and so its own state.
            let state = unsafe { states.one(thread) };
            let tasks = Tasks {
                posts,
                round,
                count,
                thread,
                passed: 0,
            };
            work(state, tasks);
        });
    }
}

impl<S> Drop for SpinPool<S> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its work, so it ends without one.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Calls `work(0, round)` here and `work(i, round)` on each worker `i` that joins before it returns.
    fn round(&self, workers: &[JoinHandle<()>], work: Work<'_>) {
        let Current { round, work: place } = &self.current;
        // No worker is in a round, so none reads the pointer, which the opening publishes.
        place.store(ptr::from_ref(&work).cast_mut().cast(), Ordering::Relaxed);
        // Sequentially consistent, like the sleepers' accesses: either a sleeper sees the round, or this sees the sleeper.
        let number = round.fetch_add(1, Ordering::SeqCst) + 1;
        for (worker, sleeping) in workers.iter().zip(&self.sleeping) {
            if sleeping.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        let own = catch_unwind(AssertUnwindSafe(|| work(0, number)));
        // Every task is taken (or the thread that took it has panicked): who has not joined is not needed.
        round.fetch_add(1, Ordering::SeqCst);
        self.wait_for_others();
        let theirs = lock(&self.panic).take();
        if let Some(payload) = own.err().or(theirs) {
            resume_unwind(payload);
        }
    }

    /// Waits until no worker is in the round, which is closed.
    fn wait_for_others(&self) {
        // Sequentially consistent, see `serve`; and what the workers wrote is visible when the last has left.
        let left = |post: &Post| post.joined.load(Ordering::SeqCst) == 0;
        let all_left = || self.posts.iter().all(left);
        if wait_awake(AWAKE_FOR_OTHERS, all_left) {
            return;
        }
        *lock(&self.caller) = Some(thread::current());
        self.caller_sleeps.store(true, Ordering::SeqCst);
        while !all_left() {
            thread::park();
        }
        self.caller_sleeps.store(false, Ordering::SeqCst);
    }

    /// Worker loop of thread `index`.
    fn serve(&self, index: usize) {
        let Current { round, work: place } = &self.current;
        let joined = &self.posts[index].joined;
        let mut seen = 0;
        loop {
            let number = self.wait_for_round(index, seen);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            // All these accesses are sequentially consistent: if the round is still open after this thread has said that it
            // joins, then it said so before the round was closed, and the calling thread, which looks after that, waits for
            // it. Otherwise it is too late.
            joined.store(number, Ordering::SeqCst);
            if round.load(Ordering::SeqCst) == number {
                seen = number;
                let work = place.load(Ordering::Relaxed).cast::<Work<'_>>();
                // SAFETY: `round` stored a pointer to a `Work` before it opened this round, which the load above has seen
                // with acquire ordering, and it returns (or unwinds: it catches the panic of its own part) only after it has
                // closed the round and every worker that joined has left below. Until then the closure and the reference to
                // it are alive, and no other is stored.
                let work = unsafe { *work };
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(index, number))) {
                    lock(&self.panic).get_or_insert(payload);
                }
            }
            // Sequentially consistent, like the caller's accesses: either it sees that this thread left, or this thread sees
            // that it sleeps.
            joined.store(0, Ordering::SeqCst);
            if self.caller_sleeps.load(Ordering::SeqCst)
                && let Some(caller) = &*lock(&self.caller)
            {
                caller.unpark();
            }
        }
    }

    /// Waits for an open round other than `seen` and returns its number, or any number at the end.
    fn wait_for_round(&self, index: usize, seen: u64) -> u64 {
        let number = Cell::new(seen);
        let called = || {
            number.set(self.current.round.load(Ordering::SeqCst));
            let open = !number.get().is_multiple_of(2);
            open && number.get() != seen || self.stop.load(Ordering::SeqCst)
        };
        if !wait_awake(AWAKE, called) {
            let sleeping = &self.sleeping[index - 1];
            sleeping.store(true, Ordering::SeqCst);
            while !called() {
                thread::park();
            }
            sleeping.store(false, Ordering::SeqCst);
        }
        number.get()
    }
}

/// Waits up to so long for something, first by spinning, then letting others have the core; whether it came.
fn wait_awake(most: Duration, came: impl Fn() -> bool) -> bool {
    let mut start = None;
    loop {
        for _ in 0..SPINS {
            if came() {
                return true;
            }
            std::hint::spin_loop();
        }
        let waited = start.get_or_insert_with(Instant::now).elapsed();
        if waited > most {
            return false;
        }
        if waited > SPIN {
            thread::yield_now();
        }
    }
}

/// What a mutex holds; a panic elsewhere does not make it invalid.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
