//! AVX-512 with VNNI: prepacked products with 512-bit `vpdpbusd`, 16 output rows a register; `lut` adds `vpermw`.

mod blocks;
mod dense;
mod epilogue;
mod few;
mod gemm;
mod gemv;
pub(crate) mod lut;
mod scaled;
mod signed;

use std::arch::x86_64::*;

pub(crate) use gemv::decode;

use super::{DenseLoops, FewRows, Isa, ManyRows, PanelLoops, RowLoops, ScaledLoops, avx2};
use crate::{Layout, gemm::lut as nest};

const NEEDS: &str = "AVX-512 F, BW, VL, VBMI and VNNI";

pub(crate) static ISA: Isa = Isa {
    needs: NEEDS,
    detect: || {
        require!(
            is_x86_feature_detected, NEEDS, "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512vbmi", "avx512vnni"
        )
    },
    layout: Layout::BaseThree,
    rows: ROWS,
    panels: PANELS,
    few_rows: FEW_ROWS,
    many_rows: None,
    lookup: LOOKUP,
    scaled: SCALED,
    dense: DENSE,
    peak: Some(dots),
};

/// The loops over rows: AVX2's, but the epilogue.
pub(crate) const ROWS: RowLoops = RowLoops {
    epilogue: epilogue::epilogue,
    ..avx2::ROWS
};

/// Prepacked products.
pub(crate) const PANELS: PanelLoops = PanelLoops {
    two_bit: gemv::two_bit,
    base_three: gemv::base_three,
    decode,
    gemm: gemm::gemm,
    signed: signed::signed,
    rows_at_a_time: gemm::ROWS,
};

/// Products of few rows with base three.
pub(crate) const FEW_ROWS: Option<FewRows> = Some(FewRows {
    max_rows: few::ROWS,
    base_three: few::base_three,
});

/// Products that look a part of their sums up.
pub(crate) const LOOKUP: Option<ManyRows> = Some(ManyRows {
    min_rows: nest::MIN_ROWS,
    product: nest::product,
});

/// Products with groups of weights that have scales of their own.
pub(crate) const SCALED: Option<ScaledLoops> = Some(ScaledLoops {
    one_row: scaled::one_row,
    rows: scaled::rows,
});

/// Dense products.
pub(crate) const DENSE: DenseLoops = DenseLoops {
    dense_f32: dense::f32,
    dense_bf16: dense::bf16,
    dense_f16: dense::f16,
    dense_codes: dense::codes,
    dense_int8: dense::int8,
    quantize_blocks: blocks::quantize_blocks,
    blocks: blocks::blocks,
    softmax: dense::softmax,
};

peak!(dots, "avx512f,avx512vnni", _mm512_setzero_si512(), _mm512_dpbusd_epi32, 64);
