//! Scores of finished outputs against what was to be written: BLEU, accuracy, macro-F1, exact match.

mod bleu;
mod classification;

pub use bleu::{Bleu, bleu};
pub use classification::{accuracy, exact_match, macro_f1};
