//! The energy of a token's arithmetic, **modelled, not measured**.
//!
//! The model is that of the BitNet papers: count additions and multiplications, multiply each by what one such
//! operation costs in silicon. It leaves out what usually dominates on a real computer, moving the weights
//! through the memory hierarchy, and it prices a ternary addition at 8 bits although accumulators are wider.
//! It is a statement about what hardware *could* save, and three numbers are kept apart for that reason:
//!
//! 1. **arithmetic of the linear layers**: what the papers quote, the layers that become ternary and nothing else;
//! 2. **whole model**: the same plus output head and attention products, which stay float in both kinds of model;
//! 3. **measured**: joules from a meter, where the machine has one (`energy_joules` of a run).
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

pub use cost::{
    FloatWidth, OpCost, Process, block_product_pj, float_product_pj, ternary_product_pj,
};

use std::collections::BTreeMap;

use crate::variant::Linear;

/// How these numbers were obtained, so that no reader can take them for measured ones.
pub const MODELLED: &str = "modelled, not measured";

/// What the products of linear layers are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Floats.
    Float,
    /// Codes of 8 bits or fewer in blocks, times 8-bit ones.
    Blocks,
    /// Signs and zeros, times 8-bit codes.
    Ternary,
}

impl From<Linear> for Arithmetic {
    fn from(linear: Linear) -> Self {
        match linear {
            Linear::Float => Self::Float,
            Linear::Ternary => Self::Ternary,
        }
    }
}

/// Matrix products of a model for one token or example, each an `m×n` by `n×p` product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Products {
    /// The linear layers, as `(n, p)`, that is (inputs, outputs), with `m = 1`.
    pub linear: Vec<(u64, u64)>,
    /// What stays float beside them, as `(times, n, p)` with `m = 1`; `None` where it was not counted.
    pub float: Option<Vec<(u64, u64, u64)>>,
}

impl Products {
    /// Output head and attention of a decoder-only Transformer whose token attends to `context` positions: per head a
    /// `1×head_dim` by `head_dim×context` product for the scores, and the transpose of it for the values.
    pub fn head_and_attention(
        hidden: u64,
        vocab: u64,
        heads_of_all_layers: u64,
        head_dim: u64,
        context: u64,
    ) -> Vec<(u64, u64, u64)> {
        vec![
            (1, hidden, vocab),
            (heads_of_all_layers, head_dim, context),
            (heads_of_all_layers, context, head_dim),
        ]
    }

    /// Picojoules in the linear layers.
    pub fn linear_pj(
        &self,
        kind: impl Into<Arithmetic>,
        width: FloatWidth,
        process: Process,
    ) -> f64 {
        let product = match kind.into() {
            Arithmetic::Float => float_product_pj,
            Arithmetic::Blocks => block_product_pj,
            Arithmetic::Ternary => ternary_product_pj,
        };
        self.linear
            .iter()
            .map(|&(n, p)| product(1, n, p, width, process))
            .sum()
    }

    /// Picojoules in what stays float.
    pub fn float_pj(&self, width: FloatWidth, process: Process) -> Option<f64> {
        let product = |&(times, n, p): &(u64, u64, u64)| {
            times as f64 * float_product_pj(1, n, p, width, process)
        };
        Some(self.float.as_ref()?.iter().map(product).sum())
    }

    /// All of it by what was modelled, for every float width and process: `linear layers, FP16, 7 nm`, and `whole model, …`
    /// where the rest was counted.
    pub fn modelled(&self, kind: impl Into<Arithmetic>) -> BTreeMap<String, f64> {
        let kind = kind.into();
        let mut all = BTreeMap::new();
        for process in Process::ALL {
            for width in FloatWidth::ALL {
                let linear = self.linear_pj(kind, width, process);
                all.insert(label(LINEAR_LAYERS, width, process), linear);
                if let Some(rest) = self.float_pj(width, process) {
                    all.insert(label(WHOLE_MODEL, width, process), linear + rest);
                }
            }
        }
        all
    }
}

/// The part of a model that the papers quote.
pub const LINEAR_LAYERS: &str = "linear layers";
/// Linear layers, output head and attention.
pub const WHOLE_MODEL: &str = "whole model";

/// How a number is labelled in [`Products::modelled`].
pub fn label(part: &str, width: FloatWidth, process: Process) -> String {
    format!("{part}, {}, {}", width.name(), process.name())
}

#[cfg(test)]
mod tests;
