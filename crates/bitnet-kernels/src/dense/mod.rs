//! Dense products for inference: the float twin's layers, the head, the embedding, attention.
//!
//! ```text
//! y[i, n] = Σ_k x[i, k] · W[n, k]      W[N, K] stored as f32, bfloat16, f16 or int8 with one scale a row
//! ```
//!
//! # Layout
//!
//! Rows stand side by side in groups of 16, as the ternary weights of a running model do. A [`Line`] is 64 bytes (a cache
//! line, a 512-bit register) and holds, of each of 16 rows, one 32-bit lane: 1 float, 2 floats of 16 bits or 4 int8 that
//! follow each other along K. A group is one run of lines. An activation is broadcast to all lanes, so there are no
//! horizontal sums, memory is read front to back, and the same matrix serves one row of `x` (GEMV, at the bandwidth of
//! memory) and many (GEMM, at the peak of the multiply-add: the operands need no further packing).
//!
//! Attention is the same product twice: 16 keys are a group whose rows are positions, and 16 columns of the values are a
//! group whose K are positions. [`Panels`] is that borrowed form; its groups may be interleaved.
//!
//! # One order of operations
//!
//! Every output is `fma(x[K-1], w[K-1], … fma(x[1], w[1], fma(x[0], w[0], 0)))`, whatever the number of rows, threads or
//! the instruction set. A prompt read at once and one read token by token therefore give the same bits, and so do all
//! kernels. Each fma rounds once: `|y - exact| ≤ K·u/(1 - K·u) · Σ|x·w|`, u = 2^-24. Int8 sums are exact
//! (`4 · 128 · 127 · K/4 < 2^31` while `K ≤ `[`MAX_INT8_COLS`]) and end with `sum / s_w / s_x`, as the ternary product.
//!
//! | file | concept |
//! |---|---|
//! | `line` | the layout: writing and reading single elements |
//! | `matrix`, `rows` | weights, and activations made ready for them |
//! | `panels`, `tile` | the product; its loops, written once, whose innermost operations are in `isa` |
//! | `attention` | attention to the keys and values of a head |
//! | `scattered` | attention to positions that lie anywhere |
//! | `softmax` | the exponentials of attention |
//!
//! Everything runs on the calling thread: whoever owns the threads hands out ranges of groups or of rows.

mod attention;
mod line;
mod matrix;
mod panels;
mod rows;
mod scattered;
mod softmax;
mod tile;

pub use attention::{Attention, KeysValues, Place};
pub use line::{DenseFormat, FloatFormat, GROUP, Line, UnknownFormat};
pub use matrix::{DenseMatrix, MAX_INT8_COLS};
pub use panels::Panels;
pub use rows::DenseRows;
pub use scattered::Scattered;
pub use softmax::softmax;
pub(crate) use softmax::softmax_row;
pub(crate) use tile::{FloatOutput, Int8Output, Operands, product, tiles};
