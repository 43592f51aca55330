//! The unit of every run-time layout: 64 bytes that hold a piece of each of 16 rows.

/// Rows that stand side by side in a group.
pub(crate) const GROUP_ROWS: usize = 16;

/// 4 bytes of each of 16 rows: a 512-bit register, and a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Line(pub(crate) [u32; GROUP_ROWS]);

/// The words of lines, for casts: a `Line` has no padding, but it is no plain integer to `bytemuck`.
pub(crate) fn as_words(lines: &[Line]) -> &[u32] {
    // SAFETY: `Line` is `repr(C)` of 16 u32 in 64 bytes, so n lines are 16n initialised words.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), GROUP_ROWS * lines.len()) }
}

/// As [`as_words`], to write them.
pub(crate) fn as_words_mut(lines: &mut [Line]) -> &mut [u32] {
    // SAFETY: as in `as_words`; the borrow of the lines is exclusive and every u32 is a valid part of a line.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), GROUP_ROWS * lines.len()) }
}
