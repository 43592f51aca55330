//! Which quantiser: the switches that the formulas of this crate take.

/// How the scale of a weight group is estimated from its latent (float) weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum WeightQuantizer {
    /// `s = 1 / mean|w|` (BitNet b1.58, arXiv 2402.17764).
    #[default]
    AbsMean,
    /// `s = 1 / median|w|` (arXiv 2407.09527).
    AbsMedian,
    /// `w > mean(w)` → 1, else −1: binary weights, with the scale of [`AbsMean`](Self::AbsMean) (BitNet, arXiv 2310.11453).
    Sign,
}

/// Which weights share one scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Granularity {
    /// One scale for the whole matrix, as in the paper.
    #[default]
    Tensor,
    /// One scale for each output row.
    Row,
}
