//! What can be wrong with data handed to this crate. One enum, each variant naming the offending value.

use crate::{BLOCK, BlockFormat, Granularity, Kernel, Layout, MAX_COLS, Strategy};

/// Why a packed matrix or a kernel name was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// A slice does not have the length that the shape asks for.
    #[error("{name} has {found} elements, but the shape asks for {expected}")]
    Length {
        /// Which slice.
        name: &'static str,
        /// The length that the shape asks for.
        expected: usize,
        /// The length it has.
        found: usize,
    },
    /// There is another number of scales than the granularity asks for.
    #[error(
        "{found} scales for a {rows} x {cols} matrix: granularity `{granularity}` asks for {expected}"
    )]
    ScaleCount {
        /// Which weights share a scale.
        granularity: Granularity,
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Scales that it must have.
        expected: usize,
        /// Scales given.
        found: usize,
    },
    /// A group of weights that share a scale is no whole number of packed words.
    #[error("groups of {size} weights: a group must be a multiple of 16")]
    GroupSize {
        /// Weights of a group.
        size: usize,
    },
    /// No granularity has this name.
    #[error("unknown granularity `{name}`: expected `tensor`, `row`, `group` or `group-N`")]
    UnknownGranularity {
        /// The name given.
        name: String,
    },
    /// A scale must be a positive finite number, or `code / scale` is not a weight.
    #[error("scale {index} is {value}: a scale must be positive and finite")]
    Scale {
        /// Which scale.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A code to pack is not -1, 0 or 1.
    #[error("code {value} at row {row}, column {col} is not ternary (-1, 0 or 1)")]
    NotTernary {
        /// Row of the code.
        row: usize,
        /// Column of the code.
        col: usize,
        /// The code.
        value: i8,
    },
    /// A packed element is `0b11`, which stands for no weight.
    #[error("illegal packed code 0b11 at row {row}, column {col}")]
    IllegalCode {
        /// Row of the element.
        row: usize,
        /// Column of the element.
        col: usize,
    },
    /// An element past the last column does not hold the code of weight 0.
    #[error(
        "padding of row {row} holds the bits {bits:#b} at position {col} instead of 0b1 (weight 0)"
    )]
    Padding {
        /// Row of the element.
        row: usize,
        /// Position in the row, at or past the number of columns.
        col: usize,
        /// The two bits found.
        bits: u32,
    },
    /// `rows · cols` does not fit in memory addresses.
    #[error("a {rows} x {cols} matrix is too large for this machine")]
    TooLarge {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        cols: usize,
    },
    /// No kernel has this name.
    #[error("unknown kernel `{name}`: expected {}", quoted(Kernel::ALL.map(Kernel::name)))]
    UnknownKernel {
        /// The name given.
        name: String,
    },
    /// No layout has this name.
    #[error("unknown layout `{name}`: expected {}", quoted(Layout::ALL.map(Layout::name)))]
    UnknownLayout {
        /// The name given.
        name: String,
    },
    /// No strategy has this name.
    #[error("unknown strategy `{name}`: expected {}", quoted(Strategy::ALL.map(Strategy::name)))]
    UnknownStrategy {
        /// The name given.
        name: String,
    },
    /// The kernel does not have the strategy.
    #[error("strategy `{strategy}` cannot run on kernel `{kernel}`: {}", strategy.reason(*kernel))]
    StrategyUnavailable {
        /// The strategy asked for.
        strategy: Strategy,
        /// The kernel.
        kernel: Kernel,
    },
    /// Base three cannot hold groups of weights with scales of their own.
    #[error(
        "granularity `{granularity}` cannot be stored in layout `base-three`, whose blocks of 80 columns it cuts: take `two-bit`"
    )]
    GroupsLayout {
        /// Which weights share a scale.
        granularity: Granularity,
    },
    /// Sums of so many products may not fit int32.
    #[error("{cols} columns: int32 sums are proven for at most {MAX_COLS}")]
    TooWide {
        /// Columns asked for.
        cols: usize,
    },
    /// The kernel exists, but this processor cannot run it.
    #[error("kernel `{kernel}` cannot run here: {}", kernel.reason())]
    KernelUnavailable {
        /// The kernel asked for.
        kernel: Kernel,
    },
    /// Rows of a matrix in blocks are whole blocks.
    #[error("rows of {cols} columns: a matrix in blocks needs a positive multiple of {BLOCK}")]
    BlockCols {
        /// Columns asked for.
        cols: usize,
    },
    /// A code is wider than the format of its block.
    #[error("code {value} at row {row}, column {col}: format `{format}` holds {} to {}", format.codes().0, format.codes().1)]
    BlockCode {
        /// Row of the code.
        row: usize,
        /// Column of the code.
        col: usize,
        /// The code.
        value: i8,
        /// The format.
        format: BlockFormat,
    },
    /// A scale or a minimum of a block cannot be held as it is.
    #[error("scale or minimum {value} of a block of row {row}: format `{format}` needs a finite {}", if *format == BlockFormat::Int8Halves { "number" } else { "16-bit float" })]
    BlockScale {
        /// Row of the block.
        row: usize,
        /// The scale or minimum.
        value: f32,
        /// The format.
        format: BlockFormat,
    },
    /// Products in bf16 were asked for, and the processor has no tiles for them.
    #[error("products in bf16 need the tiles of Intel AMX: {reason}")]
    NoTiles {
        /// Who refused.
        reason: &'static str,
    },
}

/// "`a`, `b` or `c`".
fn quoted<const N: usize>(names: [&str; N]) -> String {
    let quoted = names.map(|name| format!("`{name}`"));
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
