//! Products of floats from bf16 pieces, on tiles that multiply bf16.
//!
//! A bf16 has 8 bits of significand and the exponents of an f32, so an f32 is the exact sum of three of them:
//!
//! ```text
//! x = x₀ + x₁ + x₂        x₀ = upper half of x        x₁ = upper half of x − x₀        x₂ = x − x₀ − x₁
//! ```
//!
//! and a product of floats is a sum of products of pieces. An operand that is a bf16 as it is (a ternary code, an int8 code)
//! needs three of these ([`Passes::Three`]); two floats need six ([`Passes::Six`]): the other three are below `2⁻²⁴` of the
//! first. With fewer pieces the last one is rounded to nearest: one piece is what is called bf16 precision.
//!
//! # Error
//!
//! With `S = Σ_k |a·b|` of a result and `u = 2⁻²⁴`, what a result can differ from the exact sum by is at most
//!
//! | passes | operands | bound / S |
//! |---|---|---|
//! | One | floats | 2⁻⁷ + 2⁻¹⁶ + (K/32 + 18) u |
//! | One | a float and a code | 2⁻⁸ + (K/32 + 18) u |
//! | Two | a float and a code | 2⁻¹⁶ + (K/16 + 18) u |
//! | Three | a float and a code | (3K/32 + 18) u |
//! | Six | floats | (6K/32 + 24) u |
//!
//! A step multiplies 32 elements of k: two chains of 16 fused multiply-adds from 0, a sum of both and one addition to the
//! result, each with a relative error of u; pieces beyond the first add `2⁻⁷` of that. Left out are `x₁y₂ + x₂y₁ + x₂y₂`, at
//! most `2⁻²²·|xy|` with pieces cut off and not rounded. Measured errors are two orders of magnitude below the bounds, and
//! those of three and six passes below that of f32 multiply-adds in one chain, which is `K·u`.
//!
//! Tiles take a denormal for 0, which adds at most `2⁻¹²⁶` for each of the operations, times the largest element of the
//! other operand. A NaN or an infinity in an operand makes a NaN or an infinity of every sum that it is part of.
//!
//! # Order of work
//!
//! B is packed whole ([`pack`](product)), by all threads. Then 32 rows of A at a time: a chunk of k is packed into the
//! level-one cache (24 pairs of tiles, 48 KiB) and meets all of B's columns there, so that a step loads 2 KiB of B from
//! further away for each of A's passes, and 32 rows of results wait in the level-two cache. The order of each sum depends on
//! the shape alone, never on the number of threads.

mod avx512;
mod operand;
mod product;

pub(super) use operand::{Along, Floats, Int8Codes, TernaryCodes};
pub(super) use product::{Tiled, product, worth_tiles};

pub(super) use crate::isa::amx::Passes;
