//! One file per command.

pub mod bench;
pub mod board;
pub mod chat;
pub mod compare;
pub mod completions;
pub mod config;
pub mod convert;
pub mod data;
pub mod doctor;
pub mod embed;
pub mod eval;
pub mod experiment;
pub mod generate;
pub mod init;
pub mod inspect;
pub mod logits;
pub mod man;
pub mod measure;
pub mod predict;
pub mod serve;
pub mod tokenize;
pub mod train;

/// How a command that ran ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything done.
    Done,
    /// A check that the command was asked for failed.
    CheckFailed,
    /// The loss of a training was no number any more.
    Diverged,
    /// Ctrl-C; the state is saved.
    Interrupted,
}
