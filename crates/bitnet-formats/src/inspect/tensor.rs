//! One tensor: how many weights are -1, 0 and 1, its scales or values, and what is odd about them.

use bitnet_kernels::{Granularity, PackedTernary, WeightQuantizer};
use serde::Serialize;

use crate::{
    Error, TernaryTensor,
    model::{LayerRole, Role, Tensor, TensorEntry, TensorSource, WeightFormat},
    ternary::ScaleDirection,
};

/// Weights of trained models are below 10 and above 1e-5; scales beyond are more likely applied the wrong way round.
const PLAUSIBLE: std::ops::Range<f32> = 1e-5..10.0;
/// absmean makes 25 to 60 of 100 weights 0.
const PLAUSIBLE_ZEROS: std::ops::Range<f64> = 0.02..0.95;

/// A tensor and what it holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorReport {
    /// Its name in the file.
    pub name: String,
    /// Its shape in the model.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub storage: String,
    /// Bytes in the file.
    pub bytes: u64,
    /// What its codes are, if it has any; of master weights, those that they become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codes: Option<Codes>,
    /// What its values are, if it has no codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Values>,
    /// What is odd.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The codes of a ternary matrix.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Codes {
    /// How many are -1, 0 and 1.
    pub counts: [u64; 3],
    /// How many scales there are.
    pub scales: usize,
    /// The least and the largest of them, as numbers that multiply.
    pub multiplier: [f32; 2],
}

/// The values of a float tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Values {
    /// The least.
    pub min: f32,
    /// The largest.
    pub max: f32,
    /// The mean magnitude.
    pub mean_abs: f64,
    /// How many are NaN or infinite.
    pub not_finite: u64,
}

impl TensorReport {
    /// Reads a tensor and reports it.
    pub(super) fn read(source: &dyn TensorSource, entry: &TensorEntry) -> Result<Self, Error> {
        let (mut codes, mut values, mut warnings) = (None, None, Vec::new());
        let tensor = source.read(entry.role)?;
        let is_master = source.description().weights.value == WeightFormat::OnlineAbsMean
            && matches!(entry.role, Role::Layer(_, LayerRole::Projection(_)));
        match tensor {
            Tensor::Ternary(ternary) => codes = Some(codes_of(&ternary, &mut warnings)),
            Tensor::Float { values: floats, .. } => {
                let found = values_of(&floats, &mut warnings);
                if is_master && found.not_finite == 0 && found.mean_abs > 0.0 {
                    let (rows, cols) = (entry.shape[0], entry.shape[1]);
                    let (absmean, whole) = (WeightQuantizer::AbsMean, Granularity::Tensor);
                    let packed = PackedTernary::from_latent(&floats, rows, cols, absmean, whole);
                    codes = packed
                        .ok()
                        .map(|packed| codes_of(&packed.into(), &mut warnings));
                }
                values = Some(found);
            }
        }
        Ok(Self {
            name: entry.name.clone(),
            shape: entry.shape.clone(),
            storage: entry.storage.clone(),
            bytes: entry.bytes,
            codes,
            values,
            warnings,
        })
    }
}

fn codes_of(ternary: &TernaryTensor, warnings: &mut Vec<String>) -> Codes {
    let counts = ternary.counts();
    let multiplier = |scale: f32| match ternary.direction() {
        ScaleDirection::Multiply => scale,
        ScaleDirection::Divide => 1.0 / scale,
    };
    let scales = ternary.scales().iter().copied().map(multiplier);
    let range = scales.fold([f32::INFINITY, 0.0], |[min, max], s| {
        [min.min(s), s.max(max)]
    });
    let total: u64 = counts.iter().sum();
    let zeros = counts[1] as f64 / total.max(1) as f64;
    if counts[1] == total {
        warnings.push("all weights are 0".into());
    } else if !PLAUSIBLE_ZEROS.contains(&zeros) {
        warnings.push(format!("{:.1} % of the weights are 0", 100.0 * zeros));
    }
    // A group of zeros may have the scale 0.
    let implausible = |s: &f32| *s != 0.0 && !PLAUSIBLE.contains(s);
    if let Some(scale) = range.iter().find(|s| implausible(s)) {
        let other = 1.0 / scale;
        warnings.push(format!(
            "weights of ±{scale} are implausible; with the scale applied the other way they were ±{other}"
        ));
    }
    Codes {
        counts,
        scales: ternary.scales().len(),
        multiplier: range,
    }
}

fn values_of(floats: &[f32], warnings: &mut Vec<String>) -> Values {
    let (mut min, mut max, mut sum, mut not_finite) = (f32::INFINITY, f32::NEG_INFINITY, 0.0, 0);
    for value in floats {
        if value.is_finite() {
            min = min.min(*value);
            max = max.max(*value);
            sum += f64::from(value.abs());
        } else {
            not_finite += 1;
        }
    }
    if not_finite > 0 {
        warnings.push(format!("{not_finite} values are NaN or infinite"));
    }
    if sum == 0.0 {
        warnings.push("all values are 0".into());
    }
    Values {
        min,
        max,
        mean_abs: sum / floats.len().max(1) as f64,
        not_finite,
    }
}
