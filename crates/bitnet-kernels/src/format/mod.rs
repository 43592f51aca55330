//! The storage format: packed ternary words, owned and borrowed, and the lines that run-time layouts are made of.

mod line;
mod packed;
mod view;
mod word;

pub use line::Line;
pub(crate) use line::{GROUP_ROWS, as_words, as_words_mut};
pub use packed::PackedTernary;
pub use view::PackedView;
pub(crate) use view::{row_scales, word_count};
pub use word::{TernaryWord, words_per_row};
