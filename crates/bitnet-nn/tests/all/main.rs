//! The layers and their operations on every backend that this build has, one subject a file.
//!
//! One program: each links all of Burn, which takes longer than most of these tests.

mod common;
mod dequantisers;
mod float;
mod fusion;
mod gradients;
mod half;
mod layers;
mod packing;
mod product;
mod quantisers;
mod recipes;
mod records;
mod schemes;
mod tracking;
mod training;
