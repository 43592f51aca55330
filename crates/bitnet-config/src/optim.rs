//! The optimiser keys: shared by the twins in `[train]`, overridden in `[train.float]` and `[train.ternary]`.
//!
//! Ternary training wants four to six times the float learning rate and no weight decay near the end, so a
//! comparison under one shared setting cripples one twin. Each key can therefore be set once for both or per twin.

use serde::{Deserialize, Serialize};

use crate::Schedule;

/// What makes a step of a gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// AdamW (arXiv 1711.05101) for all parameters.
    #[default]
    AdamW,
    /// Muon (K. Jordan and others, 2024) for the matrices of the layers, scaled to the size of AdamW's steps (arXiv
    /// 2502.16982); AdamW for the embedding, the head and the norms.
    Muon,
}

/// Defines both structs from one list, so that no key can be missing from the overrides.
macro_rules! optimiser_keys {
    ($($(#[doc = $doc:expr])* $key:ident: $type:ty = $default:expr;)*) => {
        /// The optimiser, its schedule and gradient clipping, with every value decided.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct OptimConfig {
            $($(#[doc = $doc])* pub $key: $type,)*
        }

        impl Default for OptimConfig {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        /// The optimiser keys that one twin sets for itself.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct OptimOverride {
            $(
                $(#[doc = $doc])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $key: Option<$type>,
            )*
        }

        impl OptimOverride {
            /// The shared values, replaced where this twin has its own.
            pub fn over(&self, shared: &OptimConfig) -> OptimConfig {
                OptimConfig { $($key: self.$key.unwrap_or(shared.$key),)* }
            }
        }

        impl From<&OptimConfig> for OptimOverride {
            /// Sets every key.
            fn from(values: &OptimConfig) -> Self {
                Self { $($key: Some(values.$key),)* }
            }
        }
    };
}

optimiser_keys! {
    /// `adamw`; or `muon` for the matrices of the layers, ternary or float, with AdamW for the rest. Muon's momentum is 0.95
    /// with Nesterov's look ahead, its steps are orthogonalised by five of Newton and Schulz and scaled by 0.2 times the
    /// root of the longer side, so that it takes AdamW's rates.
    optimizer: Optimizer = Optimizer::AdamW;
    /// Peak learning rate.
    learning_rate: f64 = 2e-3;
    /// `cosine`, `linear`, `two-stage` or `constant`.
    schedule: Schedule = Schedule::Cosine;
    /// Learning rate at the end, as a fraction of the peak.
    final_lr_fraction: f64 = 0.1;
    /// Peak of the second stage (`two-stage` only).
    second_learning_rate: Option<f64> = None;
    /// Fraction of the steps after which the second stage begins (`two-stage` only).
    stage_fraction: f64 = 0.5;
    /// Steps over which the learning rate rises linearly from 0. A run shorter than that ends within its warm-up, with the
    /// same first steps as the long one.
    warmup_steps: usize = 40;
    /// Decoupled weight decay.
    weight_decay: f64 = 0.1;
    /// Fraction of the steps after which the weight decay is 0; 1 keeps it to the end.
    weight_decay_until: f64 = 1.0;
    /// Decay of Adam's first moment.
    beta1: f64 = 0.9;
    /// Decay of Adam's second moment.
    beta2: f64 = 0.95;
    /// Adam's epsilon.
    eps: f64 = 1e-8;
    /// Largest global norm of the gradient; 0 does not clip.
    grad_clip: f64 = 1.0;
}
