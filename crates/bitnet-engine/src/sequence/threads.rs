//! Jobs for threads that need nothing of each other: some sequences go through the whole model on one thread. Models of
//! sequences are small, and waiting for other threads seven times a block would take longer than the work.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use crate::{EngineError, Options, pool::SpinPool};

/// Rows of a job at most, if it is more than one sequence: decoded weights are used often, and activations stay in the
/// cache.
pub(crate) const ROWS: usize = 128;

/// Threads, each with its buffers.
#[derive(Debug)]
pub(crate) struct Threads<S> {
    pool: SpinPool<S>,
}

impl<S: Send + Default> Threads<S> {
    pub(crate) fn new(options: &Options) -> Result<Threads<S>, EngineError> {
        let threads = options.threads.max(1);
        let pool = SpinPool::new((0..threads).map(|_| S::default()).collect());
        let pool = pool.map_err(|source| EngineError::Threads { threads, source })?;
        Ok(Threads { pool })
    }

    /// Does every job on some thread; their results in order.
    pub(crate) fn map<R: Send>(
        &mut self,
        jobs: usize,
        work: impl Fn(&mut S, usize) -> R + Sync,
    ) -> Vec<R> {
        let results: Vec<Mutex<Option<R>>> = (0..jobs).map(|_| Mutex::new(None)).collect();
        let threads = if jobs > 1 { self.pool.threads() } else { 1 };
        self.pool.run(threads, jobs, |state, tasks| {
            for job in tasks {
                let result = work(state, job);
                *results[job].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            }
        });
        let results = results.into_iter();
        let done =
            results.filter_map(|cell| cell.into_inner().unwrap_or_else(PoisonError::into_inner));
        done.collect()
    }
}

/// Sequences of these lengths as jobs: those of similar length together, as many as make [`ROWS`] rows and at most `most`,
/// the longest first, so that no thread ends with the longest job. Numbers of sequences.
pub(crate) fn jobs(lengths: &[usize], most: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(lengths[*index]));
    let sorted: Vec<usize> = order.iter().map(|index| lengths[*index]).collect();
    let parts = parts(&sorted, most).map(|part| order[part].to_vec());
    parts.collect()
}

/// Sequences of these lengths in parts of [`ROWS`] rows and `most` sequences at most, one sequence at least.
pub(crate) fn parts(lengths: &[usize], most: usize) -> impl Iterator<Item = Range<usize>> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let (start, mut rows) = (first, 0);
        while first < lengths.len() {
            rows += lengths[first];
            if first > start && (rows > ROWS || first - start >= most) {
                break;
            }
            first += 1;
        }
        (first > start).then_some(start..first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sequence_is_in_one_job_and_jobs_are_no_longer_than_they_may_be() {
        for lengths in [vec![], vec![5], vec![300, 2, 128, 1, 64, 64, 200, 0, 0, 7]] {
            for most in [1, 3, 100] {
                let jobs = jobs(&lengths, most);
                let mut all: Vec<usize> = jobs.concat();
                all.sort_unstable();
                assert!(all.iter().copied().eq(0..lengths.len()));
                for job in jobs {
                    let rows: usize = job.iter().map(|index| lengths[*index]).sum();
                    assert!(job.len() == 1 || rows <= ROWS && job.len() <= most);
                }
            }
        }
    }

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        for threads in [1, 3] {
            let options = Options {
                threads,
                ..Options::default()
            };
            let mut pool = Threads::<u64>::new(&options).unwrap();
            for jobs in [0, 1, 50] {
                let squares = pool.map(jobs, |calls, job| {
                    *calls += 1;
                    job * job
                });
                assert!(squares.into_iter().eq((0..jobs).map(|job| job * job)));
            }
        }
    }
}
