//! Training, from a step of the optimiser to what a run leaves on disk.
//!
//! One program: each links all of Burn, which takes longer than most of these tests.

mod common;
mod earlier;
mod gpu;
mod parallel;
mod recipes;
mod resuming;
mod runs;
mod steps;
