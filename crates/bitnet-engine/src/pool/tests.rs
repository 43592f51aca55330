//! The pool under rounds, thieves, sleep and panics.

use std::sync::atomic::AtomicUsize;

use super::*;

fn counters(count: usize) -> Vec<AtomicUsize> {
    (0..count).map(|_| AtomicUsize::new(0)).collect()
}

fn add(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn every_task_is_done_once_a_round() {
    for threads in [1, 2, 3, 8] {
        let mut pool = SpinPool::new(vec![(); threads]).unwrap();
        assert_eq!(pool.threads(), threads);
        for count in [0, 1, threads, 7, 40] {
            let counts = counters(count);
            for round in 1..=100 {
                pool.run(threads, count, |(), tasks| {
                    tasks.for_each(|task| add(&counts[task]));
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == round));
            }
        }
    }
}

#[test]
fn every_thread_keeps_its_state() {
    let mut pool = SpinPool::new(vec![Vec::new(); 3]).unwrap();
    for round in 0..5 {
        pool.run(3, 9, |done, tasks| {
            tasks.for_each(|task| done.push(10 * round + task));
        });
    }
    pool.run(1, 2, |done, tasks| {
        tasks.for_each(|task| done.push(50 + task))
    });
    assert!(pool.states[0].ends_with(&[50, 51]));
    let mut all: Vec<_> = pool.states.concat();
    all.sort_unstable();
    let expected: Vec<_> = (0..5)
        .flat_map(|round| (0..9).map(move |task| 10 * round + task))
        .chain([50, 51])
        .collect();
    assert_eq!(all, expected);
}

#[test]
fn a_thread_that_is_held_up_holds_up_its_task_alone() {
    let mut pool = SpinPool::new(vec![(); 2]).unwrap();
    for held in [0, 7] {
        let done = counters(8);
        pool.run(2, 8, |(), tasks| {
            for task in tasks {
                if task == held {
                    // Who waits for all the others can be the only one to wait.
                    let others = || {
                        done.iter()
                            .map(|d| d.load(Ordering::Acquire))
                            .sum::<usize>()
                    };
                    while others() < 7 {
                        thread::yield_now();
                    }
                }
                done[task].fetch_add(1, Ordering::Release);
            }
        });
        assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == 1));
    }
}

#[test]
fn a_round_waits_asleep_for_a_task_that_takes_long() {
    let mut pool = SpinPool::new(vec![(); 2]).unwrap();
    let caller = thread::current().id();
    let mut slow = 0;
    // Who takes which task is chance: until a worker has been the slow one.
    while slow == 0 {
        let done = AtomicUsize::new(0);
        let by_worker = AtomicUsize::new(0);
        pool.run(2, 2, |(), tasks| {
            for task in tasks {
                if task == 1 && thread::current().id() != caller {
                    thread::sleep(20 * AWAKE_FOR_OTHERS);
                    add(&by_worker);
                }
                add(&done);
            }
        });
        assert_eq!(done.into_inner(), 2);
        slow = by_worker.into_inner();
    }
}

#[test]
fn what_one_round_wrote_the_next_one_reads() {
    let mut pool = SpinPool::new(vec![(); 4]).unwrap();
    let values: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(1)).collect();
    for _ in 0..100 {
        let sums: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(0)).collect();
        pool.run(4, 4, |(), tasks| {
            for i in tasks {
                let sum = values.iter().map(|v| v.load(Ordering::Relaxed)).sum();
                sums[i].store(sum, Ordering::Relaxed);
            }
        });
        pool.run(4, 4, |(), tasks| {
            for i in tasks {
                let sum = sums[3 - i].load(Ordering::Relaxed);
                values[i].store(sum % 1000, Ordering::Relaxed);
            }
        });
    }
    let first = values[0].load(Ordering::Relaxed);
    assert!(values.iter().all(|v| v.load(Ordering::Relaxed) == first));
}

#[test]
fn sleepers_wake() {
    let mut pool = SpinPool::new(vec![(); 2]).unwrap();
    let caller = thread::current().id();
    for _ in 0..3 {
        thread::sleep(4 * AWAKE);
        let woke = AtomicBool::new(false);
        pool.run(2, 2, |(), tasks| {
            for _ in tasks {
                let worker = thread::current().id() != caller;
                woke.fetch_or(worker, Ordering::Release);
                // The caller does not take both tasks: the other is for a worker, who must wake for it.
                while !woke.load(Ordering::Acquire) {
                    thread::yield_now();
                }
            }
        });
        assert!(woke.into_inner());
    }
}

#[test]
fn a_panic_comes_back_and_the_pool_lives_on() {
    let mut pool = SpinPool::new(vec![(); 3]).unwrap();
    for culprit in 0..3 {
        let payload = catch_unwind(AssertUnwindSafe(|| {
            pool.run(3, 3, |(), tasks| {
                tasks.for_each(|task| assert_ne!(task, culprit, "on purpose"));
            });
        }));
        assert!(payload.is_err());
        let done = AtomicUsize::new(0);
        pool.run(3, 3, |(), tasks| tasks.for_each(|_| add(&done)));
        assert_eq!(done.into_inner(), 3);
    }
}
