//! Ternary quantisers, the packed 2-bit layout and exact integer matrix products of BitNet b1.58, without any framework.
//!
//! A BitLinear layer (arXiv 2402.17764, in the form of the official "Training Tips, Code and FAQ") is, for
//! activations `x[m, k]` and latent weights `w[n, k]`:
//!
//! ```text
//! s_x = 127 / max(max|x|, 1e-5)  per row      x_q = clamp(round(x · s_x), -128, 127)
//! s_w =   1 / max(mean|w|, 1e-5)              w_q = clamp(round(w · s_w),   -1,   1)
//! y   = (Σ_k x_q · w_q as int32) as f32 / s_w / s_x  (+ bias)
//! ```
//!
//! `round` is half to even and a scale is a *multiplier*: the code is `round(v · s)`, the value `code / s`.
//! This crate is that specification in code. [`mod@reference`] says it in plain loops; everything else is the same
//! arithmetic made fast, and agrees with it **exactly**: integer sums are exact, float steps are the same IEEE
//! operations in the same order, and the one float reduction (`mean|w|`) has one documented order
//! ([`weight_scales`]). No result depends on the kernel, the number of threads or the batch.
//!
//! | file | concept |
//! |---|---|
//! | `reference` | the formulas, obviously right |
//! | `format` | the packed word and the matrix of such words, owned and borrowed; the line of run-time layouts |
//! | `quantize` | the scheme; weights to words, activations to int8, both back to floats |
//! | `gemm` | the integer products: `canonical` words for training, `prepacked` weights for inference; layouts, loop nests |
//! | `isa` | which instruction set ([`Kernel`]), and the loops of each |
//! | `blocks` | products with float weights in blocks of 8- or 4-bit codes, as GGUF has them |
//! | `dense` | float and int8 products for inference: the float twin, the head, attention |
//! | `float` | the float operations around the products, one pass each |
//! | `system` | large pages, when threads pay, an output written by several, the machine's limits ([`probe`]) |
//! | `error`, `skipped` | why data or a kernel is refused; what a test could not run |
//!
//! Two products, for two lives of a matrix. Training packs new weights every step and multiplies canonical words
//! ([`linear_quantized`], [`matmul_i32`], on rayon's threads). A model that only runs repacks its weights once at load
//! ([`PrepackedTernary`], [`QuantizedRows`], on the calling thread, so that an engine shares out the work as it likes). The
//! results are the same bits.
//!
//! Non-finite input: a row of activations (or a scale group of weights) that holds a NaN gets the scale NaN, one
//! that holds an infinity gets the scale 0; all its codes are 0, and `0 / s` makes *its own* outputs NaN. A
//! diverged model therefore shows as NaN, as in PyTorch, and never leaks into another row.
//!
//! ```
//! use bitnet_kernels::{Granularity, PackedTernary, WeightQuantizer, linear_quantized, quantize_activations};
//!
//! let latent = [0.9, -0.8, 0.05, 0.1, 0.7, -0.6]; // w[n = 2, k = 3]
//! let w = PackedTernary::from_latent(&latent, 2, 3, WeightQuantizer::AbsMean, Granularity::Tensor)?;
//! assert_eq!((0..3).map(|k| w.code(0, k)).collect::<Vec<_>>(), [1, -1, 0]);
//! let (mut codes, mut scale) = ([0; 3], [0.0]);
//! quantize_activations(&[1.0, -1.0, 0.5], 3, &mut codes, &mut scale);
//! let y = linear_quantized(&codes, &scale, w.view());
//! assert!((y[0] - 2.0 * 0.525).abs() < 1e-5); // (1 + 1) · mean|w|
//! # Ok::<(), bitnet_kernels::Error>(())
//! ```
mod blocks;
mod dense;
mod error;
pub mod float;
mod format;
mod gemm;
mod isa;
mod quantize;
pub mod reference;
#[cfg(test)]
mod skipped;
mod system;

pub use blocks::{BLOCK, BlockFormat, BlockMatrix, BlockRow, BlockRows};
pub use dense::{
    Attention, DenseFormat, DenseMatrix, DenseRows, FloatFormat, GROUP, KeysValues, Line,
    MAX_INT8_COLS, Panels, Place, Scattered, UnknownFormat, softmax,
};
pub use error::Error;
pub use format::{PackedTernary, PackedView, TernaryWord, words_per_row};
pub use gemm::{Layout, MAX_COLS, PrepackedTernary, QuantizedRows, linear_quantized, matmul_i32};
pub use isa::{Kernel, Strategy};
pub use quantize::{
    ActivationQuantizer, Granularity, Quantization, SUM_BLOCK, SUM_LANES, WeightQuantizer,
    activation_scale, codes_i8_to_f32_div, int8_codes, pack_weights, quantize_activations,
    quantize_activations_int4, quantize_weights, unpack_scaled_f32, weight_scales,
};
pub use system::probe;

/// The floor of `max|x|` and of `mean|w|`: an all-zero row has a finite scale and codes 0, and nothing divides by 0.
pub const EPS: f32 = 1e-5;
