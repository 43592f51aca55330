//! The AVX-512 kernels: prepared products with 512-bit `vpdpbusd`, 16 output rows a register; `lut` adds `vpermw`.
//!
//! Every function here needs what [`Kernel::Avx512Vnni`](crate::Kernel::Avx512Vnni) stands for: AVX-512 F, BW, VL, VBMI
//! and VNNI.

mod gemm;
mod gemv;
pub(crate) mod lut;
mod signed;

pub(crate) use gemm::{ROWS, gemm};
pub(crate) use gemv::{base_three, decode, two_bit};
pub(crate) use signed::signed;
