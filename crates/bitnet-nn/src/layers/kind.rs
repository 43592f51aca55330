use serde::{Deserialize, Serialize};

/// What a [`BitLinear`](crate::BitLinear) computes: the switch between a model and its twin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinearKind {
    /// Ternary weights and int8 activations.
    #[default]
    Ternary,
    /// An ordinary float linear layer, `y = x · Wᵀ`.
    Float,
}
