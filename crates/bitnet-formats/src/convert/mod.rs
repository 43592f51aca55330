//! Writes a model as another container: its description and tensors, one at a time.
//!
//! Codes stay codes: no scale is estimated again from weights that are ternary already, which would give
//! `γ · (1 - share of zeros)` in place of γ. Master weights become codes by the formula that their model runs, absmean of
//! each matrix in f32.

mod to_gguf;
mod to_hf;

pub use to_hf::write_text;

use std::{fmt, path::Path, str::FromStr};

use bitnet_kernels::{Granularity, PackedTernary, WeightQuantizer};

use crate::{
    Error, ModelFile, TensorType, TernaryTensor,
    error::{Fault, Place},
    model::{LayerRole, Role, Tensor, TensorSource, WeightFormat},
};

/// What a model is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A folder of transformers: floats, or codes as floats with their scale where inputs are int8.
    Hf,
    /// A folder of transformers with four codes a byte.
    HfPacked,
    /// A GGUF file whose projections have this type; floats are rounded to it as llama.cpp's own quantiser rounds them.
    Gguf(TensorType),
}

impl Target {
    /// Every target, by name.
    pub const ALL: [(&'static str, Self); 11] = [
        ("hf", Self::Hf),
        ("hf-packed", Self::HfPacked),
        ("gguf-i2_s", Self::Gguf(TensorType::I2S)),
        ("gguf-tq1_0", Self::Gguf(TensorType::Tq1_0)),
        ("gguf-tq2_0", Self::Gguf(TensorType::Tq2_0)),
        ("gguf-q2_0", Self::Gguf(TensorType::Q2_0)),
        ("gguf-f16", Self::Gguf(TensorType::F16)),
        ("gguf-f32", Self::Gguf(TensorType::F32)),
        ("gguf-q8_0", Self::Gguf(TensorType::Q8_0)),
        ("gguf-q4_0", Self::Gguf(TensorType::Q4_0)),
        ("gguf-q4_1", Self::Gguf(TensorType::Q4_1)),
    ];
}

/// The name of a target is none of [`Target::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown format `{0}`: choose hf, hf-packed, gguf-i2_s, gguf-tq1_0, gguf-tq2_0, gguf-q2_0, gguf-f16, gguf-f32, \
     gguf-q8_0, gguf-q4_0 or gguf-q4_1"
)]
pub struct UnknownTarget(String);

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(name: &str) -> Result<Self, UnknownTarget> {
        let found = Self::ALL.iter().find(|(other, _)| *other == name);
        found
            .map(|(_, target)| *target)
            .ok_or_else(|| UnknownTarget(name.into()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = Self::ALL.iter().find(|(_, other)| other == self);
        f.pad(found.map_or("gguf", |(name, _)| name))
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Converted {
    /// Tensors of the new files.
    pub tensors: usize,
    /// Bytes of the new files.
    pub bytes: u64,
    /// What the new files lack.
    pub warnings: Vec<String>,
}

/// Writes a model to `path`, which must not exist; it appears when it is complete.
///
/// # Errors
///
/// If the target cannot hold the model, which is found before anything is written where shapes tell; if reading or writing
/// fails.
pub fn convert(model: &ModelFile, target: Target, path: &Path) -> Result<Converted, Error> {
    if path.exists() {
        let remedy = "choose a path that is free";
        let fault = Fault::unsupported(Place::File, "it is there already", remedy);
        return Err(fault.within(path));
    }
    match target {
        Target::Hf => to_hf::write(model, false, path),
        Target::HfPacked => to_hf::write(model, true, path),
        Target::Gguf(ty) => to_gguf::write(model, ty, path),
    }
}

/// Whether a tensor is one of the matrices that a ternary model quantises.
fn is_projection(role: Role) -> bool {
    matches!(role, Role::Layer(_, LayerRole::Projection(_)))
}

/// Refuses to write floats as a ternary format.
fn check_ternary(model: &dyn TensorSource, path: &Path) -> Result<(), Error> {
    if model.description().weights.value != WeightFormat::Float {
        return Ok(());
    }
    let reason = "the model's weights are floats, the format is ternary";
    let remedy = "train it to ternary first, or choose gguf-f16 or hf";
    Err(Fault::unsupported(Place::File, reason, remedy).within(path))
}

/// Reads a tensor; a projection of master weights becomes codes.
fn read(model: &dyn TensorSource, role: Role, path: &Path) -> Result<Tensor, Error> {
    let tensor = model.read(role)?;
    let is_master = model.description().weights.value == WeightFormat::OnlineAbsMean;
    let Tensor::Float { shape, values } = &tensor else {
        return Ok(tensor);
    };
    let [rows, cols] = shape[..] else {
        return Ok(tensor);
    };
    if !is_master || !is_projection(role) {
        return Ok(tensor);
    }
    let (absmean, whole) = (WeightQuantizer::AbsMean, Granularity::Tensor);
    let packed = PackedTernary::from_latent(values, rows, cols, absmean, whole);
    let name = || role.name(crate::model::Names::HuggingFace);
    let packed = packed.map_err(|error| Fault::tensor(&name(), error).within(path))?;
    Ok(Tensor::Ternary(TernaryTensor::from(packed)))
}
