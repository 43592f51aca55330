//! Threads that wait for the next piece of work by spinning.
//!
//! A token of a 0.7 B model takes 5 ms in 5 pieces of work a layer, 120 in all. A thread pool that sleeps between them
//! needs 5 to 20 µs to wake for each; a [`Team`] that spins needs about a quarter of one. It spins for [`SPIN`] and then
//! sleeps, so an idle model burns no processor time.
//!
//! The thread that calls [`Team::run`] works too. Which thread does what is the caller's business: `work(i, state)` is
//! called once for every `i < threads`, each on its own thread and with its own state.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::share::Lent;

/// How long a thread without work stays awake: several times what lies between two tokens (sampling, printing).
const SPIN: Duration = Duration::from_micros(500);

/// Rounds of spinning (about 20 ns each) after which a thread lets others have its core: more threads than free cores
/// would otherwise wait for each other a whole time slice long.
const ROUNDS_BEFORE_YIELD: u32 = 2000;

/// A fixed number of threads that do pieces of work together.
#[derive(Debug)]
pub(crate) struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// What a round's pointer points at.
type Work<'a> = &'a (dyn Fn(usize) + Sync);

#[derive(Debug)]
struct Shared {
    /// Number of the piece of work, counted up when one is there.
    round: AtomicU64,
    /// What to do in this round, a [`Work`] of the thread in [`Team::run`]; written while no worker looks.
    work: AtomicPtr<()>,
    /// Workers that have not finished the round.
    busy: AtomicUsize,
    stop: AtomicBool,
    sleeping: Vec<AtomicBool>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Team {
    /// A team of `threads`, of which the calling thread is one.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub(crate) fn new(threads: usize) -> std::io::Result<Team> {
        let workers = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            round: AtomicU64::new(0),
            work: AtomicPtr::new(ptr::null_mut()),
            busy: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            sleeping: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            panic: Mutex::new(None),
        });
        let mut team = Team {
            shared,
            workers: Vec::with_capacity(workers),
        };
        for index in 0..workers {
            let shared = Arc::clone(&team.shared);
            let builder = thread::Builder::new().name(format!("bitnet-{}", index + 1));
            team.workers
                .push(builder.spawn(move || shared.serve(index))?);
        }
        Ok(team)
    }

    /// Number of threads, the calling one included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work(i, &mut states[i])` for every `i < threads`, each on its own thread, and returns when all are done:
    /// `threads` is 1, for what the calling thread does faster alone, or all of them.
    ///
    /// # Panics
    ///
    /// If there is not one state for each thread, or if a call panics: with its payload, after the others are done.
    pub(crate) fn run<S: Send>(
        &mut self,
        states: &mut [S],
        threads: usize,
        work: impl Fn(usize, &mut S) + Sync,
    ) {
        assert_eq!(states.len(), self.threads(), "one state for each thread");
        if threads == 1 {
            return work(0, &mut states[0]);
        }
        assert_eq!(threads, self.threads(), "one thread or all");
        let states = Lent::new(states);
        self.each_thread(|thread| {
            // SAFETY: every thread has its own index, and so its own state.
            let [state] = (unsafe { states.part(thread..thread + 1) }) else {
                unreachable!("a part of one")
            };
            work(thread, state);
        });
    }

    fn each_thread(&mut self, work: impl Fn(usize) + Sync) {
        if self.workers.is_empty() {
            return work(0);
        }
        let borrowed: Work<'_> = &work;
        let shared = &*self.shared;
        // Published by the `round` below.
        let pointer = ptr::from_ref(&borrowed).cast_mut().cast();
        shared.work.store(pointer, Ordering::Relaxed);
        shared.busy.store(self.workers.len(), Ordering::Relaxed);
        // Sequentially consistent, like the sleepers' accesses: either a sleeper sees the round, or this sees the sleeper.
        shared.round.fetch_add(1, Ordering::SeqCst);
        for (worker, sleeping) in self.workers.iter().zip(&shared.sleeping) {
            if sleeping.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        let own = catch_unwind(AssertUnwindSafe(|| work(0)));
        let mut rounds = 0;
        while shared.busy.load(Ordering::Acquire) > 0 {
            pause(&mut rounds);
        }
        let theirs = lock(&shared.panic).take();
        if let Some(payload) = own.err().or(theirs) {
            resume_unwind(payload);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.round.fetch_add(1, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its work, so it ends without one.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// A worker's life: wait for a round, do its share, again.
    fn serve(&self, index: usize) {
        let mut seen = 0;
        loop {
            seen = self.wait(index, seen);
            if self.stop.load(Ordering::SeqCst) {
                return;
            }
            let work = self.work.load(Ordering::Relaxed).cast::<Work<'_>>();
            // SAFETY: `Team::run` stored a pointer to a `Work` before it began this round, which `wait` has seen with
            // acquire ordering, and it returns (or unwinds: it catches the panic of its own share) only after this worker
            // has counted itself out below. Until then the closure and the reference to it are alive.
            let work = unsafe { *work };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(index + 1))) {
                lock(&self.panic).get_or_insert(payload);
            }
            self.busy.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for a round other than `seen`.
    fn wait(&self, index: usize, seen: u64) -> u64 {
        let start = Instant::now();
        let mut rounds = 0u32;
        loop {
            let round = self.round.load(Ordering::Acquire);
            if round != seen {
                return round;
            }
            pause(&mut rounds);
            if rounds.is_multiple_of(64) && start.elapsed() > SPIN {
                self.sleeping[index].store(true, Ordering::SeqCst);
                while self.round.load(Ordering::SeqCst) == seen {
                    thread::park();
                }
                self.sleeping[index].store(false, Ordering::SeqCst);
            }
        }
    }
}

/// One round of waiting.
fn pause(rounds: &mut u32) {
    *rounds = rounds.wrapping_add(1);
    if rounds.is_multiple_of(ROUNDS_BEFORE_YIELD) {
        thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// What a mutex holds; a panic elsewhere does not make it invalid.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_share_is_done_once_a_round() {
        for threads in [1, 2, 3, 8] {
            let mut team = Team::new(threads).unwrap();
            assert_eq!(team.threads(), threads);
            let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
            for _ in 0..300 {
                team.each_thread(|i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
            }
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 300));
        }
    }

    #[test]
    fn every_thread_keeps_its_state() {
        let mut team = Team::new(3).unwrap();
        let mut states = vec![Vec::new(); 3];
        for round in 0..5 {
            team.run(&mut states, 3, |i, state| state.push(10 * i + round));
        }
        assert_eq!(states[2], [20, 21, 22, 23, 24]);
        team.run(&mut states, 1, |i, state| state.push(i));
        assert_eq!((states[0].len(), states[1].len()), (6, 5));
    }

    #[test]
    fn what_one_round_wrote_the_next_one_reads() {
        let mut team = Team::new(4).unwrap();
        let values: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(1)).collect();
        for _ in 0..100 {
            let sums: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
            team.each_thread(|i| {
                let sum = values.iter().map(|v| v.load(Ordering::Relaxed)).sum();
                sums[i].store(sum, Ordering::Relaxed);
            });
            team.each_thread(|i| {
                values[i].store(
                    sums[3 - i].load(Ordering::Relaxed) % 1000,
                    Ordering::Relaxed,
                )
            });
        }
        let first = values[0].load(Ordering::Relaxed);
        assert!(values.iter().all(|v| v.load(Ordering::Relaxed) == first));
    }

    #[test]
    fn sleepers_wake() {
        let mut team = Team::new(3).unwrap();
        for _ in 0..3 {
            thread::sleep(4 * SPIN);
            let done = AtomicUsize::new(0);
            team.each_thread(|_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 3);
        }
    }

    #[test]
    fn a_panic_comes_back_and_the_team_lives_on() {
        let mut team = Team::new(3).unwrap();
        for culprit in 0..3 {
            let payload = catch_unwind(AssertUnwindSafe(|| {
                team.each_thread(|i| assert_ne!(i, culprit, "on purpose"));
            }));
            assert!(payload.is_err());
            let done = AtomicUsize::new(0);
            team.each_thread(|_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 3);
        }
    }
}
