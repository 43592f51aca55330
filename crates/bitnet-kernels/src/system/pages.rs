//! Weights on large pages.
//!
//! A product of one row streams its weights once. On pages of 4 KiB that is a translation miss and a restart of the
//! prefetcher every 64 lines; on pages of 2 MiB it is not, which decodes a model 5 to 10 % faster. Linux gives large pages
//! to memory that asks for them before it is first touched, where its setting is `madvise` (the default of most
//! distributions) or `always`, but only in whole, aligned pieces of 2 MiB. A matrix of a model is about as large as that,
//! so matrices are laid one after the other in slabs. Where nothing can be asked, or nothing is granted, they lie in the
//! same slabs on small pages.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::format::Line;

/// A large page of x86-64, and of AArch64 with small ones of 4 KiB; the page of WebAssembly, which has no others.
const LARGE_PAGE: usize = if cfg!(target_family = "wasm") {
    1 << 16
} else {
    2 << 20
};

/// Lines of a slab. Pages that no matrix touches are never backed by memory, so a slab may be generous: what is left over
/// at its end when a matrix does not fit is a small part of it. The memory of WebAssembly is taken when it is asked for.
const SLAB_LINES: usize = (if cfg!(target_family = "wasm") {
    1 << 20
} else {
    64 << 20
}) / size_of::<Line>();

/// Lines of the lines' own slab: matrices that would leave too much of a common one unused.
const LARGE: usize = SLAB_LINES / 4;

/// A piece of memory that arrays are cut from.
struct Slab {
    start: NonNull<Line>,
    layout: Layout,
}

// SAFETY: a slab is memory and nothing else; who may touch which part of it is for `Lines` to say.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Slab {
    fn new(lines: usize) -> Arc<Slab> {
        let bytes = lines.checked_mul(size_of::<Line>());
        let bytes = bytes.and_then(|bytes| bytes.checked_next_multiple_of(LARGE_PAGE));
        let bytes = bytes.expect("a size that memory has");
        let layout = Layout::from_size_align(bytes, LARGE_PAGE).expect("a size that memory has");
        // SAFETY: the size is not 0: `Lines` asks for no empty slab.
        let start = NonNull::new(unsafe { alloc(layout) }.cast::<Line>());
        let start = start.unwrap_or_else(|| handle_alloc_error(layout));
        #[cfg(target_os = "linux")]
        // SAFETY: the range is the slab, in whole pages; the advice changes no byte of it and no right to it. A refusal
        // is as good as a consent, so the result is not read.
        unsafe {
            libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE);
        }
        Arc::new(Slab { start, layout })
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`; every `Lines` in it holds an `Arc`, so none is left.
        unsafe { dealloc(self.start.as_ptr().cast(), self.layout) }
    }
}

/// The slab that is being filled, and how many of its lines are taken. It lives as long as one of its arrays.
static CURRENT: Mutex<(Weak<Slab>, usize)> = Mutex::new((Weak::new(), 0));

/// Some lines, as many as they were when made.
pub(crate) struct Lines {
    /// Keeps the memory; `None` for no lines.
    slab: Option<Arc<Slab>>,
    first: usize,
    len: usize,
}

impl Lines {
    /// `len` times the same line.
    pub(crate) fn filled(value: Line, len: usize) -> Lines {
        if len == 0 {
            return Lines {
                slab: None,
                first: 0,
                len,
            };
        }
        let (slab, first) = if len > LARGE {
            (Slab::new(len), 0)
        } else {
            let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
            let room = current
                .0
                .upgrade()
                .filter(|_| SLAB_LINES - current.1 >= len);
            let slab = room.unwrap_or_else(|| {
                let slab = Slab::new(SLAB_LINES);
                *current = (Arc::downgrade(&slab), 0);
                slab
            });
            let first = current.1;
            current.1 += len;
            (slab, first)
        };
        for index in first..first + len {
            // SAFETY: within the slab, in a range that was just taken from it and that nothing else points to.
            unsafe { slab.start.add(index).write(value) };
        }
        Lines {
            slab: Some(slab),
            first,
            len,
        }
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        match &self.slab {
            // SAFETY: `filled` initialised these lines, took them for this value alone, and the `Arc` keeps them; a
            // shared borrow of this value lets nobody write to them.
            Some(slab) => unsafe {
                std::slice::from_raw_parts(slab.start.add(self.first).as_ptr(), self.len)
            },
            None => &[],
        }
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [Line] {
        match &self.slab {
            // SAFETY: as in `deref`; an exclusive borrow of this value is one of its lines.
            Some(slab) => unsafe {
                std::slice::from_raw_parts_mut(slab.start.add(self.first).as_ptr(), self.len)
            },
            None => &mut [],
        }
    }
}

impl Clone for Lines {
    fn clone(&self) -> Lines {
        let mut copy = Lines::filled(Line::ZERO, self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} lines", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(value: usize) -> Line {
        Line([value as u32; 16])
    }

    #[test]
    fn arrays_are_whole_and_apart() {
        let lengths = [
            0,
            1,
            7,
            4096,
            LARGE,
            LARGE + 1,
            SLAB_LINES / 5,
            LARGE - 1,
            LARGE,
            3,
        ];
        let mut arrays: Vec<Lines> = lengths
            .iter()
            .enumerate()
            .map(|(value, len)| Lines::filled(line(value), *len))
            .collect();
        let copy = arrays[3].clone();
        arrays[3].fill(line(100));
        arrays.remove(2);
        for (value, array) in [0, 1, 100, 4, 5, 6, 7, 8, 9].into_iter().zip(&arrays) {
            assert!(array.iter().all(|l| *l == line(value)), "{value}");
            assert!(array.as_ptr().is_aligned());
        }
        assert!(copy.len() == 4096 && copy.iter().all(|l| *l == line(3)));
    }

    #[test]
    fn threads_take_different_lines() {
        if cfg!(target_family = "wasm") {
            return crate::skipped::skipped("threads: this target has none");
        }
        let made: Vec<Lines> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|t| {
                    scope.spawn(move || {
                        let make = |i: usize| Lines::filled(line(100 * t + i), 1000 + i);
                        (0..50).map(make).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|t| t.join().unwrap())
                .collect()
        });
        for (index, array) in made.iter().enumerate() {
            let value = line(100 * (index / 50) + index % 50);
            assert!(array.iter().all(|l| *l == value));
        }
    }
}
