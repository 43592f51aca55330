//! Vectors that a kernel writes whole, from memory that nothing clears first.
//!
//! A training step makes hundreds of megabytes of results, each written once by the kernel that computes it. `vec![0.0; n]`
//! would write all of it twice, the first time on one thread: 7 % of a step of the 10.8 M model on one thread, twice that
//! beside a second one.

use std::mem::MaybeUninit;

/// Elements that may be written and not read.
pub(crate) type Slots = [MaybeUninit<f32>];

/// Vectors of these lengths, whose elements `write` writes.
///
/// # Safety
///
/// When `write` returns it must have written every element.
pub(crate) unsafe fn written<const N: usize>(
    lengths: [usize; N],
    write: impl FnOnce([&mut Slots; N]),
) -> [Vec<f32>; N] {
    let mut vectors = lengths.map(Vec::with_capacity);
    let mut rest = vectors.iter_mut().zip(lengths);
    write(std::array::from_fn(|_| {
        let (vector, length) = rest.next().expect("as many vectors as lengths");
        &mut vector.spare_capacity_mut()[..length]
    }));
    for (vector, length) in vectors.iter_mut().zip(lengths) {
        // SAFETY: the vector has this capacity, and the caller's `write` has written so many elements.
        unsafe { vector.set_len(length) };
    }
    vectors
}

/// The elements of a slice as slots.
///
/// # Safety
///
/// Whoever takes them must write floats only: `MaybeUninit::uninit` in a slot would leave the slice without a value.
pub(crate) unsafe fn slots(floats: &mut [f32]) -> &mut Slots {
    // SAFETY: the layouts are the same, and the caller keeps the elements initialised.
    unsafe { &mut *(std::ptr::from_mut(floats) as *mut Slots) }
}

/// Elements that have been written.
///
/// # Safety
///
/// All of them must have been.
pub(crate) unsafe fn floats(slots: &mut Slots) -> &mut [f32] {
    // SAFETY: the layouts are the same, and the caller has written every element.
    unsafe { &mut *(std::ptr::from_mut(slots) as *mut [f32]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_there() {
        // SAFETY: both closures write every element.
        let [a, b] = unsafe {
            written([3, 0], |[a, b]| {
                assert!(b.is_empty());
                a.iter_mut().enumerate().for_each(|(i, a)| {
                    a.write(i as f32);
                });
            })
        };
        assert_eq!((a, b), (vec![0.0, 1.0, 2.0], vec![]));
    }
}
