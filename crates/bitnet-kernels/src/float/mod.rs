//! The float operations around the products: float products, attention, RMSNorm, the gated activation, rotary
//! embedding, cross-entropy, AdamW.
//!
//! A tensor library runs each of them as five to fifteen passes over memory, on one thread; here each is one pass, on
//! all threads, forward and backward, into memory that nothing clears first. Loops are written so that the compiler
//! vectorises them, and compiled three times: for the target's baseline, for AVX2 and for AVX-512. None contracts or
//! reorders float operations, so all give the same bits, and sums have a fixed order whatever the number of threads.
//! `rms_norm_row`, `gated_row` and `rotate` stay on the calling thread, for callers with threads of their own.

mod adamw;
mod attention;
mod cross_entropy;
mod divergence;
pub(crate) mod exp;
mod gated;
mod gradient;
mod largest;
mod matmul;
#[cfg(target_arch = "x86_64")]
mod pieces;
mod precision;
mod rms_norm;
mod rope_scaling;
mod rotary;

pub use adamw::{AdamWStep, adamw, sum_of_squares};
pub use attention::{Heads, attention, attention_backward};
pub use cross_entropy::{cross_entropy, cross_entropy_backward, log_sum_exp};
pub use divergence::{divergence, divergence_backward};
pub use gated::{Gate, activated_row, gated, gated_backward, gated_row};
pub use gradient::{input_gradient, weight_gradient};
pub use largest::Largest;
pub use matmul::{Matrix, matmul};
pub use precision::{GradientPieces, Numerics, Precision};
pub use rms_norm::{rms_norm, rms_norm_backward, rms_norm_row};
pub use rope_scaling::{RopeScaling, rope_frequencies};
pub use rotary::{rotary, rotate};

/// Defines a function whose body is compiled for AVX2 and AVX-512 as well and chosen at run time.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            fn body($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) {
                    body($($arg),*);
                }
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
                fn avx512($($arg: $ty),*) {
                    body($($arg),*);
                }
                if std::is_x86_feature_detected!("avx512f")
                    && std::is_x86_feature_detected!("avx512vl")
                    && std::is_x86_feature_detected!("avx512bw")
                    && std::is_x86_feature_detected!("avx512dq")
                {
                    // SAFETY: just detected.
                    return unsafe { avx512($($arg),*) };
                }
                if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
                    // SAFETY: just detected.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*);
        }
    };
}
pub(crate) use multiversion;

/// Independent partial sums, so that a reduction fills the vector units; they are combined in a fixed tree.
const LANES: usize = 16;

/// `Σ a · b` of slices of one length, in an order that depends on the length alone.
///
/// # Panics
/// If the lengths differ.
pub fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let mut sum = 0.0;
    inner_product_into(a, b, &mut sum);
    sum
}

multiversion! {
    fn inner_product_into(a: &[f32], b: &[f32], sum: &mut f32) {
        *sum = dot(a, b);
    }
}

/// The largest value, in lanes that the compiler keeps in a register. NaN is skipped: whoever sums what is made of the
/// values finds it there.
#[inline(always)]
pub(crate) fn highest(x: &[f32]) -> f32 {
    let higher = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, tail) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = higher(lanes[i], block[i]);
        }
    }
    let all = lanes.into_iter().chain(tail.iter().copied());
    all.fold(f32::NEG_INFINITY, higher)
}

/// `Σ a · b` in [`LANES`] strided lanes.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    // Whole arrays, not slices: only then does the compiler keep the lanes in registers.
    let ((a_blocks, a_tail), (b_blocks, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (lane, (a, b)) in lanes.iter_mut().zip(a_tail.iter().zip(b_tail)) {
        *lane += a * b;
    }
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}
