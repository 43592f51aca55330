//! The quantisation scheme: how weights and activations of a ternary layer become codes, and which weights share a scale.

use std::{fmt, str::FromStr};

use crate::{Error, TernaryWord};

/// How a ternary layer quantises: one value from the configuration to the kernels.
///
/// ```
/// use bitnet_kernels::{Granularity, Quantization};
/// let scheme = Quantization { granularity: Granularity::Group(64), ..Quantization::default() };
/// assert_eq!(scheme.granularity.scales(3, 100), 6);
/// assert!(Quantization { granularity: Granularity::Group(24), ..scheme }.check().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Quantization {
    /// Estimator of the weights' scales.
    pub weights: WeightQuantizer,
    /// Which weights share one.
    pub granularity: Granularity,
    /// How activations are quantised.
    pub activations: ActivationQuantizer,
}

impl Quantization {
    /// Checks what the types leave open.
    ///
    /// # Errors
    ///
    /// [`Error::GroupSize`].
    pub fn check(&self) -> Result<(), Error> {
        self.granularity.check()
    }
}

/// How the scale of weights that share one is estimated from their latent (float) values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum WeightQuantizer {
    /// `s = 1 / mean|w|` (BitNet b1.58, arXiv 2402.17764).
    #[default]
    AbsMean,
    /// `s = 1 / median|w|` (arXiv 2407.09527).
    AbsMedian,
    /// `s = 1 / (1.224 · √mean w²)`: the scale and the threshold, half of it, of least squared error where weights are
    /// normally distributed (QuEST, arXiv 2502.05003).
    Rms,
    /// `s = 1 / α` with the α of least `Σ (w − α·q)²` for these very weights (ternary weight networks, arXiv 1605.04711).
    Mse,
    /// `w > mean(w)` → 1, else −1: binary weights, with the scale of [`AbsMean`](Self::AbsMean) (BitNet, arXiv 2310.11453).
    Sign,
}

impl WeightQuantizer {
    /// All of them. The tests of every crate take them from here.
    pub const ALL: [WeightQuantizer; 5] = [
        Self::AbsMean,
        Self::AbsMedian,
        Self::Rms,
        Self::Mse,
        Self::Sign,
    ];

    /// `α / √mean w²` of [`Rms`](Self::Rms): of a normal distribution, the outer level of the three that lose least (J. Max,
    /// "Quantizing for Minimum Distortion", 1960, table I).
    pub const RMS_OPTIMUM: f64 = 1.224_006_4;
}

/// How a ternary layer quantises what it is given, one scale a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum ActivationQuantizer {
    /// 8 bits, absmax (BitNet b1.58).
    #[default]
    Int8,
    /// 4 bits, absmean · √7 (BitNet a4.8, arXiv 2411.04965).
    Int4,
    /// Not at all, `none` in files: only weights are quantised (TriLM), and the product is a float one.
    #[cfg_attr(feature = "serde", serde(rename = "none"))]
    Float,
}

/// Which weights of a matrix share one scale: `tensor`, `row`, or `group-N` for N inputs of a row.
///
/// A group is a multiple of 16 inputs, so that no packed word belongs to two. Where a row is no whole number of groups, its
/// last group is shorter. Scales of groups are `[rows, groups]`, those of a row side by side.
///
/// ```
/// use bitnet_kernels::Granularity;
/// assert_eq!("group-64".parse(), Ok(Granularity::Group(64)));
/// assert_eq!("group".parse(), Ok(Granularity::Group(128)));
/// assert!("group-20".parse::<Granularity>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", try_from = "String"))]
pub enum Granularity {
    /// All weights, as in the paper.
    #[default]
    Tensor,
    /// Those of an output row.
    Row,
    /// So many consecutive inputs of an output row.
    Group(usize),
}

impl Granularity {
    /// The group of `group` without a number.
    const GROUP: usize = 128;

    /// The granularity itself, if its groups are whole words.
    ///
    /// # Errors
    ///
    /// [`Error::GroupSize`] if a group is empty or no multiple of 16.
    pub fn check(self) -> Result<(), Error> {
        match self {
            Granularity::Group(size) if size == 0 || !size.is_multiple_of(TernaryWord::WEIGHTS) => {
                Err(Error::GroupSize { size })
            }
            _ => Ok(()),
        }
    }

    /// Inputs of a row of `cols` that share a scale: all of them, or a group.
    pub fn group(self, cols: usize) -> usize {
        match self {
            Granularity::Tensor | Granularity::Row => cols,
            Granularity::Group(size) => size,
        }
    }

    /// Groups of a row of `cols` inputs, the last of which may be shorter; 1 without groups.
    pub fn groups(self, cols: usize) -> usize {
        match self {
            Granularity::Tensor | Granularity::Row => 1,
            Granularity::Group(size) => cols.div_ceil(size),
        }
    }

    /// Scales of a matrix `[rows, cols]`.
    pub fn scales(self, rows: usize, cols: usize) -> usize {
        match self {
            Granularity::Tensor => 1,
            Granularity::Row => rows,
            Granularity::Group(_) => rows * self.groups(cols),
        }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Granularity::Tensor => f.pad("tensor"),
            Granularity::Row => f.pad("row"),
            Granularity::Group(size) => f.pad(&format!("group-{size}")),
        }
    }
}

impl FromStr for Granularity {
    type Err = Error;

    fn from_str(name: &str) -> Result<Granularity, Error> {
        let unknown = || Error::UnknownGranularity {
            name: name.to_owned(),
        };
        let granularity = match name {
            "tensor" => Granularity::Tensor,
            "row" => Granularity::Row,
            "group" => Granularity::Group(Self::GROUP),
            _ => {
                let size = name.strip_prefix("group-").ok_or_else(unknown)?;
                Granularity::Group(size.parse().map_err(|_| unknown())?)
            }
        };
        granularity.check()?;
        Ok(granularity)
    }
}

impl From<Granularity> for String {
    fn from(granularity: Granularity) -> String {
        granularity.to_string()
    }
}

impl TryFrom<String> for Granularity {
    type Error = Error;

    fn try_from(name: String) -> Result<Granularity, Error> {
        name.parse()
    }
}
