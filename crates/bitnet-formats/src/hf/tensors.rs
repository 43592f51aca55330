//! The tensors of a checkpoint by their roles: all that the model has, none that it has not, each with its shape.

use std::collections::BTreeMap;

use super::describe::Seen;
use crate::{
    error::{Fault, Place},
    model::{
        Form, LayerRole, ModelDescription, Names, Projection, Role, TensorEntry, WeightFormat,
    },
    safetensors::{Checkpoint, Dtype, SafeTensor},
};

/// Ends of names of buffers that are computed and not learned.
const BUFFERS: [&str; 3] = ["rotary_emb.inv_freq", "attention.bias", "masked_bias"];

/// The tensors of a checkpoint by their roles.
#[derive(Default)]
pub(super) struct Found {
    pub(super) weights: BTreeMap<Role, String>,
    /// Names of `weight_scale`s.
    pub(super) scales: BTreeMap<Role, String>,
    one_bit_names: bool,
}

/// Finds the role of every tensor; a tensor without one is refused, since it stands for a convention that is unknown.
pub(super) fn find(checkpoint: &Checkpoint) -> Result<Found, Fault> {
    let mut found = Found::default();
    for tensor in checkpoint.tensors() {
        let name = tensor.name();
        if BUFFERS.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let bare = name.strip_prefix("model.").unwrap_or(name);
        let (weight, scale) = (
            bare.strip_suffix(".weight"),
            bare.strip_suffix(".weight_scale"),
        );
        let role = weight
            .or(scale)
            .and_then(|bare| Role::parse(bare, Names::HuggingFace));
        let Some(role) = role else {
            let reason = if name.ends_with(".bias") {
                "biases are not supported"
            } else {
                "the name is unknown, and with it what the model does with the tensor"
            };
            let place = Place::Tensor(name.into());
            return Err(Fault::unsupported(
                place,
                reason,
                "use transformers for this model",
            ));
        };
        found.one_bit_names |= bare.ends_with("inner_attn_ln.weight");
        let map = if weight.is_some() {
            &mut found.weights
        } else {
            &mut found.scales
        };
        if let Some(other) = map.insert(role, name.into()) {
            let problem =
                format!("`{other}` has the same place in the model, expected one of them");
            return Err(Fault::tensor(name, problem));
        }
    }
    Ok(found)
}

impl Found {
    pub(super) fn seen(&self, checkpoint: &Checkpoint) -> Seen {
        let has = |role| self.weights.contains_key(&Role::Layer(0, role));
        let query = Role::Layer(0, LayerRole::Projection(Projection::Query));
        let query = self
            .weights
            .get(&query)
            .and_then(|name| checkpoint.tensor(name));
        let packed = query.is_some_and(|tensor| tensor.dtype() == Dtype::U8);
        let rows = query.map(|tensor| tensor.shape().first().copied().unwrap_or(0));
        Seen {
            sub_norms: has(LayerRole::AttentionSubNorm),
            one_bit_names: self.one_bit_names,
            query_key_norms: has(LayerRole::QueryNorm),
            projection_norms: has(LayerRole::InputNorm(Projection::Query)),
            head: self.weights.contains_key(&Role::Head),
            scales: !self.scales.is_empty(),
            packed,
            query_rows: rows.map(|rows| if packed { rows.saturating_mul(4) } else { rows }),
        }
    }
}

/// Checks that exactly the model's tensors are there, each with its shape and a type that its role may have.
pub(super) fn entries_of(
    checkpoint: &Checkpoint,
    description: &ModelDescription,
    mut weights: BTreeMap<Role, String>,
) -> Result<Vec<TensorEntry>, Fault> {
    if description.tied_head.value {
        weights.remove(&Role::Head);
    }
    let mut entries = Vec::with_capacity(weights.len());
    for role in description.roles() {
        let Some(name) = weights.remove(&role) else {
            let problem = "is missing, expected from config.json and the other layers";
            return Err(Fault::tensor(&role.name(Names::HuggingFace), problem));
        };
        // Found in the checkpoint a moment ago.
        let Some(tensor) = checkpoint.tensor(&name) else {
            continue;
        };
        let shape = role.shape(&description.shape);
        check_shape(&tensor, role, &shape, description)?;
        entries.push(TensorEntry {
            role,
            shape,
            storage: tensor.dtype().to_string(),
            form: match tensor.dtype() {
                Dtype::F16 | Dtype::Bf16 => Form::Half,
                Dtype::F32 => Form::Full,
                // The only other type that a tensor may have, see `check_shape`.
                _ => Form::Codes,
            },
            bytes: tensor.bytes().len() as u64,
            name,
        });
    }
    if let Some((_, name)) = weights.first_key_value() {
        let problem = "is there, but config.json and layer 0 expect none";
        return Err(Fault::tensor(name, problem));
    }
    entries.sort_unstable_by_key(|entry| entry.role);
    Ok(entries)
}

/// Every projection has a scale and nothing else has one, if the model has any.
pub(super) fn check_scales(
    description: &ModelDescription,
    scales: &BTreeMap<Role, String>,
) -> Result<(), Fault> {
    let is_projection = |role: &Role| matches!(role, Role::Layer(_, LayerRole::Projection(_)));
    if let Some((_, name)) = scales.iter().find(|(role, _)| !is_projection(role)) {
        return Err(Fault::tensor(name, "is the scale of no projection"));
    }
    if scales.is_empty() {
        return Ok(());
    }
    let mut roles = description.roles().filter(is_projection);
    match roles.find(|role| !scales.contains_key(role)) {
        None => Ok(()),
        Some(role) => {
            let problem = "has no weight_scale, but other projections have one";
            Err(Fault::tensor(&role.name(Names::HuggingFace), problem))
        }
    }
}

fn check_shape(
    tensor: &SafeTensor<'_>,
    role: Role,
    shape: &[usize],
    description: &ModelDescription,
) -> Result<(), Fault> {
    let is_projection = matches!(role, Role::Layer(_, LayerRole::Projection(_)));
    let codes = matches!(description.weights.value, WeightFormat::Codes { .. });
    let expected = match (tensor.dtype(), shape) {
        (Dtype::U8, [rows, cols]) if is_projection && codes => vec![rows.div_ceil(4), *cols],
        (Dtype::F32 | Dtype::F16 | Dtype::Bf16, shape) => shape.to_vec(),
        (other, _) => {
            let reason = format!("the type {other} is not expected here");
            let place = Place::Tensor(tensor.name().into());
            return Err(Fault::unsupported(
                place,
                reason,
                "save it as F32, F16 or BF16",
            ));
        }
    };
    if tensor.shape() == expected {
        Ok(())
    } else {
        let problem = format!("shape {:?}, expected {expected:?}", tensor.shape());
        Err(Fault::tensor(tensor.name(), problem))
    }
}
