//! What one operation costs, and what a matrix product costs in operations.

/// A manufacturing process with a published table of operation costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// 45 nm at 0.9 V (Horowitz 2014).
    Nm45,
    /// 7 nm (the BitNet papers' table).
    Nm7,
}

/// Width of a float operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatWidth {
    /// 32 bits.
    Fp32,
    /// 16 bits.
    Fp16,
}

/// Picojoules of one addition and one multiplication.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpCost {
    /// One addition.
    pub add_pj: f64,
    /// One multiplication.
    pub mul_pj: f64,
}

impl Process {
    /// Both processes, in the order reports show them.
    pub const ALL: [Process; 2] = [Process::Nm45, Process::Nm7];

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Process::Nm45 => "45 nm",
            Process::Nm7 => "7 nm",
        }
    }

    /// Cost of float operations.
    pub fn float(self, width: FloatWidth) -> OpCost {
        match (self, width) {
            (Process::Nm45, FloatWidth::Fp32) => OpCost {
                add_pj: 0.9,
                mul_pj: 3.7,
            },
            (Process::Nm45, FloatWidth::Fp16) => OpCost {
                add_pj: 0.4,
                mul_pj: 1.1,
            },
            (Process::Nm7, FloatWidth::Fp32) => OpCost {
                add_pj: 0.38,
                mul_pj: 1.31,
            },
            (Process::Nm7, FloatWidth::Fp16) => OpCost {
                add_pj: 0.16,
                mul_pj: 0.34,
            },
        }
    }

    /// Cost of 8-bit integer operations.
    pub fn int8(self) -> OpCost {
        match self {
            Process::Nm45 => OpCost {
                add_pj: 0.03,
                mul_pj: 0.2,
            },
            Process::Nm7 => OpCost {
                add_pj: 0.007,
                mul_pj: 0.07,
            },
        }
    }

    /// One float multiply-add over one INT8 addition: the limit of [`float_product_pj`] / [`ternary_product_pj`] for
    /// large `n` and `p`, and the papers' headline (71.4 for FP16 at 7 nm).
    pub fn headline_ratio(self, width: FloatWidth) -> f64 {
        let float = self.float(width);
        (float.add_pj + float.mul_pj) / self.int8().add_pj
    }
}

impl FloatWidth {
    /// Both widths, in the order reports show them.
    pub const ALL: [FloatWidth; 2] = [FloatWidth::Fp32, FloatWidth::Fp16];

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            FloatWidth::Fp32 => "FP32",
            FloatWidth::Fp16 => "FP16",
        }
    }
}

/// Picojoules of a float `m×n` by `n×p` product: `m(n−1)p` additions and `mnp` multiplications.
pub fn float_product_pj(m: u64, n: u64, p: u64, width: FloatWidth, process: Process) -> f64 {
    let cost = process.float(width);
    additions(m, n, p) * cost.add_pj + m as f64 * n as f64 * p as f64 * cost.mul_pj
}

/// Picojoules of a ternary `m×n` by `n×p` product: `m(n−1)p` INT8 additions and `mp + mn` multiplications for scales.
///
/// The scale multiplications are priced at `width`, because activations arrive as floats of that width and leave so;
/// the papers do not say at what width they price them.
pub fn ternary_product_pj(m: u64, n: u64, p: u64, width: FloatWidth, process: Process) -> f64 {
    let scales = m as f64 * (n as f64 + p as f64);
    additions(m, n, p) * process.int8().add_pj + scales * process.float(width).mul_pj
}

/// Picojoules of an `m×n` by `n×p` product of weights in blocks of 32 codes, of 8 bits or fewer, and activations in blocks
/// of 8-bit codes: `m(n−1)p` INT8 additions and `mnp` INT8 multiplications, and at `width` a multiplication for the scales
/// of each pair of blocks, `mnp/32`, and `mn` for the codes of the activations.
///
/// Formula of this program, by the rule of the papers: nobody has published one for blocks.
pub fn block_product_pj(m: u64, n: u64, p: u64, width: FloatWidth, process: Process) -> f64 {
    let products = m as f64 * n as f64 * p as f64;
    let codes = additions(m, n, p) * process.int8().add_pj + products * process.int8().mul_pj;
    let scales = products / 32.0 + m as f64 * n as f64;
    codes + scales * process.float(width).mul_pj
}

fn additions(m: u64, n: u64, p: u64) -> f64 {
    m as f64 * n.saturating_sub(1) as f64 * p as f64
}
