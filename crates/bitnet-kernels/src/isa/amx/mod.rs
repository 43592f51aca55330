//! Intel AMX: registers of 16 rows × 64 bytes ("tiles") and products of whole tiles.
//!
//! ```text
//! int8   C[16, 16] i32 += A[16, 64] i8   · B[64, 16] u8 or i8      16,384 multiply-adds, exact      (`tdpbsud`, `tdpbssd`)
//! bf16   C[16, 16] f32 += A[16, 32] bf16 · B[32, 16] bf16           8,192 multiply-adds, f32 sums    (`tdpbf16ps`)
//! ```
//!
//! A product takes 16 cycles, a load of a tile from the level-one cache 8. With 2 × 2 tiles of C a step of k is 4 loads and
//! 4 products, so loads hide behind products while the operands lie in the caches: that is a block of 32 × 32 ([`Block`])
//! over two packed panels ([`Pair`]s of tiles), and the only form in which this crate multiplies tiles.
//!
//! | file | concept |
//! |---|---|
//! | `support` | may this process use tiles: processor, operating system, one tried product |
//! | `config` | the shape of the tile registers of a thread, for as long as it multiplies |
//! | `panel` | operands and results, the trait [`Unit`] |
//! | `instructions` | [`Unit`] on the processor |
//! | `attention` | softmax(q·kᵀ)·v over keys and values in bf16 |
//! | `gemm` | ternary weights × many rows of int8 codes: the order of work around the panels |
//! | `model` | [`Unit`] in plain Rust, bit for bit: the arrangement of panels is tested on any processor |
//!
//! # Use
//!
//! ```text
//! let tiles = Tiles::get()?;                 // asked once a process; the error says who refused
//! let unit = tiles.configure();              // once per product and thread, 50 ns; not `Send`
//! unit.bf16(a, b, Start::Zero, &mut c);      // c[32, 32] = Σ a · b over all steps of k
//! unit.bf16(a2, b2, Start::Add, &mut c);     // c += …
//! ```
//!
//! The intrinsics are unstable, so the loops are inline assembly. Tile registers cannot be operands of it; a whole loop over
//! k, from the first load to the last store, is therefore one block, and nothing has to survive between blocks.

pub(crate) mod attention;
mod config;
pub(crate) mod gemm;
mod instructions;
mod model;
mod panel;
mod support;

pub(crate) use config::Configured;
pub(crate) use model::Model;
pub(crate) use panel::{Block, Pair, Passes, SIDE, Start, Strided, Tile, Unit};
pub(crate) use support::Tiles;

use super::{Isa, ManyRows, avx512};
use crate::Layout;

/// Few rows, float products and everything else are AVX-512's.
pub(crate) static ISA: Isa = Isa {
    needs: "AMX and AVX-512 with VNNI, and the operating system permits tiles",
    detect: || {
        (avx512::ISA.detect)()?;
        let tiles = Tiles::get().map_err(|refusal| refusal.reason().to_owned());
        tiles.map(|_| ())
    },
    layout: Layout::BaseThree,
    rows: avx512::ROWS,
    panels: avx512::PANELS,
    few_rows: avx512::FEW_ROWS,
    many_rows: Some(ManyRows {
        min_rows: gemm::MIN_ROWS,
        product: gemm::on_tiles,
    }),
    lookup: avx512::LOOKUP,
    scaled: avx512::SCALED,
    dense: avx512::DENSE,
    peak: Some(instructions::dots),
};
