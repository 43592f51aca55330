//! A GGUF file as a source of a model's tensors.

use std::{collections::BTreeMap, path::Path};

use bitnet_kernels::{BlockMatrix, DenseFormat, DenseMatrix, Kernel};

use super::{
    describe::Metadata,
    file::{GgufFile, GgufTensor},
};
use crate::{
    Error, I2sOrder, TensorType,
    blocks::{block_format, decode_row},
    error::{Fault, Place},
    model::{
        Finding, Form, LayerRole, ModelDescription, Names, Projection, Role, Stored, Tensor,
        TensorEntry, TensorSource, WeightFormat, interleaved_row,
    },
};

/// A GGUF file, opened and described.
#[derive(Debug)]
pub struct GgufModel {
    file: GgufFile,
    description: ModelDescription,
    tensors: Vec<TensorEntry>,
}

impl GgufModel {
    /// Opens and describes a file.
    ///
    /// # Errors
    ///
    /// If it contradicts the format or itself, or a convention is unknown.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_file(GgufFile::open(path)?)
    }

    /// Describes a file that is open.
    ///
    /// # Errors
    ///
    /// As [`GgufModel::open`].
    pub fn from_file(file: GgufFile) -> Result<Self, Error> {
        let described = describe(&file).and_then(|description| {
            let tensors = entries(&file, &description)?;
            Ok((description, tensors))
        });
        let (description, tensors) = described.map_err(|fault| fault.within(file.path()))?;
        Ok(Self {
            file,
            description,
            tensors,
        })
    }

    /// The file.
    pub fn file(&self) -> &GgufFile {
        &self.file
    }

    /// Where a file keeps a row.
    fn row_in_file(&self, role: Role, row: usize) -> usize {
        if self.is_interleaved(role) {
            interleaved_row(row, self.description.shape.head_dim)
        } else {
            row
        }
    }

    fn stored(&self, role: Role) -> Result<(&TensorEntry, GgufTensor<'_>), Error> {
        let index = self.tensors.binary_search_by_key(&role, |entry| entry.role);
        let entry = index.ok().map(|index| &self.tensors[index]);
        let found = entry.and_then(|entry| Some((entry, self.file.tensor(&entry.name)?)));
        found.ok_or_else(|| {
            let fault = Fault::tensor(&role.name(Names::Gguf), "the model has none");
            fault.within(self.file.path())
        })
    }

    /// Whether the file keeps the rows of this tensor interleaved.
    fn is_interleaved(&self, role: Role) -> bool {
        let turned = [Projection::Query, Projection::Key].map(LayerRole::Projection);
        let interleaved = self.description.rope.value.interleaved_in_file;
        interleaved && matches!(role, Role::Layer(_, role) if turned.contains(&role))
    }
}

impl TensorSource for GgufModel {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn tensors(&self) -> &[TensorEntry] {
        &self.tensors
    }

    fn read(&self, role: Role) -> Result<Tensor, Error> {
        let (entry, tensor) = self.stored(role)?;
        let rows: Option<Vec<usize>> = self.is_interleaved(role).then(|| {
            (0..entry.shape[0])
                .map(|row| self.row_in_file(role, row))
                .collect()
        });
        if let Some(ternary) = tensor.to_ternary()? {
            let ternary = match &rows {
                Some(rows) => ternary.select_rows(rows),
                None => ternary,
            };
            return Ok(Tensor::Ternary(ternary));
        }
        let shape = entry.shape.clone();
        let mut values = tensor.to_f32()?;
        if let Some(rows) = rows {
            let cols = entry.shape[1];
            values = rows
                .iter()
                .flat_map(|row| &values[row * cols..][..cols])
                .copied()
                .collect();
        }
        Ok(Tensor::Float { shape, values })
    }

    fn read_stored(&self, role: Role, kernel: Kernel) -> Result<Option<Stored>, Error> {
        let (entry, tensor) = self.stored(role)?;
        let [rows, cols] = entry.shape[..] else {
            return Ok(None);
        };
        let at = |row| self.row_in_file(role, row);
        let ty = tensor.tensor_type();
        if let Some(format) = block_format(ty) {
            let size = tensor.bytes().len() / rows;
            let matrix = BlockMatrix::from_rows(rows, cols, format, kernel, |row, to| {
                decode_row(ty, &tensor.bytes()[at(row) * size..][..size], to);
            });
            let matrix = matrix
                .map_err(|error| Fault::tensor(tensor.name(), error).within(self.file.path()))?;
            return Ok(Some(Stored::Blocks(matrix)));
        }
        let format = match ty {
            TensorType::F16 => DenseFormat::F16,
            TensorType::Bf16 => DenseFormat::Bf16,
            _ => return Ok(None),
        };
        let matrix = DenseMatrix::try_from_rows(rows, cols, format, kernel, |row, out| {
            tensor.row_to_f32(at(row), out)
        });
        matrix.map(|matrix| Some(Stored::Dense(matrix)))
    }

    fn read_row(&self, role: Role, row: usize, out: &mut [f32]) -> Result<(), Error> {
        let tensor = self.stored(role)?.1;
        tensor.row_to_f32(self.row_in_file(role, row), out)
    }

    fn release(&self, role: Role) {
        if let Ok((_, tensor)) = self.stored(role) {
            tensor.release();
        }
    }
}

fn describe(file: &GgufFile) -> Result<ModelDescription, Fault> {
    let (metadata, family, activation) = Metadata::new(file)?;
    let shape = metadata.shape()?;
    let has = |name: &str| file.tensor(&format!("blk.0.{name}.weight")).is_some();
    let first = file
        .tensor("blk.0.ffn_gate.weight")
        .map(|tensor| tensor.tensor_type());
    let weights = match first {
        Some(ty) if ty.is_ternary() => {
            let evidence = format!("blk.0.ffn_gate is {ty}, whose scales multiply");
            Finding::new(WeightFormat::Blocks, evidence)
        }
        Some(ty) => Finding::new(WeightFormat::Float, format!("blk.0.ffn_gate is {ty}")),
        None => return Err(Fault::tensor("blk.0.ffn_gate.weight", "is missing")),
    };
    let tied_head = match file.tensor("output.weight") {
        Some(_) => Finding::new(false, "output.weight is there"),
        None => Finding::new(true, "no output.weight"),
    };
    Ok(ModelDescription {
        norms: metadata.norms(has)?,
        rope: metadata.rope(&shape)?,
        activations: metadata.activations(family.value, weights.value == WeightFormat::Blocks),
        tokenizer: metadata.tokenizer(shape.vocab_size)?,
        pooling: metadata.pooling()?,
        special_tokens: metadata.special_tokens(),
        chat_template: metadata.chat_template(),
        warnings: warnings(file),
        family,
        shape,
        activation,
        tied_head,
        weights,
    })
}

fn warnings(file: &GgufFile) -> Vec<String> {
    let mut warnings = Vec::new();
    let i2_s = file
        .tensors()
        .filter(|tensor| tensor.tensor_type() == TensorType::I2S);
    if let count @ 1.. = i2_s.count() {
        let order = match file.i2s_order() {
            I2sOrder::X86 => "blocks of 128 weights, as builds for x86 write them",
            I2sOrder::Arm => "blocks of 64 weights, as builds for ARM write them",
        };
        warnings.push(format!(
            "{count} tensors are I2_S, whose order the file does not tell: they are read in {order}; text that makes \
             no sense is a sign of the other order"
        ));
    }
    warnings
}

/// Checks that exactly the model's tensors are there, each with its shape.
fn entries(file: &GgufFile, description: &ModelDescription) -> Result<Vec<TensorEntry>, Fault> {
    let mut found: BTreeMap<Role, GgufTensor<'_>> = BTreeMap::new();
    for tensor in file
        .tensors()
        .filter(|tensor| tensor.name() != "rope_freqs.weight")
    {
        let name = tensor.name();
        let bare = name.strip_suffix(".weight");
        let Some(role) = bare.and_then(|bare| Role::parse(bare, Names::Gguf)) else {
            let reason = if name.ends_with(".bias") {
                "biases are not supported"
            } else {
                "the name is unknown, and with it what the model does with the tensor"
            };
            let place = Place::Tensor(name.into());
            return Err(Fault::unsupported(
                place,
                reason,
                "use llama.cpp for this model",
            ));
        };
        found.insert(role, tensor);
    }
    let mut entries = Vec::with_capacity(found.len());
    for role in description.roles() {
        let Some(tensor) = found.remove(&role) else {
            let problem = "is missing, expected from the metadata and the other layers";
            return Err(Fault::tensor(&role.name(Names::Gguf), problem));
        };
        let shape = role.shape(&description.shape);
        if tensor.shape() != shape {
            let problem = format!("shape {:?}, expected {shape:?}", tensor.shape());
            return Err(Fault::tensor(tensor.name(), problem));
        }
        entries.push(TensorEntry {
            role,
            name: tensor.name().into(),
            shape,
            storage: tensor.tensor_type().to_string(),
            form: match tensor.tensor_type() {
                ty if ty.is_ternary() => Form::Codes,
                TensorType::F16 | TensorType::Bf16 => Form::Half,
                TensorType::F32 => Form::Full,
                _ => Form::Blocks,
            },
            bytes: tensor.bytes().len() as u64,
        });
    }
    if let Some(tensor) = found.values().next() {
        let problem = "is there, but the metadata and layer 0 expect none";
        return Err(Fault::tensor(tensor.name(), problem));
    }
    entries.sort_unstable_by_key(|entry| entry.role);
    Ok(entries)
}
