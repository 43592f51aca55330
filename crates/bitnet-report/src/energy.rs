//! The energy of a token's arithmetic, **modelled, not measured**.
//!
//! The model is that of the BitNet papers: count additions and multiplications, multiply each by what one such
//! operation costs in silicon. It leaves out what usually dominates on a real computer, moving the weights
//! through the memory hierarchy, and it prices a ternary addition at 8 bits although accumulators are wider.
//! It is a statement about what hardware *could* save, and three numbers are kept apart for that reason:
//!
//! 1. **arithmetic of the linear layers**: what the papers quote, the layers that become ternary and nothing else;
//! 2. **whole model**: the same plus output head and attention products, which stay float in both twins;
//! 3. **measured**: joules from a meter, where the machine has one ([`Energy::measured_joules_per_token`]).
//!
//! Norms, softmax, rotary embedding and activation functions are not counted: they are `O(hidden)` per token beside
//! the `O(hidden²)` of the products.
//!
//! # Sources
//!
//! Operation costs at 45 nm: M. Horowitz, *Computing's energy problem*, ISSCC 2014; at 7 nm: the table the BitNet
//! papers use. Formulas: *BitNet* (arXiv 2310.11453), section on computational efficiency: an `m×n` by `n×p` product
//! takes
//!
//! ```text
//! float    additions m(n−1)p                multiplications mnp
//! BitNet   additions m(n−1)p, 8-bit integer multiplications mp + mn  (output scales, activation scales)
//! ```
//!
//! The "71.4 times" of *BitNet b1.58* (arXiv 2402.17764, figure 3) is one FP16 multiply-add over one INT8 addition
//! at 7 nm, (0.34 + 0.16) / 0.007 = 71.43: no scales, no head, no attention. [`Process::headline_ratio`] is that
//! quotient; a test pins it.

mod cost;

pub use cost::{FloatWidth, OpCost, Process, float_product_pj, ternary_product_pj};

use serde::{Deserialize, Serialize};

/// How an [`Energy`] was obtained, so that no reader can take one for the other.
pub const MODELLED: &str = "modelled, not measured";

/// Arithmetic of the linear layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinearKind {
    /// Float weights: a multiplication and an addition per weight.
    Float,
    /// Ternary weights: an 8-bit addition per weight, scales outside.
    Ternary,
}

/// Shape of a decoder-only Transformer with a gated feed-forward network (gate, up, down), as LLaMA has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelShape {
    /// Width of the residual stream.
    pub hidden: u64,
    /// Width inside the feed-forward network.
    pub intermediate: u64,
    /// Blocks.
    pub layers: u64,
    /// Query heads.
    pub heads: u64,
    /// Key and value heads.
    pub kv_heads: u64,
    /// Width of one head.
    pub head_dim: u64,
    /// Rows of the output head.
    pub vocab: u64,
}

impl ModelShape {
    /// The linear layers of one block as `(inputs, outputs)`: q, k, v, o, gate, up, down.
    pub fn linear_layers(&self) -> [(u64, u64); 7] {
        let query = self.heads.saturating_mul(self.head_dim);
        let key = self.kv_heads.saturating_mul(self.head_dim);
        let (hidden, wide) = (self.hidden, self.intermediate);
        [
            (hidden, query),
            (hidden, key),
            (hidden, key),
            (query, hidden),
            (hidden, wide),
            (hidden, wide),
            (wide, hidden),
        ]
    }

    /// Picojoules per token in the linear layers of all blocks; one token is a product with `m = 1`.
    pub fn linear_pj(&self, kind: LinearKind, width: FloatWidth, process: Process) -> f64 {
        let block: f64 = self
            .linear_layers()
            .iter()
            .map(|&(n, p)| match kind {
                LinearKind::Float => float_product_pj(1, n, p, width, process),
                LinearKind::Ternary => ternary_product_pj(1, n, p, width, process),
            })
            .sum();
        self.layers as f64 * block
    }

    /// Picojoules per token in what stays float: the output head, and attention over `context` positions
    /// (per head a `1×head_dim` by `head_dim×context` product for the scores, the transpose of it for the values).
    pub fn float_rest_pj(&self, context: u64, width: FloatWidth, process: Process) -> f64 {
        let head = float_product_pj(1, self.hidden, self.vocab, width, process);
        let scores = float_product_pj(1, self.head_dim, context, width, process);
        let values = float_product_pj(1, context, self.head_dim, width, process);
        head + self.layers as f64 * self.heads as f64 * (scores + values)
    }

    /// Models the energy of generating the token at position `context`, for every float width and process.
    pub fn energy(&self, kind: LinearKind, context: u64) -> Energy {
        let pairs = FloatWidth::ALL
            .into_iter()
            .flat_map(|width| Process::ALL.map(|process| (width, process)));
        let estimates = pairs
            .map(|(width, process)| {
                let linear_pj = self.linear_pj(kind, width, process);
                let model_pj = linear_pj + self.float_rest_pj(context, width, process);
                EnergyEstimate {
                    float: width,
                    process,
                    linear_pj,
                    model_pj,
                }
            })
            .collect();
        Energy {
            method: MODELLED.to_owned(),
            linear: kind,
            context,
            estimates,
            measured_joules_per_token: None,
        }
    }
}

/// Energy per token of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// [`MODELLED`].
    pub method: String,
    /// Arithmetic of the linear layers.
    pub linear: LinearKind,
    /// Positions the token attends to.
    pub context: u64,
    /// One estimate per float width and process.
    pub estimates: Vec<EnergyEstimate>,
    /// Joules per token from a meter (RAPL), where the machine has one that may be read.
    #[serde(default)]
    pub measured_joules_per_token: Option<f64>,
}

/// Modelled picojoules per token on one process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnergyEstimate {
    /// Width of every float operation.
    pub float: FloatWidth,
    /// The process.
    pub process: Process,
    /// Arithmetic of the linear layers.
    pub linear_pj: f64,
    /// Linear layers, output head and attention.
    pub model_pj: f64,
}

impl Energy {
    /// The estimate for one float width and process.
    pub fn estimate(&self, float: FloatWidth, process: Process) -> Option<&EnergyEstimate> {
        self.estimates
            .iter()
            .find(|e| e.float == float && e.process == process)
    }
}

#[cfg(test)]
mod tests;
