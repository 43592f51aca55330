//! A checkpoint folder as a source of tensors.

use std::{collections::BTreeMap, path::Path};

use bitnet_kernels::{DenseFormat, DenseMatrix, Granularity, Kernel};

use super::{
    config::HfConfig,
    describe::{self, Seen},
    packed::unpack_rows,
    tensors::{self, Found},
    text::{self, HfText},
};
use crate::{
    Error, ScaleDirection, TernaryTensor,
    error::Fault,
    model::{
        ActivationFormat, Finding, LayerRole, ModelDescription, Names, Projection, Role, Stored,
        Tensor, TensorEntry, TensorSource, WeightFormat, ternary_values,
    },
    safetensors::{Checkpoint, Dtype, SafeTensor},
};

/// A folder of transformers, opened and described.
#[derive(Debug)]
pub struct HfModel {
    checkpoint: Checkpoint,
    description: ModelDescription,
    text: HfText,
    tensors: Vec<TensorEntry>,
    /// Names of `weight_scale`s.
    scales: BTreeMap<Role, String>,
}

impl HfModel {
    /// Opens a folder with `config.json` and safetensors.
    ///
    /// # Errors
    ///
    /// If a file is missing or contradicts its format or the configuration, or a convention is unknown.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let path = folder.join("config.json");
        let config = text::config(folder)?;
        let checkpoint = Checkpoint::open(folder)?;
        let (text, tokenizer) = HfText::read(folder, &config)?;

        let found = tensors::find(&checkpoint).map_err(|fault| fault.within(checkpoint.path()))?;
        let seen = found.seen(&checkpoint);
        let described = describe(&config, &text, seen);
        let mut description = described.map_err(|fault| fault.within(&path))?;
        let warnings = checkpoint.unnamed().iter().map(|file| {
            let name: String = file.chars().take(80).flat_map(char::escape_debug).collect();
            format!("{name} is there, but the index does not name it: it is not read")
        });
        description.warnings.extend(warnings);
        tokenizer.check_ids(folder, description.shape.vocab_size)?;
        let Found {
            weights, scales, ..
        } = found;
        tensors::check_scales(&description, &scales)
            .map_err(|fault| fault.within(checkpoint.path()))?;
        let tensors = tensors::entries_of(&checkpoint, &description, weights);
        let tensors = tensors.map_err(|fault| fault.within(checkpoint.path()))?;
        if description.weights.value == WeightFormat::Float {
            find_ternary_values(&checkpoint, &mut description, &tensors)?;
        }
        Ok(Self {
            checkpoint,
            description,
            text,
            tensors,
            scales,
        })
    }

    /// What the files beside the tensors say of text.
    pub fn text(&self) -> &HfText {
        &self.text
    }

    /// The files with the tensors.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn fault(&self, name: &str, problem: impl std::fmt::Display) -> Error {
        Fault::tensor(name, problem).within(self.checkpoint.path())
    }

    fn stored(&self, role: Role) -> Option<(&TensorEntry, SafeTensor<'_>)> {
        let index = self.tensors.binary_search_by_key(&role, |entry| entry.role);
        let entry = &self.tensors[index.ok()?];
        Some((entry, self.checkpoint.tensor(&entry.name)?))
    }

    /// The `weight_scale` of a projection: one element.
    fn scale(&self, role: Role) -> Result<f32, Error> {
        let name = &self.scales[&role];
        let scale = self.checkpoint.tensor(name);
        let values = scale.map_or(Ok(Vec::new()), |scale| scale.to_f32())?;
        match values[..] {
            [scale] => Ok(scale),
            _ => Err(self.fault(name, format!("{} elements, expected 1", values.len()))),
        }
    }

    fn codes(
        &self,
        tensor: SafeTensor<'_>,
        entry: &TensorEntry,
        direction: ScaleDirection,
    ) -> Result<TernaryTensor, Error> {
        let scale = self.scale(entry.role)?;
        let shape = (entry.shape[0], entry.shape[1]);
        let ternary = if tensor.dtype() == Dtype::U8 {
            unpack_rows(tensor.bytes(), shape, scale, direction)
        } else {
            let values = tensor.to_f32()?;
            let is_code = |v: &f32| [-1.0, 0.0, 1.0].contains(v);
            if let Some(index) = values.iter().position(|v| !is_code(v)) {
                let problem = format!(
                    "{} at row {}, column {}, expected -1, 0 or 1 beside a weight_scale",
                    values[index],
                    index / shape.1,
                    index % shape.1
                );
                return Err(self.fault(&entry.name, problem));
            }
            let codes: Vec<i8> = values.iter().map(|v| *v as i8).collect();
            TernaryTensor::from_codes(&codes, shape, vec![scale], Granularity::Tensor, direction)
        };
        ternary.map_err(|error| self.fault(&entry.name, error))
    }
}

impl TensorSource for HfModel {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    fn read(&self, role: Role) -> Result<Tensor, Error> {
        let Some((entry, tensor)) = self.stored(role) else {
            return Err(self.fault(&role.name(Names::HuggingFace), "the model has none"));
        };
        let format = self.description.weights.value;
        if let (Role::Layer(_, LayerRole::Projection(_)), WeightFormat::Codes { direction }) =
            (role, format)
        {
            return Ok(Tensor::Ternary(self.codes(tensor, entry, direction)?));
        }
        let values = tensor.to_f32()?;
        if matches!(format, WeightFormat::TernaryValues { .. })
            && let [rows, cols] = entry.shape[..]
            && let Some(ternary) = ternary_values(&values, rows, cols)
        {
            return Ok(Tensor::Ternary(ternary));
        }
        let shape = entry.shape.clone();
        Ok(Tensor::Float { shape, values })
    }

    fn read_stored(&self, role: Role, kernel: Kernel) -> Result<Option<Stored>, Error> {
        let Some((entry, tensor)) = self.stored(role) else {
            return Err(self.fault(&role.name(Names::HuggingFace), "the model has none"));
        };
        let (Dtype::F16 | Dtype::Bf16, [rows, cols]) = (tensor.dtype(), &entry.shape[..]) else {
            return Ok(None);
        };
        let format = match tensor.dtype() {
            Dtype::F16 => DenseFormat::F16,
            _ => DenseFormat::Bf16,
        };
        let matrix = DenseMatrix::try_from_rows(*rows, *cols, format, kernel, |row, out| {
            tensor.decode_from(row * cols, out)
        });
        matrix.map(|matrix| Some(Stored::Dense(matrix)))
    }

    fn read_row(&self, role: Role, row: usize, out: &mut [f32]) -> Result<(), Error> {
        match self.stored(role) {
            Some((_, tensor)) => tensor.decode_from(row * out.len(), out),
            None => Err(self.fault(&role.name(Names::HuggingFace), "the model has none")),
        }
    }

    fn release(&self, role: Role) {
        if let Some((_, tensor)) = self.stored(role) {
            tensor.release();
        }
    }
}

fn describe(config: &HfConfig, text: &HfText, seen: Seen) -> Result<ModelDescription, Fault> {
    describe::check_switches(config)?;
    let family = describe::family(config, seen)?;
    let shape = describe::shape(config, seen)?;
    let (weights, activations) = describe::formats(config, family.value, seen)?;
    let (tied_head, warning) = describe::tied_head(config, seen)?;
    Ok(ModelDescription {
        family,
        shape,
        norms: describe::norms(config, seen)?,
        activation: describe::activation(config)?,
        rope: describe::rope(config, &shape)?,
        tied_head,
        weights,
        activations,
        tokenizer: text.tokenizer().clone(),
        pooling: text.pooling().clone(),
        special_tokens: text.special_tokens().clone(),
        chat_template: text.chat_template().map(String::from),
        warnings: warning.into_iter().collect(),
    })
}

/// Looks at two matrices of the first block: where both hold -s, 0, s only, the model is ternary in floats.
fn find_ternary_values(
    checkpoint: &Checkpoint,
    description: &mut ModelDescription,
    tensors: &[TensorEntry],
) -> Result<(), Error> {
    let mut found = Vec::new();
    for projection in [Projection::Query, Projection::Gate] {
        let role = Role::Layer(0, LayerRole::Projection(projection));
        let entry = tensors.iter().find(|entry| entry.role == role);
        let tensor = entry.and_then(|entry| checkpoint.tensor(&entry.name));
        let [rows, cols] = projection.shape(&description.shape);
        let values = tensor.map_or(Ok(Vec::new()), |tensor| tensor.to_f32())?;
        found.extend(ternary_values(&values, rows, cols).map(|ternary| ternary.granularity()));
    }
    if let [query, gate] = found[..] {
        // The finer of both is what all tensors have.
        let size = |granularity| match granularity {
            Granularity::Tensor => usize::MAX,
            Granularity::Row => usize::MAX - 1,
            Granularity::Group(n) => n,
        };
        let granularity = if size(query) < size(gate) {
            query
        } else {
            gate
        };
        let evidence = "q_proj and gate_proj of layer 0 hold only -s, 0 and s";
        description.weights = Finding::new(WeightFormat::TernaryValues { granularity }, evidence);
        let evidence =
            "floats that hold ternary values; the files do not say what happens to activations";
        description.activations = Finding::new(ActivationFormat::Unknown, evidence);
    }
    Ok(())
}
