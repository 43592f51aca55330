//! The float operations around the ternary products, as a second backend extension: linear layers, causal attention,
//! RMSNorm, the gated activation, RoPE, cross-entropy and AdamW.
//!
//! Composed from tensor operations each of them is many passes over memory; on the CPU backends, which fuse nothing and
//! run elementwise operations on one thread, that costs more than the matrix products beside them. Flex and NdArray run
//! the kernels of [`bitnet_kernels::float`], the same code on the same numbers, so these two backends train bit by bit
//! alike; every other backend runs the default bodies (`reference.rs`), which Burn's own fusion compiles into kernels
//! where it can. CubeCL runtimes have kernels of their own for linear layers of few tokens, embeddings, RMSNorm, RoPE and
//! attention to the cache (`backends/cube/float`).

mod ops;
mod reference;
mod tensor;

pub use bitnet_kernels::float::{
    AdamWStep, Gate, GradientPieces, Numerics, Precision, RopeScaling, rope_frequencies,
};
pub use ops::FloatBackend;
pub use tensor::{
    adamw, cached_attention, causal_attention, cross_entropy, divergence, embedding, gated, linear,
    rms_norm, rope, sum_of_squares,
};
