//! Whole models: what they compute, on tensors and on the engine.
//!
//! One program: each links all of Burn, which takes longer than most of these tests.

mod generate;
mod gpu;
mod on_engine;
mod seq2seq;
mod transformer;
