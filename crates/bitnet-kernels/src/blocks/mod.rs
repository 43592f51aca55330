//! Products with float weights in blocks of 32 codes, as GGUF's Q8_0, Q4_0, Q4_1 and Q6_K store them.
//!
//! ```text
//! w[n, k] = d_w[n, b] · q_w[n, k] (+ m_w[n, b])      b = k / 32      q_w of 8 or 4 bits, d_w and m_w of 16
//! x[i, k] ≈ d_x[i, b] · q_x[i, k]                    d_x = max|x| / 127 over a block, q_x of 8 bits
//! y[i, n] = Σ_b d_w · d_x · Σ_k q_x·q_w  (+ m_w · (d_x · Σ_k q_x))
//! ```
//!
//! The weights stay as they are: the codes are those of the file and the scales its 16-bit floats, so a matrix takes the
//! bytes that it has on disk (8.5, 4.5 and 5 bits a weight), which is what decoding reads. Only activations are rounded.
//!
//! # Layout
//!
//! Rows stand side by side in groups of 16, as in `dense`. A block of a group is 8 lines of 4 int8 a lane, or 4 lines of
//! 8 codes a lane (low halves of the bytes first); the scales of two blocks, or the scales and minimums of one, take the
//! line in front of them ([`BlockFormat`]).
//!
//! # One order of operations
//!
//! A sum of 32 products of codes is an exact integer below 2^24, so it is exact as a float. An output is
//!
//! ```text
//! acc = fma(Σ q_x·q_w, d_w · d_x, acc)     acc = fma(m_w, d_x · Σ q_x, acc)     block by block, from acc = 0
//! ```
//!
//! whatever the number of rows, threads or the instruction set: all kernels give the same bits. With B blocks
//! `|y − exact| ≤ (2B + 2)·u/(1 − (2B + 2)·u) · Σ|terms|`, u = 2^-24, where *exact* is the product of the rounded
//! activations.
//!
//! | file | concept |
//! |---|---|
//! | `format` | which codes and scales, and where they lie in a group |
//! | `matrix`, `rows` | weights, and activations in blocks |
//! | `tile` | the product's loops, written once; their innermost operations are in `isa` |
//!
//! Everything but the filling of a matrix runs on the calling thread.

mod format;
mod matrix;
mod rows;
mod tile;

pub use format::BlockFormat;
pub use matrix::{BlockMatrix, BlockRow};
pub use rows::BlockRows;
pub(crate) use rows::{XBlock, quantize_blocks};
pub(crate) use tile::{BlockOperands, block_product};

/// Weights of a block, and activations that share a scale.
pub const BLOCK: usize = 32;

/// Quads of neighbours in a block: what a dot product takes at a time.
pub(crate) const QUADS: usize = BLOCK / 4;
