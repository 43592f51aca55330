//! Scores of finished outputs against what was to be written: BLEU, accuracy, precision, recall, F1, exact match.

mod bleu;
mod classification;
mod confusion;

pub use bleu::{Bleu, bleu};
pub use classification::{accuracy, exact_match, macro_f1};
pub use confusion::{ClassScore, Confusion};
