//! Large arrays on large pages.
//!
//! A product of one row streams its weights once. On pages of 4 KiB that is a translation miss and a restart of the
//! prefetcher every 64 lines; on pages of 2 MiB it is not. Linux gives them to those who ask, where its setting is
//! `madvise` (the default of most distributions) or `always`, before memory is first touched. Where nothing can be asked,
//! or nothing is granted, the array is the same on small pages.

/// Bytes from which asking pays: a few large pages.
const WORTHWHILE: usize = 8 << 20;

/// `vec![value; len]`, on large pages if it is large.
pub(crate) fn filled<T: Copy>(value: T, len: usize) -> Vec<T> {
    let mut array = Vec::with_capacity(len);
    advise(array.spare_capacity_mut());
    array.resize(len, value);
    array
}

#[cfg(target_os = "linux")]
fn advise<T>(memory: &mut [T]) {
    const SMALL_PAGE: usize = 4096;
    let bytes = size_of_val(memory);
    if bytes < WORTHWHILE {
        return;
    }
    // The kernel wants whole pages: those within the array.
    let start = memory.as_mut_ptr().cast::<u8>();
    let skipped = start.align_offset(SMALL_PAGE);
    let whole = (bytes - skipped) / SMALL_PAGE * SMALL_PAGE;
    // SAFETY: the range lies within the array, and this advice changes no byte of it and no right to it. A refusal is as
    // good as a consent, so the result is not read.
    unsafe {
        libc::madvise(start.add(skipped).cast(), whole, libc::MADV_HUGEPAGE);
    }
}

#[cfg(not(target_os = "linux"))]
fn advise<T>(_memory: &mut [T]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_whole() {
        for len in [0, 1, WORTHWHILE / 8, WORTHWHILE / 8 + 4097] {
            let array = filled(7u64, len);
            assert!(array.len() == len && array.iter().all(|value| *value == 7));
        }
    }
}
