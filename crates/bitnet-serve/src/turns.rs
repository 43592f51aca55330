//! Models take turns: the threads of two would only be in each other's way.

use std::sync::{Condvar, Mutex, PoisonError};

/// A queue of those who want to compute, first come first served.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// The next number to be drawn, and whose turn it is.
    numbers: Mutex<(u64, u64)>,
    next: Condvar,
}

/// Ends a turn, also where it panics.
struct Turn<'a>(&'a Turns);

impl Turns {
    /// Does some work when it is its turn.
    pub(crate) fn take<T>(&self, work: impl FnOnce() -> T) -> T {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = numbers.0;
        numbers.0 += 1;
        while numbers.1 != mine {
            numbers = self
                .next
                .wait(numbers)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(numbers);
        let _turn = Turn(self);
        work()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0
            .numbers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1 += 1;
        self.0.next.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{Arc, Mutex},
        thread,
    };

    use super::*;

    #[test]
    fn nobody_waits_for_more_than_one_turn_of_another() {
        let (turns, order) = (Arc::new(Turns::default()), Arc::new(Mutex::new(Vec::new())));
        let work = |name: usize| {
            let (turns, order) = (turns.clone(), order.clone());
            move || {
                for _ in 0..100 {
                    turns.take(|| {
                        order.lock().unwrap().push(name);
                        thread::sleep(std::time::Duration::from_micros(200));
                    });
                }
            }
        };
        let threads = [0, 1].map(|name| thread::spawn(work(name)));
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let order = order.lock().unwrap();
        let last = order.iter().rposition(|name| *name != order[199]).unwrap();
        // One thread may have begun before the other was there.
        let first = order.iter().position(|name| *name != order[0]).unwrap();
        let rest = order[first..last]
            .chunk_by(|a, b| a == b)
            .map(<[_]>::len)
            .max();
        assert!(rest <= Some(2), "{order:?}");
    }

    #[test]
    fn a_panic_ends_a_turn() {
        let turns = Turns::default();
        let panics = || turns.take(|| panic!("a turn"));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(turns.take(|| 1), 1);
    }
}
