//! Instruction sets: one descriptor each, in one table.
//!
//! An [`Isa`] says what an instruction set is called, what it needs, whether this process may use it, and which functions
//! its loops are. A new one is a new module with a `pub(crate) static ISA: Isa`, and a line in the table below. Nothing
//! falls back: a descriptor names a function for every loop, and one that takes another's says so
//! (`rows: super::avx2::ROWS`).
//!
//! | file | concept |
//! |---|---|
//! | `mod` | the table, and what an entry holds |
//! | `kernel` | [`Kernel`], the handle of an entry: names, detection, reasons |
//! | `strategy` | [`Strategy`]: by which operations a product adds up |
//! | `loops` | the functions of an instruction set, callable once it is detected |
//! | `scalar`, `neon`, … | an instruction set each |

mod kernel;
mod loops;
mod strategy;

pub use kernel::Kernel;
pub(crate) use loops::{DenseLoops, FewRows, Loops, ManyRows, PanelLoops, RowLoops, ScaledLoops};
pub use strategy::Strategy;

use crate::Layout;

/// What this crate knows of an instruction set.
pub(crate) struct Isa {
    /// What the processor must report, for messages.
    pub(crate) needs: &'static str,
    /// Asks the processor (and the operating system, where it must agree); the error is the end of "it cannot run here: ".
    pub(crate) detect: fn() -> Result<(), String>,
    /// The layout in which a model that is larger than the caches decodes in the shortest time, as measured
    /// (`cargo bench --workspace --bench kernels`). Base three pays where decoding it keeps up with the memory: with byte
    /// permutations.
    pub(crate) layout: Layout,
    /// Loops over rows of weights and activations.
    pub(crate) rows: RowLoops,
    /// Loops over groups of prepacked weights.
    pub(crate) panels: PanelLoops,
    /// A product of few rows with base three that decodes in its own way; `None` for the common loop nest.
    pub(crate) few_rows: Option<FewRows>,
    /// A product of many rows with an arrangement of its own, from the row count on where it was measured to be faster than
    /// [`PanelLoops::gemm`]; `None` for the common loop nest (`gemm::blocking`).
    pub(crate) many_rows: Option<ManyRows>,
    /// The product of many rows by [`Strategy::Lookup`]; `None` where there is none.
    pub(crate) lookup: Option<ManyRows>,
    /// Products with groups of weights that have scales of their own; `None` for a segment of K at a time by the loops
    /// above (`gemm::scaled`).
    pub(crate) scaled: Option<ScaledLoops>,
    /// Float and int8 products.
    pub(crate) dense: DenseLoops,
    /// Runs so many rounds of independent dot products on registers and returns the multiply-adds of one round; `None`
    /// without a dot product. As every function of a descriptor, it needs what [`Isa::detect`] has found.
    pub(crate) peak: Option<unsafe fn(usize) -> usize>,
}

/// An error for [`Isa::detect`] unless the processor reports all features.
#[allow(unused_macros)]
macro_rules! require {
    ($has:ident, $needs:expr, $($feature:tt),+) => {
        if $(std::arch::$has!($feature))&&+ {
            Ok(())
        } else {
            Err(format!("the processor does not report {}", $needs))
        }
    };
}

/// Defines [`Isa::peak`]: 12 independent sums cover latencies of up to 6 cycles at two a cycle.
#[cfg(target_arch = "x86_64")]
macro_rules! peak {
    ($name:ident, $features:literal, $zero:expr, $dot:path, $macs:literal) => {
        #[target_feature(enable = $features)]
        fn $name(rounds: usize) -> usize {
            let mut sums = [$zero; 12];
            let codes = std::hint::black_box($zero);
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = $dot(*sum, codes, codes);
                }
            }
            std::hint::black_box(sums);
            12 * $macs
        }
    };
}

/// An entry of the table: on another architecture only the name.
struct Entry {
    name: &'static str,
    /// The architecture that has it, as Rust calls it and as people do, and what the build needs; empty for all.
    arch: &'static str,
    isa: Option<&'static Isa>,
}

macro_rules! table {
    (
        $first:literal: $scalar:ident,
        $($name:literal: $module:ident on $arch:tt $(built with $feature:tt)?,)*
    ) => {
        pub(crate) mod $scalar;
        $(
            #[cfg(all(target_arch = $arch $(, target_feature = $feature)?))]
            pub(crate) mod $module;
            #[cfg(all(target_arch = $arch $(, target_feature = $feature)?))]
            const _: () = {
                use crate::gemm::blocking::MAX_ROWS;
                assert!($module::ISA.panels.rows_at_a_time <= MAX_ROWS);
                match &$module::ISA.few_rows {
                    Some(few) => assert!(few.max_rows <= MAX_ROWS),
                    None => {}
                }
            };
        )*

        static TABLE: [Entry; 1 + [$($name),*].len()] = [
            Entry { name: $first, arch: "", isa: Some(&$scalar::ISA) },
            $(
                #[cfg(all(target_arch = $arch $(, target_feature = $feature)?))]
                Entry { name: $name, arch: $arch, isa: Some(&$module::ISA) },
                #[cfg(not(all(target_arch = $arch $(, target_feature = $feature)?)))]
                Entry {
                    name: $name,
                    arch: concat!($arch $(, " built with -C target-feature=+", $feature)?),
                    isa: None,
                },
            )*
        ];
    };
}

// As a rule the slowest first: the last one that a processor has is the default.
table! {
    "scalar": scalar,
    "neon": neon on "aarch64",
    "neon-i8mm": i8mm on "aarch64",
    "avx2": avx2 on "x86_64",
    "avx-vnni": avx_vnni on "x86_64",
    "avx512-vnni": avx512 on "x86_64",
    "amx": amx on "x86_64",
    "simd128": simd128 on "wasm32" built with "simd128",
    "relaxed-simd": relaxed_simd on "wasm32" built with "relaxed-simd",
}
